"""Examining this machine: facts are gathered in threads, then judged mapping by mapping."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Final

from sekimori.host.nflisting import list_ruleset_apart
from sekimori.host.nftables import NftError, NftUnavailable
from sekimori.model.actual import Status
from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.errors import Problem
from sekimori.model.finding import Confidence, Examination, Finding, Found, Severity
from sekimori.model.mapping import Mapping
from sekimori.model.network import Network
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind
from sekimori.observe.diagnose.doctor import BRIDGE_NF, diagnose
from sekimori.observe.diagnose.facts import list_set_with_nft, read_machine
from sekimori.observe.diagnose.findings import finding
from sekimori.observe.diagnose.machine import Machine
from sekimori.observe.diagnose.ruleset import Ruleset, RulesetUnreadable
from sekimori.observe.diagnose.standing import Listening, Standing, look_around, look_at

__all__ = ["MOST_EXAMINED", "Examiner", "read_with_nft"]

MOST_EXAMINED: Final = 500
"""Mappings looked at where none is named: what one rule does to many is told by a few of them."""

_BATCH: Final = 25
"""Mappings judged before other calls get their turn; one takes 0.1 ms by a short ruleset."""

_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTICE)
_PLANES: Final = ("kernel", "relay")
_MACHINE: Final = "gateway"

Read = Callable[[Iterable[str]], Machine]
"""Reads the rules and settings of this machine, given its interfaces, as `read_with_nft` does. Blocks."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one examination goes by; `blind` is why the rules could not be read."""

    network: Network
    machine: Machine
    listeners: Collection[Listening]
    blind: Finding | None = None


@dataclass(frozen=True, slots=True)
class _Patient:
    mapping: Mapping
    status: Status
    targets: Sequence[IPAddress]


def read_with_nft(interfaces: Iterable[str]) -> Machine:
    """What is on this machine, read by programs of their own.

    Raises:
        NftUnavailable: there is no nftables here.
        NftError: it may not, or could not, list the rules.
        RulesetUnreadable: what it listed is no listing.
    """
    return read_machine(list_ruleset_apart, interfaces, terse=True, list_set=list_set_with_nft)


class Examiner:
    """Looks at the mappings of a ledger and at the machine they are on.

    Args:
        snapshot: the ledger's mappings and lists.
        status: the state of a mapping of the snapshot.
        targets: the numeric addresses that a mapping leads to now.
        standing: how the machine stands.
        listeners: the sockets of this machine that take what comes. Blocks.
        read: reads this machine's rules and settings.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        status: Callable[[str], Status],
        targets: Callable[[Mapping], Iterable[str]],
        standing: Callable[[], Standing],
        listeners: Callable[[], Collection[Listening]],
        read: Read = read_with_nft,
    ) -> None:
        self._snapshot = snapshot
        self._status = status
        self._targets = targets
        self._standing = standing
        self._listeners = listeners
        self._read = read
        self._looking = asyncio.Lock()

    async def examine(self, ref: str | None) -> Examination:
        """Look at one mapping, or at all that are not paused; and at the machine.

        Raises:
            Problem: there is no such mapping.
        """
        async with self._looking:
            live = [each for each in self._snapshot() if not each.paused]
            chosen = live[:MOST_EXAMINED] if ref is None else [self._snapshot().find(ref)]
            standing, lists = self._standing(), self._snapshot().lists
            found = [Found(None, each) for each in look_around(standing)]
            facts = await asyncio.to_thread(self._gather, standing.network)
            if facts.blind is not None:
                found.append(Found(None, facts.blind))
            for first in range(0, len(chosen), _BATCH):
                batch = [self._patient(each, facts.network) for each in chosen[first : first + _BATCH]]
                found += await asyncio.to_thread(_judge, batch, facts, lists)
        found = list(_each_once(found))
        found.sort(key=lambda each: _ORDER.index(each.finding.severity))
        return Examination(tuple(found), len(chosen), len(live) if ref is None else 1)

    def name_of(self, ref: str) -> str:
        """The name of the mapping that is meant; what was said, where there is none (any more)."""
        try:
            return self._snapshot().find(ref).name
        except Problem:
            return ref

    def _gather(self, network: Network) -> _Facts:
        interfaces = [*(wan.interface for wan in network.wans), *(lan.interface for lan in network.lans)]
        listeners = self._listeners()
        try:
            return _Facts(network, self._read(interfaces), listeners)
        except (NftUnavailable, NftError, RulesetUnreadable) as error:
            words = "ruleset-no-nft" if isinstance(error, NftUnavailable) else "ruleset-unread"
            blind = finding(
                "ruleset-unread",
                Severity.WARNING,
                Confidence.CERTAIN,
                _MACHINE,
                words=words,
                why=str(error),
            )
            return _Facts(network, Machine(Ruleset()), listeners, blind)

    def _patient(self, mapping: Mapping, network: Network) -> _Patient:
        return _Patient(mapping, self._status(mapping.id), tuple(self._leads_to(mapping, network)))

    def _leads_to(self, mapping: Mapping, network: Network) -> Iterator[IPAddress]:
        """The numeric addresses of the target; of a suffix, in each /64 inside; none beyond a link."""
        if mapping.is_dialled_far:
            return
        kind = mapping.target.kind
        if kind in (TargetKind.ADDRESS, TargetKind.NAME, TargetKind.DEVICE):
            yield from map(ipaddress.ip_address, self._targets(mapping))
        elif kind is TargetKind.SUFFIX:
            for prefix in (prefix for lan in network.lans for prefix in lan.prefixes):
                if isinstance(prefix, ipaddress.IPv6Network) and prefix.prefixlen == 64:
                    yield prefix[mapping.target.suffix or 0]


def _each_once(found: Iterable[Found]) -> Iterator[Found]:
    """What was found, and once only what is about the machine though it was seen by several mappings."""
    told: set[tuple[str, str]] = set()
    for each in found:
        finding_ = each.finding
        if finding_.code != BRIDGE_NF:
            yield each
        elif (key := (finding_.code, finding_.title["en"])) not in told:
            told.add(key)
            yield Found(None, finding_)


def _judge(
    batch: Iterable[_Patient], facts: _Facts, lists: MappingABC[str, tuple[IPNetwork, ...]]
) -> list[Found]:
    judged: list[Found] = []
    for patient in batch:
        mapping = patient.mapping
        found = list(look_at(mapping, patient.status.problem, facts.listeners))
        if mapping.plane in _PLANES and mapping.at is None:  # at a link's far end no packets come in here
            found += diagnose(mapping, patient.targets, facts.network, facts.machine, lists)
        judged += (Found(mapping.name, each) for each in found)
    return judged
