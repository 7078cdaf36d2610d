"""Where a mapping leads: an address, a DNS name, or this machine itself."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from sekimori.model.address import IPAddress, IpProtocol, PortPair, PortRange, PortSpec
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = ["Resolution", "Target", "TargetKind", "pair_ports", "parse_target"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


class TargetKind(StrEnum):
    """How the target's address is found."""

    ADDRESS = "address"
    NAME = "name"
    SELF = "self"


@dataclass(frozen=True, slots=True)
class Target:
    """The inside host; the ports stand in the mapping's port pairs."""

    kind: TargetKind
    host: str
    """A numeric address, a DNS name in lower case, or `self`."""

    @classmethod
    def parse_host(cls, text: str) -> Target:
        """Read a host without a port.

        Raises:
            Problem: `bad-target`.
        """
        host = text.strip().lower()
        if host == "self":
            return cls(TargetKind.SELF, "self")
        address = _read_address(host)
        if address is not None:
            return cls(TargetKind.ADDRESS, str(_usable(address, text)))
        if re.fullmatch(r"[\d.]+", host):
            raise Problem("bad-target", text=text, why=cause("half-an-address"))
        if len(host) > 253 or not _NAME.fullmatch(host):
            raise Problem("bad-target", text=text, why=cause("not-a-host"))
        return cls(TargetKind.NAME, host.rstrip("."))

    @property
    def address(self) -> IPAddress | None:
        """The address, where the target is one."""
        return ipaddress.ip_address(self.host) if self.kind is TargetKind.ADDRESS else None

    def with_port(self, port: object) -> str:
        """`host:port`, with brackets around an IPv6 address (RFC 3986 §3.2.2)."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def __str__(self) -> str:
        return self.host


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a name, best first, and how many seconds they may be believed."""

    addresses: tuple[str, ...]
    ttl: float


def parse_target(text: str) -> tuple[Target, PortRange | None]:
    """Read `host`, `host:22`, `host:9000-9010`, `[2001:db8::5]:22`, `:3000` (this machine).

    Raises:
        Problem: `bad-target`.
    """
    text = text.strip()
    if not text:
        raise Problem("bad-target", text=text, why=cause("empty"))
    host, ports = _split_port(text)
    return Target.parse_host(host or "self"), ports


def pair_ports(specs: tuple[PortSpec, ...], inside: PortRange | None, target: str) -> tuple[PortPair, ...]:
    """Join the outside ports with the inside ones, each to its own.

    A single inside port given with the target stands for the range that begins there.

    Raises:
        Problem: `bad-target`, `bad-ports` or `range-mismatch`.
    """
    if inside is not None:
        if any(spec.inside is not None for spec in specs):
            raise Problem("bad-target", text=target, why=cause("inside-twice"))
        if len({spec.outside for spec in specs}) > 1:
            raise Problem("bad-target", text=target, why=cause("inside-for-several"))
    merged: dict[tuple[PortRange, PortRange], set[IpProtocol]] = {}
    for spec in specs:
        leads_to = spec.inside or _fit(inside, spec.outside) or spec.outside
        merged.setdefault((spec.outside, leads_to), set()).update(spec.protocols)
    # One order however they were written, which is the one `format_ports` gives: what is read back equals.
    pairs = tuple(
        PortPair(protocol, *ranges)
        for ranges, protocols in merged.items()
        for protocol in IpProtocol
        if protocol in protocols
    )
    _refuse_overlap(pairs)
    return pairs


def _fit(inside: PortRange | None, outside: PortRange) -> PortRange | None:
    if inside is not None and inside.size != outside.size:
        raise Problem(
            "range-mismatch",
            outside=str(outside),
            inside=str(inside),
            outside_size=outside.size,
            inside_size=inside.size,
        )
    return inside


def _refuse_overlap(pairs: tuple[PortPair, ...]) -> None:
    for index, one in enumerate(pairs):
        for other in pairs[index + 1 :]:
            if one.protocol is other.protocol and one.outside.overlaps(other.outside):
                raise Problem("bad-ports", text=f"{one},{other}", why=cause("port-in-both"))


def _split_port(text: str) -> tuple[str, PortRange | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Problem("bad-target", text=text, why=cause("brackets"))
        if not rest:
            return host, None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:  # a name, or an IPv6 address without a port
        return text, None
    try:
        return host, PortRange.parse(port)
    except Unreadable as error:
        raise Problem("bad-target", text=text, why=error.why) from None


def _read_address(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:  # a name, or nothing at all: the caller looks further
        return None


def _usable(address: IPAddress, text: str) -> IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    if address.is_unspecified or address.is_multicast:
        raise Problem("bad-target", text=text, why=cause("no-single-host"))
    return address
