"""What one mapping is in the kernel: elements of sets, worked out from what is wanted and nothing else.

No WAN address is in any of them, so neither a changed address nor a restart changes an element.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from sekimori.model.address import IPAddress, On, PortPair
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.target import TargetKind
from sekimori.planes.kernel.frame import scope_of
from sekimori.planes.kernel.policies import LAN_POLICY, chain_of, name_sources
from sekimori.planes.kernel.sets import SCOPE_SETS, set_name
from sekimori.reconcile.ports import Wanted
from sekimori.wire.nftelements import address_port_data, address_port_key, port_data, port_key, proto_key

__all__ = ["Item", "counts", "inside_addresses", "is_pinhole", "render", "terms_of"]

_GATE_LAG: Final = 5.0
"""Seconds that who-may-come-in outlives what lets in: it must never be the other way round."""
_IPV4: Final = b"\x02"
"""`meta nfproto` of IPv4 (NFPROTO_IPV4)."""
_SEVERAL: Final = b"\0\0\0"
"""What pads a protocol in a key of several fields."""


class Item(NamedTuple):
    """One element and the set it stands in.

    `end` is the last key of a range, `data` a map's value, `chain` where a verdict map goes, `until` when
    it must go by itself (Unix seconds; None is never).
    """

    set: str
    key: bytes
    end: bytes | None = None
    data: bytes | None = None
    chain: str | None = None
    until: float | None = None


@lru_cache(maxsize=256)
def _names(on: On | None) -> dict[str, str]:
    """The names of a scope's sets by their stems, made once: they are asked for with every element."""
    scope = scope_of(on).name
    return {stem: set_name(stem, scope) for stem in SCOPE_SETS}


def render(wanted: Wanted) -> list[Item]:
    """Every element of a mapping. Each has a set and key of its own among all mappings whose claims do not
    overlap, but for those in `sym4`: two mappings may lead to one inside port.
    """
    mapping = wanted.mapping
    chain = chain_of(wanted)
    match mapping.kind:
        case MappingKind.FORWARD | MappingKind.PINHOLE:
            return _forward_items(wanted, chain)
        case MappingKind.PERMIT:
            return _side_items(mapping, "own", chain, wanted.accept_until)
        case MappingKind.TRIGGER:
            return list(_trigger_items(mapping, chain, wanted.accept_until))
        case MappingKind.DMZ:
            return list(_dmz_items(wanted, chain))


def terms_of(wanted: Wanted) -> str:
    """A short name for all that the elements of a mapping follow from, and its policy; for this process.

    Made of numbers and texts: to hash the values themselves takes five times as long, and it is done for
    every mapping at every look.
    """
    mapping = wanted.mapping
    ports = tuple(
        [
            (pair.protocol.number, pair.outside.first, pair.outside.last, pair.inside.first)
            for pair in mapping.ports
        ]
    )
    sources = None if wanted.sources is None else name_sources(wanted.sources)
    target = mapping.target.kind.value, mapping.target.host, mapping.target.mac
    limits = mapping.limits
    rest = (
        mapping.on, limits.per_source, limits.total, limits.connections, mapping.log, mapping.trigger,
        mapping.excepted, mapping.proxy_protocol, mapping.idle, wanted.accept_until, wanted.targets,
    )  # fmt: skip
    return f"{hash((ports, target, sources, rest)):x}"


def inside_addresses(wanted: Wanted) -> tuple[IPAddress | None, IPAddress | None]:
    """The IPv4 and the IPv6 address that a mapping leads to now: the best of each family."""
    if wanted.mapping.target.kind in _PLACELESS:
        return None, None
    four, six = _best(wanted.targets)
    on = wanted.mapping.on
    if isinstance(on, ipaddress.IPv4Address):
        six = None
    if isinstance(on, ipaddress.IPv6Address):
        four = None
    return four, six


def is_pinhole(mapping: Mapping) -> bool:
    """Whether its IPv6 target is reached at its own address. Otherwise the gateway's is translated."""
    return mapping.on is None and all(pair.outside == pair.inside for pair in mapping.ports)


def counts(name: str) -> str | None:
    """Which way an element counts: `in`, `out`, `new` (flows) or `asked` (flows before policy)."""
    return _COUNTS.get(name.partition("_")[0])


_PLACELESS: Final = frozenset({TargetKind.SUFFIX, TargetKind.TRIGGER})
_HOLES: Final = ("", "r", "s", "sr", "p", "a")
_COUNTS: Final = {
    **dict.fromkeys(("in", "inr", "inp", "own", "ownr", "ownp", "dmzin"), "in"),
    **dict.fromkeys(("out", "outr", "outp", "dmzout"), "out"),
    **dict.fromkeys(("fwd4", "fwd6", "fwdr4", "fwdr6", "fwdp4", "fwdp6", "dmz"), "new"),
    **dict.fromkeys(("fresh", "freshr", "freshp"), "new"),
    **dict.fromkeys(("gate", "gater", "gatep", "lan", "lanr"), "asked"),
    **{f"hole{end}": "in" for end in _HOLES},
    **{f"holeout{end}": "out" for end in _HOLES},
    **{f"holefresh{end}": "new" for end in _HOLES},
    **{f"holegate{end}": "asked" for end in _HOLES},
    "trigin6": "in",
    "trigout6": "out",
    "trigfresh": "new",
}


@lru_cache(maxsize=65_536)
def _best(targets: tuple[str, ...]) -> tuple[IPAddress | None, IPAddress | None]:
    """The first address of each family."""
    four = six = None
    for address in map(ipaddress.ip_address, targets):
        if address.version == 4:
            four = four or address
        else:
            six = six or address
    return four, six


# The three that render forwards make lists and not iterators: they are asked for 60,000 at a start.


def _forward_items(wanted: Wanted, chain: str | None) -> list[Item]:
    mapping, until = wanted.mapping, wanted.accept_until
    if mapping.target.kind is TargetKind.SUFFIX:
        suffix = ipaddress.IPv6Address(mapping.target.suffix or 0).packed
        return list(_hole_items(mapping, suffix, "s", chain, until))
    four, six = inside_addresses(wanted)
    items: list[Item] = []
    if six is not None and is_pinhole(mapping):
        items += _hole_items(mapping, six.packed, "", chain, until)
        six = None
    if four is not None or six is not None:
        items += _side_items(mapping, "in", chain, until)
    if four is not None:
        items += _lead_items(mapping, four, until)
    if six is not None:
        items += _lead_items(mapping, six, until)
    return items


def _lead_items(mapping: Mapping, address: IPAddress, until: float | None) -> list[Item]:
    """Where a translated mapping leads."""
    names, family, packed = _names(mapping.on), address.version, address.packed
    items: list[Item] = []
    for pair in mapping.ports:
        number, outside, inside = pair.protocol.number, pair.outside, pair.inside
        if not pair.protocol.has_ports:
            items.append(Item(names[f"fwdp{family}"], proto_key(number), None, packed, None, until))
        elif outside.first != outside.last and outside == inside:
            first, last = port_key(number, outside.first), port_key(number, outside.last)
            items.append(Item(names[f"fwdr{family}"], first, last, packed, None, until))
        else:
            # Each port by itself: `dnat to A:c-d` would send them all to c (measured on Linux 6.18).
            name, shift = names["fwd4" if family == 4 else "fwd6"], inside.first - outside.first
            for port in range(outside.first, outside.last + 1):
                data = address_port_data(packed, port + shift)
                items.append(Item(name, port_key(number, port), None, data, None, until))
                if shift and family == 4:
                    key = address_port_key(number, packed, port + shift)
                    items.append(Item("sym4", key, None, port_data(port), None, until))
    return items


def _side_items(mapping: Mapping, admits: str, chain: str | None, until: float | None) -> list[Item]:
    """Who may, and what is counted, by outside ports: `admits` is `in` for forwards, `own` for permits."""
    names = _names(mapping.on)
    ends = until if admits == "own" else None
    closes = None if until is None else until + _GATE_LAG
    items: list[Item] = []
    for pair in mapping.ports:
        ending, keys = _keys(pair)
        come, leave = names[admits + ending], names["out" + ending]
        for first, last in keys:
            items.append(Item(come, first, last, None, None, ends))
            items.append(Item(leave, first, last))
            if admits == "own":
                items.append(Item(names["fresh" + ending], first, last))
            if chain is None:
                continue
            if chain == LAN_POLICY and ending != "p":
                items.append(Item(names["lan" + ending], first, last, None, None, closes))
            else:
                items.append(Item(names["gate" + ending], first, last, None, chain, closes))
    return items


def _keys(pair: PortPair) -> tuple[str, list[tuple[bytes, bytes | None]]]:
    """What the sets that outside ports belong in end with, for protocols, ranges, or exact ports; and the
    keys there, each with the last of its range.
    """
    number, ports = pair.protocol.number, pair.outside
    if not pair.protocol.has_ports:
        return "p", [(proto_key(number), None)]
    if ports.first == ports.last:
        return "", [(port_key(number, ports.first), None)]
    if ports == pair.inside:
        return "r", [(port_key(number, ports.first), port_key(number, ports.last))]
    return "", [(port_key(number, port), None) for port in range(ports.first, ports.last + 1)]


def _hole_items(
    mapping: Mapping, packed: bytes, form: str, chain: str | None, until: float | None
) -> Iterator[Item]:
    """A pinhole; `form` is `s` where only the suffix of the address counts."""
    closes = None if until is None else until + _GATE_LAG
    for pair in mapping.ports:
        number, ports = pair.protocol.number, pair.outside
        last = None
        if not pair.protocol.has_ports:
            ending, first = "p", number.to_bytes(1, "big") + _SEVERAL + packed
        else:
            first = address_port_key(number, packed, ports.first)
            ending = form
            if ports.size > 1:
                ending, last = f"{form}r", address_port_key(number, packed, ports.last)
        yield Item(f"hole{ending}", first, last, None, None, until)
        yield Item(f"holeout{ending}", first, last)
        yield Item(f"holefresh{ending}", first, last)
        if chain is not None:
            yield Item(f"holegate{ending}", first, last, None, chain, closes)


def _dmz_items(wanted: Wanted, chain: str | None) -> Iterator[Item]:
    mapping, until = wanted.mapping, wanted.accept_until
    scope = scope_of(mapping.on).name
    four, six = inside_addresses(wanted)
    if four is not None:
        family = _IPV4
        yield Item(f"dmz_{scope}", family, None, four.packed, None, until)
        yield Item(f"dmzin_{scope}", family, None, None, None, until)
        yield Item(f"dmzout_{scope}", family)
        for span in mapping.excepted:
            number, ports = span.protocol.number, span.ports
            yield Item(f"dmzx_{scope}", port_key(number, ports.first), port_key(number, ports.last))
    if six is not None:
        yield Item("holea", six.packed, None, None, None, until)
        yield Item("holeouta", six.packed)
        yield Item("holefresha", six.packed)
        for span in mapping.excepted:
            first = address_port_key(span.protocol.number, six.packed, span.ports.first)
            last = address_port_key(span.protocol.number, six.packed, span.ports.last)
            yield Item("holex", first, last)
        if chain is not None:
            closes = None if until is None else until + _GATE_LAG
            yield Item("holegatea", six.packed, None, None, chain, closes)


def _trigger_items(mapping: Mapping, chain: str | None, until: float | None) -> Iterator[Item]:
    scope = scope_of(mapping.on).name
    yield from _side_items(mapping, "in", chain, until)
    for pair in mapping.ports:
        first = port_key(pair.protocol.number, pair.outside.first)
        last = port_key(pair.protocol.number, pair.outside.last)
        yield Item(f"trig_{scope}", first, last, None, f"tsend_{mapping.id}", until)
        yield Item("trig6", first, last, None, f"tadmit_{mapping.id}", until)
        for name in ("trigin6", "trigout6", "trigfresh"):
            yield Item(name, first, last)
