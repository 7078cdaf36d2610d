"""What the relay is told for one mapping. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from sekimori.model.address import Interface, IPNetwork, IpProtocol
from sekimori.model.limits import Rate as ModelRate
from sekimori.model.mapping import Mapping
from sekimori.planes.relay.entry import Entry, Listen, Rate
from sekimori.reconcile.ports import Wanted

__all__ = ["MOST_PORTS", "listens_of", "render"]

MOST_PORTS = 4096
"""The relay holds a socket for each port, so wider mappings are for the kernel plane."""

_SOCKETS: Final[dict[IpProtocol, Literal["tcp", "udp"]]] = {IpProtocol.TCP: "tcp", IpProtocol.UDP: "udp"}


def render(wanted: Wanted, *, dual: bool) -> Entry:
    """The entry that makes `wanted` real. `dual` says that this machine has IPv6."""
    mapping = wanted.mapping
    limits = mapping.limits
    return Entry(
        id=mapping.id,
        listens=tuple(listens_of(mapping, dual=dual)),
        targets=wanted.targets,
        sources=None if wanted.sources is None else _texts(wanted.sources),
        accept_until=wanted.accept_until,
        grace=wanted.grace,
        rate_per_source=_rate(limits.per_source),
        rate_total=_rate(limits.total),
        max_connections=limits.connections,
        proxy_protocol=1 if mapping.proxy_protocol == 1 else 2 if mapping.proxy_protocol == 2 else 0,
        idle=None if mapping.idle is None else float(mapping.idle),
    )


def listens_of(mapping: Mapping, *, dual: bool) -> Iterator[Listen]:
    """The sockets a mapping needs: one a port, on one address or on all of them.

    Only of a mapping that the relay is able to make; of others there are none.
    """
    if isinstance(mapping.on, Interface):
        return
    address = str(mapping.on) if mapping.on is not None else "::" if dual else "0.0.0.0"
    both = mapping.on is None and dual
    for pair in (pair for pair in mapping.ports if pair.protocol in _SOCKETS):
        shift = pair.inside.first - pair.outside.first
        for port in pair.outside:
            yield Listen(_SOCKETS[pair.protocol], address, port, port + shift, both)


@lru_cache(maxsize=256)
def _texts(prefixes: tuple[IPNetwork, ...]) -> tuple[str, ...]:
    """Prefixes as text: few lists serve many mappings, and writing one out takes 5 µs."""
    return tuple(map(str, prefixes))


def _rate(rate: ModelRate | None) -> Rate | None:
    return None if rate is None else Rate(rate.count, float(rate.seconds))
