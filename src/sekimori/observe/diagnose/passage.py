"""What a walk through the rulesets found: where a packet passes, and which rule decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.probe import Probe

__all__ = ["Doubt", "Kind", "Passage", "Place", "Step", "Verdict"]


class Doubt(IntEnum):
    """Why something is not certain; the greater one counts."""

    NONE = 0
    PARTIAL = 1
    """It depends on the packet: on its exact source, its mark, the hour."""
    UNREAD = 2
    """A rule says something that we cannot read."""


class Kind(StrEnum):
    """What a rule, or a chain's policy, does with a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    DNAT = "dnat"
    REDIRECT = "redirect"
    TAKE = "take"
    """Given to a proxy (`tproxy`) or another interface (`fwd`) in place of its destination."""
    UNTRACK = "untrack"
    """Kept from conntrack, and so from every NAT."""
    UNREAD = "unread"
    """Handed to something that we cannot see the rules of: a queue, an unknown target of iptables."""


@dataclass(frozen=True, slots=True)
class Place:
    """One rule, or the policy of a base chain (`handle` 0), and the base chain packets came to it by."""

    family: str
    table: str
    chain: str
    handle: int
    text: str
    base: str
    hook: str
    priority: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens, or may happen, to the packet.

    Attributes:
        own: why it is not certain that this rule applies to the packet.
        before: why it is not certain that the packet gets to it; an earlier rule may have decided.
        narrow: whether something besides interfaces and flow state was asked on the way to it.
        policy: it is the policy of a base chain.
        address: where it sends the packet, when it does and that is known; `port` likewise.
    """

    kind: Kind
    place: Place
    own: Doubt = Doubt.NONE
    before: Doubt = Doubt.NONE
    narrow: bool = False
    policy: bool = False
    address: IPAddress | None = None
    port: int | None = None

    @property
    def doubt(self) -> Doubt:
        """Why it is not certain that this happens."""
        return max(self.own, self.before)


class Verdict(StrEnum):
    """What becomes of the packet, as far as other rules than ours decide it."""

    PASSES = "passes"
    DROPPED = "dropped"
    REJECTED = "rejected"
    STOLEN = "stolen"
    """Sent elsewhere by somebody else's NAT, which comes before ours."""
    REDIRECTED = "redirected"
    """Likewise, to a program on this machine."""
    UNTRACKED = "untracked"
    MAY_DROP = "may-drop"


@dataclass(frozen=True, slots=True)
class Passage:
    """A packet's way.

    Attributes:
        verdict: for certain, but for MAY_DROP.
        steps: everything that happens or may happen, in order, accepting policies included.
        decided: the step that the verdict is of; None when it passes.
        may: every other step that would keep the packet from its target, if it applied.
        shadowed: NAT of others that would have taken the packet if ours did not come before it.
    """

    probe: Probe
    verdict: Verdict
    steps: tuple[Step, ...]
    decided: Step | None = None
    may: tuple[Step, ...] = ()
    shadowed: tuple[Step, ...] = ()
