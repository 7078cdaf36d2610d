"""Hypothesis strategies for the model's values, each in the one form that is read back as itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.model.address import (
    WHOLE,
    IPAddress,
    IpProtocol,
    PortPair,
    PortRange,
)
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.defaults import LONGEST_HOLD, WHOEVER_TRIGGERS
from sekimori.model.destination import ANYWHERE, Destinations
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind, Trigger
from sekimori.model.request import Context
from sekimori.model.schedule import Schedule, Window
from sekimori.model.snapshot import Snapshot
from sekimori.model.socks import SocksTerms, Verifier
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.testing.strategies_places import (
    addresses,
    claims,
    interfaces,
    is_one_host,
    outside_addresses,
    places,
    port_pairs,
    port_ranges,
    prefixes,
    spans,
    unix_paths,
    whole,
)

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
    "unix_paths",
    "words",
]

NOW: Final = 1_800_000_000
"""A moment (2027-01-15 08:00 UTC) that lifetimes and creations lie around."""

_WORDS_WITH_A_MEANING: Final = {"anyone", "lan", "self", "auto", "none", "trigger"}
_ZONES: Final = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
_TCP, _UDP, _SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
_PORTLESS: Final = (IpProtocol.GRE, IpProtocol.ESP, IpProtocol.SIX_IN_FOUR)
_DAY: Final = 24 * 60
_SOCKS: Final = Target.parse_host("socks")
_VERIFIER: Final = f"scrypt$1024${'00' * 16}${'0f' * 32}"


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
    """Targets of every kind that people may say."""
    words = st.sampled_from((WHOEVER_TRIGGERS, _SOCKS))
    return _hosts(addresses()) | _devices() | _suffixes() | words | _unix_targets()


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


def triggers() -> SearchStrategy[Trigger]:
    """What sets a mapping off."""
    return st.builds(Trigger, spans((_TCP, _UDP, _SCTP)), st.integers(1, LONGEST_HOLD))


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
    over_ipv4 = _hosts(st.ip_addresses(v=4).filter(is_one_host), self_too=False) | _devices()
    straight = port_pairs().map(
        lambda pairs: tuple(PortPair(each.protocol, each.outside, each.outside) for each in pairs)
    )
    without_ports = st.sets(st.sampled_from(_PORTLESS), min_size=1).map(whole)
    exceptions = st.just(()) | spans([each for each in IpProtocol if each.number])
    over_streams = port_pairs().map(
        lambda pairs: tuple(dict.fromkeys(PortPair(_TCP, each.outside, each.outside) for each in pairs))
    )
    by_path = {"on": unix_paths(), "at": st.none() | st.just("vps")}
    return [
        {},
        {"ports": without_ports, "target": over_ipv4 | st.just(Target.parse_host("self"))},
        {"ports": st.just(whole({IpProtocol.DMZ})), "target": over_ipv4, "excepted": exceptions},
        {"ports": straight, "target": st.just(WHOEVER_TRIGGERS), "trigger": triggers()},
        {"ports": straight, "target": _suffixes(), "on": st.none() | interfaces()},
        {"ports": over_streams, "target": _unix_targets()},
        {
            "ports": over_streams,
            "target": st.just(_SOCKS),
            "socks": _socks_terms(),
            "proxy_protocol": st.just(0),
        },
        {"ports": st.just(whole({IpProtocol.UNIX})), "target": _unix_targets(), **by_path},
        {"ports": st.integers(1, 65535).map(_path_to_port), "target": over_ipv4, **by_path},
        {"ports": port_pairs(), "on": outside_addresses(), "at": st.sampled_from(("vps", "bastion"))},
    ]


def _unix_targets() -> SearchStrategy[Target]:
    return unix_paths().map(lambda path: Target.parse_host(str(path)))


def _path_to_port(port: int) -> tuple[PortPair, ...]:
    return (PortPair(IpProtocol.UNIX, WHOLE, PortRange(port, port)),)


def _socks_terms() -> SearchStrategy[SocksTerms]:
    users = st.sets(st.sampled_from(("alice", "bob", "carol")), max_size=2).map(
        lambda names: tuple(Verifier(name, _VERIFIER) for name in sorted(names))
    )
    reach = st.sampled_from(("db.example:5432,10.0.0.0/8", "none", "[2001:db8::5]:443", "*:443"))
    return st.builds(SocksTerms, users, st.just(ANYWHERE) | reach.map(Destinations.parse))


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


def _hops() -> SearchStrategy[Hop]:
    return st.builds(Hop, st.sampled_from(("relay", "kernel")), st.none() | list_names())


def _strategy(value: Any) -> SearchStrategy[Any]:
    return value if isinstance(value, SearchStrategy) else st.just(value)


def _standing_together(drawn: Sequence[Mapping]) -> tuple[Mapping, ...]:
    there = Snapshot()
    for each in drawn:
        is_new = there.get(each.id) is None and there.named(each.name) is None
        if is_new and not any(there.rivals(each)):
            there.apply(Made(Verb.OPEN, None, each))
    return tuple(there)
