"""Where a mapping leads: a host, a unix socket, or whatever a client names."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from sekimori.model.address import (
    WHOLE,
    IPAddress,
    IpProtocol,
    PortPair,
    PortRange,
    PortSpec,
    UnixPath,
    parse_ports,
    parse_unix_path,
)
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = ["Resolution", "Target", "TargetKind", "pair_ports", "parse_target", "read_pairs"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
_DEVICE = re.compile(rf"device:(?P<name>{_LABEL}(?:\.{_LABEL})*)(?:@(?P<mac>{_MAC.pattern}))?")
_SUFFIX = re.compile(r"(?P<suffix>::[0-9a-f:]+)/(?:-64|::ffff:ffff:ffff:ffff)")
_HOST_BITS = (1 << 64) - 1
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ONE_PORT = re.compile(rf"(tcp\+udp|tcp|udp)/{_PORT}(?::{_PORT})?")
_PORTED = {"tcp": (IpProtocol.TCP,), "udp": (IpProtocol.UDP,), "tcp+udp": (IpProtocol.TCP, IpProtocol.UDP)}
_UNIX = "unix:"


class TargetKind(StrEnum):
    """How the target's address is found."""

    ADDRESS = "address"
    NAME = "name"
    SELF = "self"
    DEVICE = "device"
    """A machine of the LAN, known by its MAC address and followed when its IP address changes."""
    SUFFIX = "suffix"
    """Whatever host has these lower 64 bits in a prefix of the LAN: it stays when the prefix changes."""
    TRIGGER = "trigger"
    """The LAN host that set off the mapping's trigger."""
    SOCKS = "socks"
    """Whatever the client names, by SOCKS or HTTP CONNECT."""
    UNIX = "unix"
    """A unix socket, by its path."""
    CLIENT = "client"
    """The SSH session that opened the port: what it leads to there, only the client knows."""

    @property
    def has_ports(self) -> bool:
        """Whether such a target is led to at a port of its own."""
        return self not in (TargetKind.SOCKS, TargetKind.UNIX, TargetKind.CLIENT)


_WORDS = ("self", "trigger", "socks", "client")
"""What stands for a target of the kind of that name, and so for no host of that name."""


@dataclass(frozen=True, slots=True)
class Target:
    """The inside host; the ports stand in the mapping's port pairs."""

    kind: TargetKind
    host: str
    """A numeric address, a DNS name in lower case, `self`, `trigger`, `socks`, `client`, a MAC address,
    `device:NAME`, `::10/-64`, or `unix:/path`."""
    mac: str = ""
    """The MAC address a device is known by, in lower case with colons; "" until it was found once.

    The name of a device is what it calls itself, so the name alone must not decide where a port leads."""

    @classmethod
    def parse_host(cls, text: str) -> Target:
        """Read a host without a port.

        Raises:
            Problem: `bad-target`.
        """
        if text.lstrip().startswith(f"{_UNIX}/"):
            return cls(TargetKind.UNIX, str(_read_path(text)))
        host = text.strip().lower()
        if (word := host.rstrip(".")) in _WORDS:  # with a dot too: it is not kept, so it must not tell apart
            return cls(TargetKind(word), word)
        device = _read_device(host)
        if device is not None:
            return device
        suffix = _SUFFIX.fullmatch(host)
        if suffix is not None:
            return cls(TargetKind.SUFFIX, f"{_read_suffix(suffix['suffix'], text)}/-64")
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
        return _parsed(self.host) if self.kind is TargetKind.ADDRESS else None

    @property
    def unix(self) -> UnixPath | None:
        """The path, where the target is a unix socket."""
        return UnixPath(self.host.removeprefix(_UNIX)) if self.kind is TargetKind.UNIX else None

    @property
    def suffix(self) -> int | None:
        """The lower 64 bits of the address, where the target is a suffix."""
        if self.kind is not TargetKind.SUFFIX:
            return None
        return int(ipaddress.IPv6Address(self.host.partition("/")[0]))

    def pinned(self, mac: str) -> Target:
        """The same device, from now on known by this MAC address."""
        return replace(self, mac=mac)

    def with_port(self, port: object) -> str:
        """`host:port`, with brackets around what has colons of its own (RFC 3986 §3.2.2); a target without
        ports stands alone.
        """
        text = str(self)
        if not self.kind.has_ports:
            return text
        return f"[{text}]:{port}" if ":" in text.removeprefix("device:") else f"{text}:{port}"

    def __str__(self) -> str:
        return f"{self.host}@{self.mac}" if self.mac and self.mac != self.host else self.host


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a name, best first, and how many seconds they may be believed."""

    addresses: tuple[str, ...]
    ttl: float


def parse_target(text: str) -> tuple[Target, PortRange | None]:
    """Read `host`, `host:22`, `host:9000-9010`, `[2001:db8::5]:22`, `:3000` (this machine), `device:nas:22`,
    `aa:bb:cc:dd:ee:ff` (a device by its MAC address), `[::10/-64]:443` (a suffix), `unix:/run/app.sock`,
    `trigger`, `socks`. `client` is not for people to say: that is the target of ports that clients open.

    Raises:
        Problem: `bad-target`.
    """
    text = text.strip()
    if not text:
        raise Problem("bad-target", text=text, why=cause("empty"))
    host, ports = (text, None) if text.startswith(f"{_UNIX}/") else _split_port(text)
    target = Target.parse_host(host or "self")
    if target.kind is TargetKind.CLIENT:
        raise Problem("bad-target", text=text, why=cause("client-by-key"))
    if ports is not None and not target.kind.has_ports:
        raise Problem("bad-target", text=text, why=cause("no-inside-port", name=str(target)))
    return target, ports


def pair_ports(specs: tuple[PortSpec, ...], inside: PortRange | None, target: str) -> tuple[PortPair, ...]:
    """Join the outside ports with the inside ones, each to its own.

    A single inside port given with the target stands for the range that begins there. A unix socket outside
    leads to one port inside, or with none said to where there are no ports.

    Raises:
        Problem: `bad-target`, `bad-ports` or `range-mismatch`.
    """
    if inside is not None:
        for protocol in (each for spec in specs for each in spec.protocols):
            if not protocol.has_ports and protocol is not IpProtocol.UNIX:
                raise Problem("bad-target", text=target, why=cause("no-inside-port", name=str(protocol)))
        if any(spec.inside is not None for spec in specs):
            raise Problem("bad-target", text=target, why=cause("inside-twice"))
        if len({spec.outside for spec in specs}) > 1:
            raise Problem("bad-target", text=target, why=cause("inside-for-several"))
    merged: dict[tuple[PortRange, PortRange], set[IpProtocol]] = {}
    for spec in specs:
        leads_to = spec.inside or _fit(inside, spec) or spec.outside
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


def read_pairs(text: str) -> tuple[PortPair, ...]:
    """What `format_ports` wrote. Most mappings hold one port, and those are read in a fifth of the time.

    Raises:
        Problem: it did not write that.
    """
    one = _ONE_PORT.fullmatch(text)
    if one is None:
        return pair_ports(parse_ports(text), None, text)
    words, first, second = one.groups()
    port = int(first)
    outside = inside = PortRange(port, port)
    if second is not None:
        port = int(second)
        inside = PortRange(port, port)
    protocols = _PORTED[words]
    if len(protocols) == 1:
        return (PortPair(protocols[0], outside, inside),)
    return tuple(PortPair(protocol, outside, inside) for protocol in protocols)


def _fit(inside: PortRange | None, spec: PortSpec) -> PortRange | None:
    size = 1 if spec.outside == WHOLE and IpProtocol.UNIX in spec.protocols else spec.outside.size
    if inside is not None and inside.size != size:
        raise Problem(
            "range-mismatch",
            outside=str(spec.outside) if size == spec.outside.size else str(IpProtocol.UNIX),
            inside=str(inside),
            outside_size=size,
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
    elif text.count(":") == 1 + text.lower().startswith("device:"):
        host, _, port = text.rpartition(":")
        if host == "unix" and not port.isdecimal():
            raise Problem("bad-target", text=text, why=cause("unix-not-absolute"))
    else:  # a name, or an IPv6 address without a port
        return text, None
    try:
        return host, PortRange.parse(port)
    except Unreadable as error:
        raise Problem("bad-target", text=text, why=error.why) from None


def _read_path(text: str) -> UnixPath:
    try:
        return parse_unix_path(text)
    except Unreadable as error:
        raise Problem("bad-target", text=text, why=error.why) from None


def _read_device(host: str) -> Target | None:
    if _MAC.fullmatch(host):
        mac = host.replace("-", ":")
        return Target(TargetKind.DEVICE, mac, mac)
    named = _DEVICE.fullmatch(host)
    if named is None:
        return None
    mac = (named["mac"] or "").replace("-", ":")
    return Target(TargetKind.DEVICE, f"device:{named['name']}", mac)


def _read_suffix(suffix: str, text: str) -> ipaddress.IPv6Address:
    try:
        address = ipaddress.IPv6Address(suffix)
    except ValueError:
        raise Problem("bad-target", text=text, why=cause("not-a-suffix")) from None
    if not 0 < int(address) <= _HOST_BITS:
        raise Problem("bad-target", text=text, why=cause("not-a-suffix"))
    return address


@lru_cache(maxsize=65_536)
def _parsed(host: str) -> IPAddress:
    """Asked for with every element of every mapping, and thousands lead to few hosts."""
    return ipaddress.ip_address(host)


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
