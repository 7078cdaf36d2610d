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
    "WHOLE",
    "IPAddress",
    "IPNetwork",
    "Interface",
    "IpProtocol",
    "On",
    "PortPair",
    "PortRange",
    "PortSpec",
    "Span",
    "UnixPath",
    "format_ports",
    "format_spans",
    "looks_like_ports",
    "parse_address",
    "parse_on",
    "parse_ports",
    "parse_spans",
    "parse_unix_path",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

HIGHEST_PORT: Final = 65535
_SPEC = re.compile(
    r"(?:(?P<protocols>[a-z+]+)/)?(?P<outside>[\d-]+)(?::(?P<inside>[\d-]+))?(?:/(?P<after>[a-z+]+))?"
)
_UNIX: Final = "unix:"
_LONGEST_PATH: Final = 107
"""Bytes of `sockaddr_un.sun_path` (unix(7)) without the NUL at its end."""
_INTERFACE = re.compile(r"[a-z][\w.@-]{0,14}", re.ASCII | re.IGNORECASE)  # IFNAMSIZ, linux/if.h


class IpProtocol(StrEnum):
    """What a mapping carries: an upper-layer protocol, or everything that nothing else claims.

    A protocol without ports is claimed whole, so a mapping of it holds `WHOLE`: one owner per
    address and protocol.
    """

    number: int
    """IANA's protocol number; 0 for `DMZ`, which is no single protocol."""
    has_ports: bool
    """Whether its packets carry ports to tell mappings apart by."""

    def __new__(cls, word: str, number: int, has_ports: bool) -> IpProtocol:
        """A member with its facts at hand: they are asked for with every element of every mapping."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.number = number
        member.has_ports = has_ports
        return member

    TCP = "tcp", 6, True
    UDP = "udp", 17, True
    SCTP = "sctp", 132, True
    GRE = "gre", 47, False
    ESP = "esp", 50, False
    SIX_IN_FOUR = "6in4", 41, False
    """IPv6 in IPv4 (RFC 4213), IANA's protocol 41 `ipv6`."""
    DMZ = "dmz", 0, False
    """All protocols and ports that no other mapping claims: a DMZ host."""
    UNIX = "unix", 0, False
    """Streams of a unix socket, whose path (`UnixPath`) stands in the place of address and port."""


_WITHOUT_PORTS: Final = frozenset(str(each) for each in IpProtocol if not each.has_ports)


@dataclass(frozen=True, slots=True, order=True)
class Interface:
    """A network interface by its name: all addresses it has outside, whatever they are today."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class UnixPath:
    """A unix socket by its absolute path. It stands where an address stands, and is of no family."""

    path: str

    @property
    def version(self) -> int:
        """The version of IP that it is not an address of."""
        return 0

    @property
    def is_unspecified(self) -> bool:
        """Whether it stands for several: never."""
        return False

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


On = IPAddress | Interface | UnixPath
"""Where outside ports are claimed: one address, one interface, or one path."""


def parse_on(text: str) -> On:
    """An address, the name of an interface, or `unix:/path`.

    Raises:
        Problem: `bad-address`.
    """
    word = text.strip()
    if word.startswith(_UNIX):
        try:
            return parse_unix_path(word)
        except Unreadable as error:
            raise Problem("bad-address", text=text, why=error.why) from None
    if ":" in word or not _INTERFACE.fullmatch(word):
        return parse_address(word)
    return Interface(word)


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


def parse_unix_path(text: str) -> UnixPath:
    """Read `unix:/run/app.sock`.

    Raises:
        Unreadable: it is no absolute path of a socket; its cause says why.
    """
    path = text.strip().removeprefix(_UNIX)
    if not path.startswith("/") or path.endswith("/"):
        raise Unreadable("unix-not-absolute")
    if not path.isprintable():  # NUL ends a path, and line breaks are for nobody's good
        raise Unreadable("unix-unprintable")
    if any(part in (".", "..") for part in path.split("/")):
        raise Unreadable("unix-dots")
    if len(path.encode()) > _LONGEST_PATH:
        raise Unreadable("unix-too-long", most=_LONGEST_PATH)
    return UnixPath(re.sub("/+", "/", path))


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


WHOLE: Final = PortRange(1, HIGHEST_PORT)
"""What a protocol without ports is claimed by."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Ports of one protocol that lead nowhere: an exception, or what sets off a trigger."""

    protocol: IpProtocol
    ports: PortRange

    def __str__(self) -> str:
        return f"{self.protocol}/{self.ports}" if self.protocol.has_ports else str(self.protocol)


@dataclass(frozen=True, slots=True, order=True)
class PortPair:
    """Outside ports of one protocol and the inside ports they lead to, in order."""

    protocol: IpProtocol
    outside: PortRange
    inside: PortRange

    def __str__(self) -> str:
        return _group_text([str(self.protocol)], self.protocol.has_ports, self.outside, self.inside)


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Ports as written: the inside may still be left to the target."""

    protocols: tuple[IpProtocol, ...]
    outside: PortRange
    inside: PortRange | None


def parse_ports(text: str) -> tuple[PortSpec, ...]:
    """Read `8080`, `udp/7000-7010`, `tcp+udp/53`, `5136:25565`, `gre`, `dmz`, several with commas.

    Without a protocol, TCP is meant. `unix`, whose path is read apart, may have an inside port: `unix:5432`.

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
    if text[:1].isdecimal() or "/" in text or ":" in text or "," in text:
        return True
    return all(word in _WITHOUT_PORTS or word == "ah" for word in text.lower().split("+"))


def format_ports(pairs: Iterable[PortPair]) -> str:
    """The shortest text that `parse_ports` reads back to the same pairs."""
    merged: dict[tuple[bool, PortRange, PortRange], list[str]] = {}
    for pair in pairs:
        key = (pair.protocol.has_ports, pair.outside, pair.inside)
        merged.setdefault(key, []).append(str(pair.protocol))
    return ",".join(_group_text(names, *ranges) for ranges, names in merged.items())


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read ports that lead nowhere: what `parse_ports` reads, without inside ports.

    Raises:
        Problem: `bad-ports`.
    """
    specs = parse_ports(text)
    if any(spec.inside is not None for spec in specs):
        raise Problem("bad-ports", text=text, why=cause("leads-nowhere"))
    found = {Span(protocol, spec.outside) for spec in specs for protocol in spec.protocols}
    return tuple(sorted(found))  # one order however they were written: what is read back equals


def format_spans(spans: Iterable[Span]) -> str:
    """The text that `parse_spans` reads back to the same spans."""
    return format_ports(PortPair(span.protocol, span.ports, span.ports) for span in spans)


def _parse_spec(text: str) -> PortSpec:
    unix, colon, port = text.partition(":")
    if unix == IpProtocol.UNIX and colon:
        return PortSpec((IpProtocol.UNIX,), WHOLE, PortRange.parse(port))
    if text and all(word in _WITHOUT_PORTS or word == "ah" for word in text.split("+")):
        return PortSpec(_parse_protocols(text), WHOLE, None)
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
    protocols = _parse_protocols(match["protocols"] or match["after"] or "tcp")
    for protocol in protocols:
        if not protocol.has_ports:
            raise Unreadable("has-no-ports", name=str(protocol))
    return PortSpec(protocols, outside, inside)


@lru_cache(maxsize=32)
def _parse_protocols(text: str) -> tuple[IpProtocol, ...]:
    names = text.split("+")
    known = {str(protocol) for protocol in IpProtocol}
    for name in names:
        if name == "ah":
            raise Unreadable("ah-covers-addresses")
        if name not in known:
            raise Unreadable("not-a-protocol", name=name)
    return tuple(protocol for protocol in IpProtocol if protocol in names)


def _group_text(names: list[str], ported: bool, outside: PortRange, inside: PortRange) -> str:
    """Protocols and their ports. A path outside may lead to a port inside (`unix:5432`)."""
    leads_to = "" if outside == inside else f":{inside}"
    return "+".join(names) + (f"/{outside}{leads_to}" if ported else leads_to)
