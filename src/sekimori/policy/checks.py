"""What must hold of any mapping before it may stand."""

from __future__ import annotations

import ipaddress
from typing import Final

from sekimori.model.address import IPAddress, IpProtocol
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration
from sekimori.model.mapping import Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN
from sekimori.model.target import TargetKind
from sekimori.policy.risk import refuse_danger
from sekimori.policy.rules import Rules

__all__ = ["check_terms", "known_lists", "refuse_conflicts"]

_LOOPBACK: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


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
    if not any(_listens_at(mapping.on, target) for target in _own_targets(mapping)):
        return
    for claim in mapping.claims:
        if claim.pair.outside == claim.pair.inside:
            text = mapping.target.with_port(claim.pair.inside)
            raise Problem("leads-to-itself", claim=str(claim), target=text)


def _own_targets(mapping: Mapping) -> tuple[IPAddress, ...]:
    """The addresses of this machine that a mapping leads to, as far as can be known here."""
    host, address = mapping.target.host, mapping.target.address
    if mapping.target.kind is TargetKind.SELF or host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK  # RFC 6761 §6.3 for the name
    own = address is not None and (address.is_loopback or address == mapping.on)
    return (address,) if address is not None and own else ()


def _listens_at(on: IPAddress | None, address: IPAddress) -> bool:
    return on is None or on == address or (on.is_unspecified and on.version == address.version)


def _refuse_long_lifetime(mapping: Mapping, rules: Rules, now: float) -> None:
    if rules.longest is None:
        return
    expires = mapping.lifetime.expires_at
    if expires is None or expires - now > rules.longest + 1:
        asked = cause("ever") if expires is None else format_duration(int(expires - now))
        raise Problem(
            "lifetime-too-long", name=mapping.name, asked=asked, allowed=format_duration(rules.longest)
        )
