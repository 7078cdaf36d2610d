"""Hypothesis strategies for the model's values, each in the one form that is read back as itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.model.address import IPAddress, IPNetwork, IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Claim, Hop, Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.schedule import Schedule, Window
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target

__all__ = [
    "addresses",
    "claims",
    "contexts",
    "instants",
    "lifetimes",
    "limits",
    "list_names",
    "mapping_sets",
    "mappings",
    "named_lists",
    "names",
    "outside_addresses",
    "owners",
    "port_pairs",
    "port_ranges",
    "prefixes",
    "rates",
    "schedules",
    "sources",
    "targets",
    "words",
]

NOW: Final = 1_800_000_000
"""A moment (2027-01-15 08:00 UTC) that lifetimes and creations lie around."""

_WORDS_WITH_A_MEANING: Final = {"anyone", "lan", "self", "auto", "none"}
_ZONES: Final = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
_PROTOCOLS: Final = ((IpProtocol.TCP,), (IpProtocol.UDP,), (IpProtocol.TCP, IpProtocol.UDP))
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
    """An address, a DNS name, or this machine."""
    label = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
    dns = st.lists(label, min_size=1, max_size=3).map(".".join)
    return (addresses().map(str) | dns | st.just("self")).map(Target.parse_host)


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


def claims() -> SearchStrategy[Claim]:
    """Claims out of few ports and addresses, so that two often overlap; some ranges are wide."""
    narrow = st.builds(lambda low, size: PortRange(low, low + size), st.integers(400, 420), st.integers(0, 8))
    wide = st.builds(lambda low, size: PortRange(low, low + size), st.integers(1, 500), st.integers(50, 500))
    pair = st.builds(lambda protocol, ports: PortPair(protocol, ports, ports), _protocol(), narrow | wide)
    return st.builds(Claim, pair, outside_addresses())


def mappings(**fixed: Any) -> SearchStrategy[Mapping]:
    """Mappings with every field drawn, but those given in `fixed` (a value, or a strategy for it)."""
    drawn: dict[str, SearchStrategy[Any]] = {
        "id": st.integers(0, 2**40).map("m{:x}".format),
        "name": names(),
        "owner": owners(),
        "ports": port_pairs(),
        "target": targets(),
        "sources": sources(),
        "lifetime": lifetimes(),
        "schedule": st.none() | schedules(),
        "on": outside_addresses(),
        "via": st.sampled_from(("auto", "relay")),
        "path": st.lists(_hops(), max_size=2).map(tuple),
        "limits": limits(),
        "proxy_protocol": st.integers(0, 2),
        "idle": st.none() | st.integers(1, 86400),
        "accepted_risks": st.sets(list_names(), max_size=2).map(lambda risks: tuple(sorted(risks))),
        "preset": st.none() | list_names(),
        "paused": st.booleans(),
        "created_at": instants(),
        "revision": st.integers(0, 2**40),
    }
    fields = drawn | {key: _strategy(value) for key, value in fixed.items()}
    return st.fixed_dictionaries(fields).map(lambda chosen: Mapping(**chosen))


def mapping_sets(most: int = 5, **fixed: Any) -> SearchStrategy[tuple[Mapping, ...]]:
    """Mappings that can stand together: no id, no name and no port twice."""
    return st.lists(mappings(**fixed), max_size=most).map(_standing_together)


def named_lists() -> SearchStrategy[NamedList]:
    """Named lists, empty ones too."""
    return st.builds(
        NamedList, list_names(), owners(), st.lists(prefixes(), unique=True, max_size=4).map(tuple)
    )


def contexts() -> SearchStrategy[Context]:
    """Who, through which door, and why."""
    return st.builds(Context, owners(), st.sampled_from(("api", "file", "expiry")), st.just("") | words())


def _protocol() -> SearchStrategy[IpProtocol]:
    return st.sampled_from(IpProtocol)


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
