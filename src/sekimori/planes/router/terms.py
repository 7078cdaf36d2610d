"""What a mapping means to the router above: the ports that it hands on, and why it may not. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sekimori.model.address import Interface, IpProtocol, PortRange
from sekimori.model.addresskind import AddressKind, kind_of
from sekimori.model.causes import Text, cause
from sekimori.model.line import main_address4
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.network import Network, Wan
from sekimori.reconcile.ports import Wanted

__all__ = [
    "MOST_PORTS",
    "Line",
    "Run",
    "lines_behind_a_router",
    "lines_for",
    "nonce_for",
    "runs_of",
    "terms_of",
    "why_unable",
]

MOST_PORTS: Final = 64
"""Ports of one mapping. A router keeps an entry for each, and the cheap ones have room for 32 to 64."""

_NONCE: Final = 12
_NOT_LINES: Final = frozenset({AddressKind.NONE, AddressKind.LINK_LOCAL})


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Outside ports at the router, and the ports of this machine's WAN address that they lead to, in order.

    Attributes:
        protocol: TCP or UDP.
        outside: the first outside port.
        inside: the first inside port.
        size: how many.
    """

    protocol: IpProtocol
    outside: int
    inside: int
    size: int = 1

    def first(self, size: int) -> Run:
        """The first ports of it."""
        return Run(self.protocol, self.outside, self.inside, size)

    def singles(self, begin: int = 0) -> Iterator[Run]:
        """Each port by itself, from the given one on."""
        for place in range(begin, self.size):
            yield Run(self.protocol, self.outside + place, self.inside + place)

    def __str__(self) -> str:
        return f"{self.protocol}/{PortRange(self.outside, self.outside + self.size - 1)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A WAN with a router above it.

    Attributes:
        interface: the WAN's.
        local: this machine's address on it, which ports are led to.
        gateway: the router's address.
    """

    interface: str
    local: IPv4Address
    gateway: IPv4Address


def lines_behind_a_router(network: Network) -> tuple[Line, ...]:
    """The WANs whose IPv4 address is not public, with the gateways of their default routes; the preferred
    one first.
    """
    found = (_line(wan) for wan in network.wans)
    return tuple(line for line in found if line is not None)


def lines_for(mapping: Mapping, network: Network) -> tuple[Line, ...]:
    """The lines whose routers have to hand on the ports of a mapping: none where it is on public ones."""
    wans = {wan.interface: wan for wan in network.wans}
    return tuple(
        line for line in lines_behind_a_router(network) if _is_on(mapping, line, wans[line.interface])
    )


def runs_of(mapping: Mapping) -> tuple[Run, ...]:
    """What a router is asked for.

    Where another hop comes next, it listens on the outside port; where the router is the only one, packets
    have to come in by the port that the service has.
    """
    alone = len(mapping.path) == 1
    return tuple(
        Run(
            pair.protocol,
            pair.outside.first,
            (pair.inside if alone else pair.outside).first,
            pair.outside.size,
        )
        for pair in mapping.ports
    )


def terms_of(wanted: Wanted) -> str:
    """A short name for exactly what is wanted of a router: ports, lines, and until when."""
    mapping = wanted.mapping
    terms = (runs_of(mapping), str(mapping.on), wanted.accept_until)
    return hashlib.sha256(repr(terms).encode()).hexdigest()[:24]


def nonce_for(secret: bytes, mapping_id: str, run: Run) -> bytes:
    """The nonce of a PCP mapping: the same after a restart, so that ours are renewed and do not collide."""
    text = f"{mapping_id} {run.protocol} {run.inside} {run.outside}"
    return hmac.digest(secret, text.encode(), "sha256")[:_NONCE]


def why_unable(mapping: Mapping, network: Network) -> Text | None:
    """Why no router can hand on such a mapping; None when one can. What the next hop does is its matter."""
    return _terms(mapping) or _place(mapping, network)


def _terms(mapping: Mapping) -> Text | None:
    if mapping.kind not in (MappingKind.FORWARD, MappingKind.PERMIT):
        return cause(f"router-no-{mapping.kind}")
    other = next(
        (p.protocol for p in mapping.ports if p.protocol not in (IpProtocol.TCP, IpProtocol.UDP)), None
    )
    if other is not None:
        return cause("router-no-protocol", protocol=other)
    count = sum(pair.outside.size for pair in mapping.ports)
    if count > MOST_PORTS:
        return cause("router-too-many", count=count, most=MOST_PORTS)
    return None


def _place(mapping: Mapping, network: Network) -> Text | None:
    if isinstance(mapping.on, IPv6Address):
        return cause("router-only-ipv4")
    if lines_for(mapping, network):
        return None
    lines = lines_behind_a_router(network)
    if lines:
        return cause("router-other-line", on=mapping.on, lines=", ".join(each.interface for each in lines))
    return cause("router-none-before")


def _line(wan: Wan) -> Line | None:
    local = main_address4(wan)
    if local is None or kind_of(local) in _NOT_LINES or kind_of(local).is_public:
        return None
    return Line(wan.interface, local, wan.gateway4) if isinstance(wan.gateway4, IPv4Address) else None


def _is_on(mapping: Mapping, line: Line, wan: Wan) -> bool:
    on = mapping.on
    if on is None:
        return True
    if isinstance(on, Interface):
        return on.name == line.interface
    return on in wan.addresses4 or (on.is_unspecified and on.version == 4)
