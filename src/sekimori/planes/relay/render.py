"""What the relay is told for one mapping. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from sekimori.model.address import WHOLE, Interface, IPNetwork, IpProtocol, UnixPath
from sekimori.model.limits import Rate as ModelRate
from sekimori.model.mapping import Mapping
from sekimori.model.socks import SocksTerms
from sekimori.model.target import TargetKind
from sekimori.planes.relay.carriers import DIRECT
from sekimori.planes.relay.entry import Entry, Listen, Rate, Socks
from sekimori.reconcile.ports import Wanted

__all__ = ["MOST_PORTS", "listens_of", "render"]

MOST_PORTS = 4096
"""The relay holds a socket for each port, so wider mappings are for the kernel plane."""

_SOCKETS: Final[dict[IpProtocol, Literal["tcp", "udp"]]] = {IpProtocol.TCP: "tcp", IpProtocol.UDP: "udp"}


def render(wanted: Wanted, *, dual: bool, own: tuple[str, ...] = ()) -> Entry:
    """The entry that makes `wanted` real.

    Args:
        wanted: what is wanted of one mapping.
        dual: this machine has IPv6.
        own: prefixes of this machine's networks, guarded from clients that name their destination.
    """
    mapping = wanted.mapping
    limits = mapping.limits
    return Entry(
        id=mapping.id,
        listens=tuple(listens_of(mapping, dual=dual) if mapping.at is None else _far_listens(mapping)),
        targets=wanted.targets,
        sources=None if wanted.sources is None else _texts(wanted.sources),
        accept_until=wanted.accept_until,
        grace=wanted.grace,
        rate_per_source=_rate(limits.per_source),
        rate_total=_rate(limits.total),
        max_connections=limits.connections,
        proxy_protocol=1 if mapping.proxy_protocol == 1 else 2 if mapping.proxy_protocol == 2 else 0,
        idle=None if mapping.idle is None else float(mapping.idle),
        carrier=_carrier(mapping),
        arrivals=mapping.at,
        socks=_socks(mapping, own),
    )


def listens_of(mapping: Mapping, *, dual: bool) -> Iterator[Listen]:
    """The sockets a mapping needs here: one a port, on one address or on all of them; or one at a path.

    Only of a mapping that the relay is able to make; of others there are none. Nor are there of one that
    listens at the far end of a link.
    """
    if mapping.at is not None or isinstance(mapping.on, Interface):
        return
    if isinstance(mapping.on, UnixPath):
        yield from _path_listens(mapping, mapping.on.path)
        return
    address = str(mapping.on) if mapping.on is not None else "::" if dual else "0.0.0.0"
    yield from _port_listens(mapping, address, dual=mapping.on is None and dual)


def _far_listens(mapping: Mapping) -> Iterator[Listen]:
    """Where the far end of a link listens for a mapping; an address of "" is all it has."""
    if isinstance(mapping.on, UnixPath):
        yield from _path_listens(mapping, mapping.on.path)
    else:
        yield from _port_listens(mapping, "" if mapping.on is None else str(mapping.on), dual=False)


def _port_listens(mapping: Mapping, address: str, *, dual: bool) -> Iterator[Listen]:
    for pair in (pair for pair in mapping.ports if pair.protocol in _SOCKETS):
        shift = pair.inside.first - pair.outside.first
        for port in pair.outside:
            yield Listen(_SOCKETS[pair.protocol], address, port, port + shift, dual)


def _path_listens(mapping: Mapping, path: str) -> Iterator[Listen]:
    for pair in mapping.ports:
        yield Listen("unix", path, 0, 0 if pair.inside == WHOLE else pair.inside.first)


def _carrier(mapping: Mapping) -> str | None:
    if mapping.is_dialled_far:
        return mapping.link
    return DIRECT if mapping.target.kind is TargetKind.SOCKS else None


def _socks(mapping: Mapping, own: tuple[str, ...]) -> Socks | None:
    """What clients must say and may reach. Of a link's far end the networks here say nothing."""
    if mapping.target.kind is not TargetKind.SOCKS:
        return None
    terms = mapping.socks or SocksTerms()
    users = tuple((each.name, each.text) for each in terms.users)
    return Socks(users, tuple(map(str, terms.reach.places)), () if mapping.is_dialled_far else own)


@lru_cache(maxsize=256)
def _texts(prefixes: tuple[IPNetwork, ...]) -> tuple[str, ...]:
    """Prefixes as text: few lists serve many mappings, and writing one out takes 5 µs."""
    return tuple(map(str, prefixes))


def _rate(rate: ModelRate | None) -> Rate | None:
    return None if rate is None else Rate(rate.count, float(rate.seconds))
