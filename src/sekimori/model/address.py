"""Addresses, protocols and ports: read once from text, then values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = [
    "IPAddress",
    "IPNetwork",
    "IpProtocol",
    "PortPair",
    "PortRange",
    "PortSpec",
    "format_ports",
    "looks_like_ports",
    "parse_address",
    "parse_ports",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

HIGHEST_PORT: Final = 65535
_SPEC = re.compile(
    r"(?:(?P<protocols>[a-z+]+)/)?(?P<outside>[\d-]+)(?::(?P<inside>[\d-]+))?(?:/(?P<after>[a-z+]+))?"
)


class IpProtocol(StrEnum):
    """The upper-layer protocol of a mapping (IANA protocol names)."""

    TCP = "tcp"
    UDP = "udp"


def parse_address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address; a v4-mapped one (RFC 4291 §2.5.5.2) becomes IPv4.

    Raises:
        Problem: `bad-address`.
    """
    try:
        address = ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        raise Problem("bad-address", text=text, why=cause("not-an-address")) from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports `first` to `last`, both included (1 to 65535)."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read `8080` or `8000-8010`.

        Raises:
            Unreadable: it is not a port or an ascending range; its cause says which.
        """
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise Unreadable("not-ports", text=text)
        low, high = int(first), int(last) if dash else int(first)
        if not (0 < low <= HIGHEST_PORT and 0 < high <= HIGHEST_PORT):
            raise Unreadable("port-bounds")
        if low > high:
            raise Unreadable("range-backwards", low=high, high=low)
        return cls(low, high)

    @property
    def size(self) -> int:
        """How many ports it holds."""
        return self.last - self.first + 1

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def overlaps(self, other: PortRange) -> bool:
        """Whether the two share a port."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, order=True)
class PortPair:
    """Outside ports of one protocol and the inside ports they lead to, in order."""

    protocol: IpProtocol
    outside: PortRange
    inside: PortRange

    def __str__(self) -> str:
        return f"{self.protocol}/{_pair_text(self.outside, self.inside)}"


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Ports as written: the inside may still be left to the target."""

    protocols: tuple[IpProtocol, ...]
    outside: PortRange
    inside: PortRange | None


def parse_ports(text: str) -> tuple[PortSpec, ...]:
    """Read `8080`, `udp/7000-7010`, `tcp+udp/53`, `5136:25565`, several with commas.

    Without a protocol, TCP is meant.

    Raises:
        Problem: `bad-ports` or `range-mismatch`.
    """
    parts = [part.strip() for part in text.lower().split(",")]
    try:
        return tuple(_parse_spec(part) for part in parts)
    except Unreadable as error:
        raise Problem("bad-ports", text=text, why=error.why) from None


def looks_like_ports(text: str) -> bool:
    """Whether `text` is meant as ports rather than as the name of a preset."""
    return text[:1].isdecimal() or "/" in text or ":" in text or "," in text


def format_ports(pairs: Iterable[PortPair]) -> str:
    """The shortest text that `parse_ports` reads back to the same pairs."""
    merged: dict[tuple[PortRange, PortRange], list[str]] = {}
    for pair in pairs:
        merged.setdefault((pair.outside, pair.inside), []).append(str(pair.protocol))
    return ",".join(f"{'+'.join(names)}/{_pair_text(*ranges)}" for ranges, names in merged.items())


def _parse_spec(text: str) -> PortSpec:
    match = _SPEC.fullmatch(text)
    if match is None or (match["protocols"] and match["after"]):
        raise Unreadable("not-a-port" if text else "port-missing", text=text)
    outside = PortRange.parse(match["outside"])
    inside = PortRange.parse(match["inside"]) if match["inside"] else None
    if inside is not None and inside.size != outside.size:
        raise Problem(
            "range-mismatch",
            outside=str(outside),
            inside=str(inside),
            outside_size=outside.size,
            inside_size=inside.size,
        )
    return PortSpec(_parse_protocols(match["protocols"] or match["after"] or "tcp"), outside, inside)


@lru_cache(maxsize=32)
def _parse_protocols(text: str) -> tuple[IpProtocol, ...]:
    names = text.split("+")
    known = {str(protocol) for protocol in IpProtocol}
    for name in names:
        if name not in known:
            raise Unreadable("not-a-protocol", name=name)
    return tuple(protocol for protocol in IpProtocol if protocol in names)


def _pair_text(outside: PortRange, inside: PortRange) -> str:
    return str(outside) if outside == inside else f"{outside}:{inside}"
