"""What must hold of any mapping before it may stand."""

from __future__ import annotations

from sekimori.model.address import IpProtocol
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration
from sekimori.model.mapping import Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN
from sekimori.policy.dangers import refuse_exposure
from sekimori.policy.loops import find_loop, loop_problem
from sekimori.policy.risk import refuse_danger
from sekimori.policy.rules import Rules

__all__ = ["check_terms", "known_lists", "refuse_conflicts"]


def check_terms(mapping: Mapping, snapshot: Snapshot, rules: Rules, now: float) -> None:
    """Refuse terms that contradict each other, the lists, the risks or the longest lifetime.

    Raises:
        Problem: the first that does not hold.
    """
    _refuse_unknown_lists(mapping, snapshot)
    _refuse_udp_proxy_v1(mapping)
    _refuse_loop(mapping)
    _refuse_long_lifetime(mapping, rules, now)
    refuse_exposure(mapping, snapshot)
    refuse_danger(mapping, snapshot, rules)


def refuse_conflicts(mapping: Mapping, snapshot: Snapshot) -> None:
    """Refuse a mapping one of whose ports another holds.

    Raises:
        Problem: `port-taken`, with the other's name and owner.
    """
    for other, ours, theirs in snapshot.rivals(mapping):
        raise Problem(
            "port-taken", claim=str(ours), name=other.name, owner=other.owner.label, theirs=str(theirs)
        )


def known_lists(snapshot: Snapshot) -> str:
    """The names of lists that may be used, for a message."""
    return ", ".join(sorted([LAN, *snapshot.lists]))


def _refuse_unknown_lists(mapping: Mapping, snapshot: Snapshot) -> None:
    for name in mapping.sources.lists:
        if name != LAN and snapshot.list_named(name) is None:
            raise Problem("no-such-list", name=name, lists=known_lists(snapshot))


def _refuse_udp_proxy_v1(mapping: Mapping) -> None:
    if mapping.proxy_protocol == 1 and any(pair.protocol is IpProtocol.UDP for pair in mapping.ports):
        raise Problem("udp-proxy-v1")


def _refuse_loop(mapping: Mapping) -> None:
    claim = find_loop(mapping) if mapping.plane == "relay" else None
    if claim is not None:
        raise loop_problem(mapping, claim)


def _refuse_long_lifetime(mapping: Mapping, rules: Rules, now: float) -> None:
    if rules.longest is None:
        return
    expires = mapping.lifetime.expires_at
    if expires is None or expires - now > rules.longest + 1:
        asked = cause("ever") if expires is None else format_duration(int(expires - now))
        raise Problem(
            "lifetime-too-long", name=mapping.name, asked=asked, allowed=format_duration(rules.longest)
        )
