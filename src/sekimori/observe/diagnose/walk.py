"""A packet's way through every base chain of every table, as Linux orders them.

Sources: netfilter hooks run by priority (nf_hook_entries_grow, net/netfilter/core.c); chains of type `nat`
run together where NAT of that hook stands (NF_IP_PRI_NAT_DST, -100, for prerouting), among themselves by
priority, only for the first packet of a flow, and the first that sets the destination wins (nf_nat_inet_fn,
net/netfilter/nf_nat_core.c). An accept ends one base chain and no more; a drop is final.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sekimori.observe.diagnose.chains import walk_base
from sekimori.observe.diagnose.passage import Doubt, Kind, Passage, Step, Verdict
from sekimori.observe.diagnose.probe import Packet, Probe, Way
from sekimori.observe.diagnose.ruleset import OWN, Base, Chain, Ruleset, Table
from sekimori.observe.diagnose.truth import Truth

__all__ = ["walk"]

_NAT_SLOT: Final = -100
_LOST: Final = {Kind.DROP: Verdict.DROPPED, Kind.REJECT: Verdict.REJECTED}
_TAKEN: Final = {Kind.DNAT: Verdict.STOLEN, Kind.TAKE: Verdict.STOLEN, Kind.REDIRECT: Verdict.REDIRECTED}


class _Stop(NamedTuple):
    """A base chain on the way, and why it is not certain that the packet comes by it."""

    table: Table
    chain: Chain
    base: Base
    doubt: Doubt = Doubt.NONE


def walk(ruleset: Ruleset, probe: Probe) -> Passage:
    """Follow a packet through all tables but our own, whose part is `probe.nat`."""
    return _Journey(ruleset.without({OWN}), probe).go()


class _Journey:
    def __init__(self, ruleset: Ruleset, probe: Probe) -> None:
        self._ruleset = ruleset
        self._probe = probe
        self._packet = Packet.arriving(probe)
        self._steps: list[Step] = []
        self._may: list[Step] = []
        self._shadowed: list[Step] = []
        self._decided: tuple[Verdict, Step] | None = None

    def go(self) -> Passage:
        for hook in _hooks(self._probe):
            self._packet.oif = self._out(hook)
            if self._decided is None:
                self._hook(hook)
        step: Step | None
        if self._decided is not None:
            verdict, step = self._decided
        else:
            step = min(self._may, key=lambda each: each.own, default=None)
            verdict = Verdict.PASSES if step is None else Verdict.MAY_DROP
        rest = tuple(each for each in self._may if each is not step)
        return Passage(self._probe, verdict, tuple(self._steps), step, rest, tuple(self._shadowed))

    def _out(self, hook: str) -> str:
        """The interface a packet is known to leave by at a hook: none before it is routed."""
        if hook in ("ingress", "prerouting", "input"):
            return ""
        return self._probe.iif if self._probe.reply else self._probe.oif

    def _hook(self, hook: str) -> None:
        stops = sorted(self._stops(hook), key=lambda each: each.base.priority)
        filters = [each for each in stops if each.base.type != "nat"]
        if hook != "prerouting" or self._probe.reply:  # source NAT keeps nothing back
            self._filters(filters)
            return
        self._filters(each for each in filters if each.base.priority <= _NAT_SLOT)
        self._nat([each for each in stops if each.base.type == "nat"])
        self._filters(each for each in filters if each.base.priority > _NAT_SLOT)

    def _stops(self, hook: str) -> Iterator[_Stop]:
        families = {"inet", "ip" if self._packet.version == 4 else "ip6"}
        device = {"ingress": self._packet.iif, "egress": self._packet.oif}.get(hook)
        for table in self._ruleset.tables:
            for chain in table.bases:
                base = chain.base
                if base is None or base.hook != hook:
                    continue
                if device is None and table.family in families:
                    yield _Stop(table, chain, base)
                elif device is not None and table.family in ("netdev", "inet"):
                    taken = base.takes_from(device)
                    if taken is not Truth.NO:
                        doubt = Doubt.NONE if taken is Truth.YES else Doubt.PARTIAL
                        yield _Stop(table, chain, base, doubt)

    def _filters(self, stops: Iterable[_Stop]) -> None:
        for stop in stops:
            if self._decided is not None:
                return
            self._judge(walk_base(stop.table, stop.chain, self._packet, stop.doubt), stop.doubt)

    def _judge(self, steps: tuple[Step, ...], doubt: Doubt) -> None:
        """What a filter chain's steps come to."""
        self._steps += steps
        ends = [each for each in steps if each.kind is not Kind.UNTRACK]
        for each in steps:
            if each.kind is Kind.UNTRACK and self._probe.nat is not None:
                self._settle(Verdict.UNTRACKED, each)
        against = [each for each in ends if each.kind is not Kind.ACCEPT]
        lost = [each for each in against if each.kind in _LOST]
        if (
            lost and len(lost) == len(ends) and doubt is Doubt.NONE
        ):  # one way or another: the last is the most general one
            self._decided = self._decided or (_LOST[lost[-1].kind], lost[-1])
        elif against and against[-1].kind in _TAKEN and against[-1].doubt is Doubt.NONE:
            self._decided = self._decided or (_TAKEN[against[-1].kind], against[-1])
        else:
            self._may += against

    def _settle(self, verdict: Verdict, step: Step) -> None:
        if step.doubt is Doubt.NONE:
            self._decided = self._decided or (verdict, step)
        else:
            self._may.append(step)

    def _nat(self, stops: list[_Stop]) -> None:
        """Destination NAT: chains of others before ours, ours, and what ours leaves nothing for."""
        nat = self._probe.nat
        for stop in stops:
            if self._decided is not None:
                return
            if nat is None or stop.base.priority <= nat.priority:
                self._foreign_nat(walk_base(stop.table, stop.chain, self._packet))
        if nat is None or self._decided is not None:
            return
        for stop in stops:
            if stop.base.priority > nat.priority:
                self._shadowed += self._taking(walk_base(stop.table, stop.chain, self._packet))
        self._packet.translate(nat)

    def _foreign_nat(self, steps: tuple[Step, ...]) -> None:
        self._steps += steps
        for each in self._taking(steps):
            self._settle(_TAKEN[each.kind], each)
        lost = [each for each in steps if each.kind in _LOST]
        for each in lost:
            self._settle(_LOST[each.kind], each)

    def _taking(self, steps: Iterable[Step]) -> list[Step]:
        """The steps that send the packet somewhere else than its target."""
        target = (self._probe.target, self._probe.target_port)
        return [
            each
            for each in steps
            if each.kind in _TAKEN and (each.address, each.port or self._probe.dport) != target
        ]


def _hooks(probe: Probe) -> tuple[str, ...]:
    if probe.way is Way.FORWARD:
        return ("ingress", "prerouting", "forward", "postrouting", "egress")
    return ("output", "postrouting", "egress") if probe.reply else ("ingress", "prerouting", "input")
