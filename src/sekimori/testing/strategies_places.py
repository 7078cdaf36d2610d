"""Hypothesis strategies for where ports are and which: addresses, interfaces, paths, ranges, claims."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Final

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
    UnixPath,
)
from sekimori.model.claim import Claim

__all__ = [
    "addresses",
    "claims",
    "interfaces",
    "is_one_host",
    "outside_addresses",
    "places",
    "port_pairs",
    "port_ranges",
    "prefixes",
    "spans",
    "unix_paths",
    "whole",
]

_TCP, _UDP, _SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
_PROTOCOLS: Final = ((_TCP,), (_UDP,), (_TCP, _UDP), (_SCTP,), (_UDP, _SCTP))


def addresses() -> SearchStrategy[IPAddress]:
    """Addresses that one host can have, v4-mapped ones left out (they are read as IPv4)."""
    return st.ip_addresses().filter(is_one_host)


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


def unix_paths() -> SearchStrategy[UnixPath]:
    """Paths of unix sockets; the few repeat often. They hold what their text must not be split at."""
    few = st.sampled_from(["/run/a.sock", "/run/b:80.sock"])
    part = st.text("abc.: @é関", min_size=1, max_size=8).filter(lambda text: text.strip(". ") == text)
    return (few | st.lists(part, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))).map(
        UnixPath
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


def claims() -> SearchStrategy[Claim]:
    """Claims out of few ports, places and links, so that two often overlap; some ranges are wide."""
    narrow = st.builds(lambda low, size: PortRange(low, low + size), st.integers(400, 420), st.integers(0, 8))
    wide = st.builds(lambda low, size: PortRange(low, low + size), st.integers(1, 500), st.integers(50, 500))
    span = st.builds(_span, st.sampled_from(IpProtocol), narrow | wide)
    pairs = span.map(lambda each: PortPair(each.protocol, each.ports, each.ports))
    links = st.sampled_from((None, None, "vps", "bastion"))
    ports = pairs.filter(lambda pair: pair.protocol is not IpProtocol.UNIX)
    return st.builds(Claim, ports, places(), at=links) | st.builds(
        Claim, st.just(whole({IpProtocol.UNIX})[0]), unix_paths(), at=links
    )


def whole(protocols: Collection[IpProtocol]) -> tuple[PortPair, ...]:
    """The pairs of protocols without ports."""
    return tuple(PortPair(each, WHOLE, WHOLE) for each in IpProtocol if each in protocols)


def _span(protocol: IpProtocol, ports: PortRange) -> Span:
    return Span(protocol, ports if protocol.has_ports else WHOLE)


def _is_one(name: str) -> bool:
    return name.lower() not in {"none", "any", "off", "unlimited"}  # as a word they say: no interface


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


def is_one_host(address: IPAddress) -> bool:
    """Whether an address is one that a host can have, and is read back as itself."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped is None and not address.is_unspecified and not address.is_multicast
