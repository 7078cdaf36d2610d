"""Hypothesis strategies for the model's values, each in the one form that is read back as itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.model.address import (
    WHOLE,
    Interface,
    IPAddress,
    IPNetwork,
    IpProtocol,
    On,
    PortPair,
    PortRange,
    Span,
)
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.defaults import LONGEST_HOLD, WHOEVER_TRIGGERS
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind, Trigger
from sekimori.model.request import Context
from sekimori.model.schedule import Schedule, Window
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target

__all__ = [
    "addresses",
    "bans",
    "claims",
    "contexts",
    "gateways",
    "instants",
    "interfaces",
    "lifetimes",
    "limits",
    "list_names",
    "mapping_sets",
    "mappings",
    "named_lists",
    "names",
    "outside_addresses",
    "owners",
    "places",
    "port_pairs",
    "port_ranges",
    "prefixes",
    "rates",
    "schedules",
    "sources",
    "spans",
    "targets",
    "triggers",
    "words",
]

NOW: Final = 1_800_000_000
"""A moment (2027-01-15 08:00 UTC) that lifetimes and creations lie around."""

_WORDS_WITH_A_MEANING: Final = {"anyone", "lan", "self", "auto", "none", "trigger"}
_ZONES: Final = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
_TCP, _UDP, _SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
_PROTOCOLS: Final = ((_TCP,), (_UDP,), (_TCP, _UDP), (_SCTP,), (_UDP, _SCTP))
_PORTLESS: Final = (IpProtocol.GRE, IpProtocol.ESP, IpProtocol.SIX_IN_FOUR)
_DAY: Final = 24 * 60


def words() -> SearchStrategy[str]:
    """What people write as a reason: any text that is not blank, in any script, without controls."""
    return (
        st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)
        .map(str.strip)
        .filter(bool)
    )


def names() -> SearchStrategy[str]:
    """Names of mappings."""
    return st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
        lambda text: text.lower() not in _WORDS_WITH_A_MEANING
    )


def list_names() -> SearchStrategy[str]:
    """Names of lists of sources."""
    return st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True).filter(
        lambda text: text not in _WORDS_WITH_A_MEANING
    )


def owners() -> SearchStrategy[Owner]:
    """Owners of every kind."""
    return st.builds(Owner, st.sampled_from(OwnerKind), st.text("abc:/.-_é関", min_size=1, max_size=12))


def instants() -> SearchStrategy[int]:
    """Unix seconds within a year of NOW."""
    return st.integers(NOW - 365 * 86400, NOW + 365 * 86400)


def addresses() -> SearchStrategy[IPAddress]:
    """Addresses that one host can have, v4-mapped ones left out (they are read as IPv4)."""
    return st.ip_addresses().filter(_is_one_host)


def outside_addresses() -> SearchStrategy[IPAddress | None]:
    """What a mapping listens on: one address, all of a family, or all. The few repeat often."""
    few = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "0.0.0.0", "::")
    return st.none() | st.sampled_from([ipaddress.ip_address(text) for text in few]) | addresses()


def interfaces() -> SearchStrategy[Interface]:
    """Interfaces; the few repeat often."""
    few = st.sampled_from(["eth0", "eth1", "ppp0"])
    return (few | st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.@-]{0,14}", fullmatch=True).filter(_is_one)).map(
        Interface
    )


def places() -> SearchStrategy[On | None]:
    """Where outside ports are claimed: addresses, interfaces, or everywhere."""
    return outside_addresses() | interfaces()


def prefixes() -> SearchStrategy[IPNetwork]:
    """Prefixes of any length but zero."""
    return st.one_of(
        st.builds(_prefix, st.ip_addresses(v=4), st.integers(1, 32)),
        st.builds(_prefix, st.ip_addresses(v=6), st.integers(1, 128)),
    ).filter(lambda prefix: getattr(prefix.network_address, "ipv4_mapped", None) is None)


def sources() -> SearchStrategy[Sources]:
    """Anyone, or prefixes and lists; also nobody."""
    some = st.builds(
        lambda prefixes, lists: Sources(
            prefixes=tuple(sorted(prefixes, key=lambda p: (p.version, int(p.network_address), p.prefixlen))),
            lists=tuple(sorted(lists)),
        ),
        st.sets(prefixes(), max_size=3),
        st.sets(list_names() | st.just("lan"), max_size=2),
    )
    return st.just(Sources(anyone=True)) | some


def targets() -> SearchStrategy[Target]:
    """An address, a DNS name, a device, a suffix, this machine, or whoever sets off a trigger."""
    return _hosts(addresses()) | _devices() | _suffixes() | st.just(WHOEVER_TRIGGERS)


def lifetimes(now: int = NOW) -> SearchStrategy[Lifetime]:
    """For a duration from `now`, until a time after it, or permanent."""
    return st.one_of(
        st.integers(1, 365 * 86400).map(lambda seconds: Lifetime.lasting(seconds, now)),
        st.integers(1, 365 * 86400).map(lambda seconds: Lifetime.until(now + seconds)),
        words().map(Lifetime.permanent),
    )


def schedules() -> SearchStrategy[Schedule]:
    """Weekly windows, past midnight too, in zones with and without daylight saving."""
    days = st.sets(st.integers(0, 6), min_size=1).map(lambda chosen: tuple(sorted(chosen)))
    window = st.builds(Window, days, st.integers(0, _DAY - 1), st.integers(0, _DAY)).filter(
        lambda window: window.start != window.end
    )
    windows = st.lists(window, min_size=1, max_size=3).map(tuple)
    return st.builds(Schedule, windows, st.sampled_from(_ZONES))


def rates() -> SearchStrategy[Rate]:
    """Rates in every unit."""
    return st.builds(Rate, st.integers(1, 999_999_999), st.sampled_from((1, 60, 3600, 86400)))


def limits() -> SearchStrategy[Limits]:
    """Limits with each cap there or not."""
    return st.builds(Limits, st.none() | rates(), st.none() | rates(), st.none() | st.integers(1, 1_000_000))


def port_ranges(most: int = 200) -> SearchStrategy[PortRange]:
    """Ranges of up to `most` ports."""
    return st.builds(
        lambda first, size: PortRange(first, min(first + size - 1, 65535)),
        st.integers(1, 65535),
        st.just(1) | st.integers(1, most),
    )


def port_pairs(most: int = 3) -> SearchStrategy[tuple[PortPair, ...]]:
    """The pairs of one mapping: up to `most` ranges apart from each other, each TCP, UDP or both."""
    inside = st.none() | st.integers(1, 65535)
    part = st.tuples(port_ranges(), inside, st.sampled_from(_PROTOCOLS))
    return st.lists(part, min_size=1, max_size=most).map(_pairs_apart)


def spans(protocols: Sequence[IpProtocol] = tuple(IpProtocol)) -> SearchStrategy[tuple[Span, ...]]:
    """Ports of these protocols that lead nowhere, in their one order."""
    span = st.builds(_span, st.sampled_from(protocols), port_ranges())
    return st.sets(span, min_size=1, max_size=3).map(lambda drawn: tuple(sorted(drawn)))


def triggers() -> SearchStrategy[Trigger]:
    """What sets a mapping off."""
    return st.builds(Trigger, spans((_TCP, _UDP, _SCTP)), st.integers(1, LONGEST_HOLD))


def claims() -> SearchStrategy[Claim]:
    """Claims out of few ports and addresses, so that two often overlap; some ranges are wide."""
    narrow = st.builds(lambda low, size: PortRange(low, low + size), st.integers(400, 420), st.integers(0, 8))
    wide = st.builds(lambda low, size: PortRange(low, low + size), st.integers(1, 500), st.integers(50, 500))
    span = st.builds(_span, st.sampled_from(IpProtocol), narrow | wide)
    return st.builds(Claim, span.map(lambda each: PortPair(each.protocol, each.ports, each.ports)), places())


def mappings(**fixed: Any) -> SearchStrategy[Mapping]:
    """Mappings with every field drawn, but those given in `fixed` (a value, or a strategy for it).

    Their kinds are mixed, unless `fixed` has one of the fields that decide it.
    """
    drawn: dict[str, SearchStrategy[Any]] = {
        "id": st.integers(0, 2**40).map("m{:x}".format),
        "name": names(),
        "owner": owners(),
        "ports": port_pairs(),
        "target": _hosts(addresses()) | _devices(),
        "sources": sources(),
        "lifetime": lifetimes(),
        "schedule": st.none() | schedules(),
        "on": places(),
        "via": st.sampled_from(("auto", "relay")),
        "path": st.lists(_hops(), max_size=2).map(tuple),
        "limits": limits(),
        "proxy_protocol": st.integers(0, 2),
        "idle": st.none() | st.integers(1, 86400),
        "log": st.booleans(),
        "accepted_risks": st.sets(list_names(), max_size=2).map(lambda risks: tuple(sorted(risks))),
        "preset": st.none() | list_names(),
        "paused": st.booleans(),
        "created_at": instants(),
        "revision": st.integers(0, 2**40),
    }
    given = {key: _strategy(value) for key, value in fixed.items()}
    plain: list[dict[str, SearchStrategy[Any]]] = [{}]
    kinds = plain if fixed.keys() & {"ports", "target", "on", "trigger", "excepted"} else _kinds()
    return st.one_of([st.fixed_dictionaries(drawn | kind | given) for kind in kinds]).map(
        lambda chosen: Mapping(**chosen)
    )


def mapping_sets(most: int = 5, **fixed: Any) -> SearchStrategy[tuple[Mapping, ...]]:
    """Mappings that can stand together: no id, no name and no port twice."""
    return st.lists(mappings(**fixed), max_size=most).map(_standing_together)


def named_lists() -> SearchStrategy[NamedList]:
    """Named lists, empty ones too."""
    return st.builds(
        NamedList, list_names(), owners(), st.lists(prefixes(), unique=True, max_size=4).map(tuple)
    )


def gateways() -> SearchStrategy[Gateway]:
    """Gateways of every sort."""
    setting = st.tuples(
        st.sampled_from(("net.ipv4.ip_forward", "net.ipv6.conf.wan0.accept_ra")), st.just("0")
    )
    found = st.sets(setting, max_size=2).map(lambda chosen: tuple(sorted(chosen)))
    switch = st.booleans()
    return st.builds(
        Gateway, owner=owners(), masquerade=switch, firewall=switch, found=found, created_at=instants()
    )


def bans() -> SearchStrategy[Ban]:
    """Bans with and without an end."""
    return st.builds(
        Ban,
        prefix=prefixes(),
        owner=owners(),
        expires_at=st.none() | instants(),
        reason=st.just("") | words(),
        created_at=instants(),
    )


def contexts() -> SearchStrategy[Context]:
    """Who, through which door, and why."""
    return st.builds(Context, owners(), st.sampled_from(("api", "file", "expiry")), st.just("") | words())


def _kinds() -> list[dict[str, SearchStrategy[Any]]]:
    """The fields that make a mapping a forward, one without ports, a DMZ host, a trigger, a pinhole."""
    over_ipv4 = _hosts(st.ip_addresses(v=4).filter(_is_one_host), self_too=False) | _devices()
    straight = port_pairs().map(
        lambda pairs: tuple(PortPair(each.protocol, each.outside, each.outside) for each in pairs)
    )
    without_ports = st.sets(st.sampled_from(_PORTLESS), min_size=1).map(_whole)
    exceptions = st.just(()) | spans([each for each in IpProtocol if each is not IpProtocol.DMZ])
    return [
        {},
        {"ports": without_ports, "target": over_ipv4 | st.just(Target.parse_host("self"))},
        {"ports": st.just(_whole({IpProtocol.DMZ})), "target": over_ipv4, "excepted": exceptions},
        {"ports": straight, "target": st.just(WHOEVER_TRIGGERS), "trigger": triggers()},
        {"ports": straight, "target": _suffixes(), "on": st.none() | interfaces()},
    ]


def _hosts(numeric: SearchStrategy[IPAddress], *, self_too: bool = True) -> SearchStrategy[Target]:
    label = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
    dns = st.lists(label, min_size=1, max_size=3).map(".".join).filter(lambda name: name != "trigger")
    hosts = numeric.map(str) | dns.filter(lambda name: self_too or name != "self")
    return (hosts | st.just("self") if self_too else hosts).map(Target.parse_host)


def _devices() -> SearchStrategy[Target]:
    mac = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
    name = st.from_regex(r"device:[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
    pinned = st.builds("{}@{}".format, name, mac)
    return (mac | name | pinned).map(Target.parse_host)


def _suffixes() -> SearchStrategy[Target]:
    lower = st.integers(1, (1 << 64) - 1).map(ipaddress.IPv6Address)
    return lower.map("{}/-64".format).map(Target.parse_host)


def _whole(protocols: Collection[IpProtocol]) -> tuple[PortPair, ...]:
    return tuple(PortPair(each, WHOLE, WHOLE) for each in IpProtocol if each in protocols)


def _span(protocol: IpProtocol, ports: PortRange) -> Span:
    return Span(protocol, ports if protocol.has_ports else WHOLE)


def _is_one(name: str) -> bool:
    return name.lower() not in {"none", "any", "off", "unlimited"}  # as a word they say: no interface


def _hops() -> SearchStrategy[Hop]:
    return st.builds(Hop, st.sampled_from(("relay", "kernel")), st.none() | list_names())


def _strategy(value: Any) -> SearchStrategy[Any]:
    return value if isinstance(value, SearchStrategy) else st.just(value)


def _prefix(address: IPAddress, length: int) -> IPNetwork:
    return ipaddress.ip_network((address, length), strict=False)


def _pairs_apart(
    parts: Sequence[tuple[PortRange, int | None, tuple[IpProtocol, ...]]],
) -> tuple[PortPair, ...]:
    apart: list[PortRange] = []
    pairs: list[PortPair] = []
    for outside, inside, protocols in parts:
        if not any(outside.overlaps(other) for other in apart):
            apart.append(outside)
            first = outside.first if inside is None else min(inside, 65536 - outside.size)
            leads_to = PortRange(first, first + outside.size - 1)
            pairs += [PortPair(protocol, outside, leads_to) for protocol in protocols]
    return tuple(pairs)


def _is_one_host(address: IPAddress) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped is None and not address.is_unspecified and not address.is_multicast


def _standing_together(drawn: Sequence[Mapping]) -> tuple[Mapping, ...]:
    there = Snapshot()
    for each in drawn:
        is_new = there.get(each.id) is None and there.named(each.name) is None
        if is_new and not any(there.rivals(each)):
            there.apply(Made(Verb.OPEN, None, each))
    return tuple(there)
