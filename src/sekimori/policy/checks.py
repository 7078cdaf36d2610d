"""What must hold of any mapping before it may stand."""

from __future__ import annotations

import ipaddress

from sekimori.model.address import IpProtocol
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration
from sekimori.model.mapping import Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN
from sekimori.model.target import TargetKind
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
    refuse_danger(mapping, snapshot, rules)


def refuse_conflicts(mapping: Mapping, snapshot: Snapshot) -> None:
    """Refuse a mapping one of whose ports another holds.

    Raises:
        Problem: `port-taken`, with the other's name and owner.
    """
    for other, ours, theirs in snapshot.rivals(mapping):
        raise Problem(
            "port-taken", claim=str(ours), name=other.name, owner=str(other.owner), theirs=str(theirs)
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
    target = mapping.target.address
    here = mapping.target.kind is TargetKind.SELF or (target is not None and target.is_loopback)
    if mapping.target.kind is TargetKind.SELF:
        target = ipaddress.ip_address("127.0.0.1")
    listens_there = mapping.on is None or (
        target is not None
        and (mapping.on == target or (mapping.on.is_unspecified and mapping.on.version == target.version))
    )
    if not listens_there or not (here or mapping.on == target):
        return
    for claim in mapping.claims:
        if claim.pair.outside == claim.pair.inside:
            text = mapping.target.with_port(claim.pair.inside)
            raise Problem("leads-to-itself", claim=str(claim), target=text)


def _refuse_long_lifetime(mapping: Mapping, rules: Rules, now: float) -> None:
    if rules.longest is None:
        return
    expires = mapping.lifetime.expires_at
    if expires is None or expires - now > rules.longest + 1:
        asked = "ever" if expires is None else format_duration(int(expires - now))
        raise Problem(
            "lifetime-too-long", name=mapping.name, asked=asked, allowed=format_duration(rules.longest)
        )
