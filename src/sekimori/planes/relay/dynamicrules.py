"""Which destinations a client may name: what can be said of one before it is dialled.

A numeric address is judged here. So is a name, as far as it goes: what it leads to is judged where it is
looked up, by the direct dialler. Through a link that is the far machine, and what guards its addresses from
a name that leads there are its own rules; the names that are always its loopback count as that address. As
nobody would judge the addresses, a prefix lets no name through there: a rule must say the name itself.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final

from sekimori.model.address import HIGHEST_PORT, IPAddress, IPNetwork
from sekimori.model.destination import Destination, Destinations
from sekimori.planes.relay.entry import Socks

__all__ = ["allows"]

_LOOPBACK: Final = IPv4Address("127.0.0.1")


def allows(socks: Socks, host: str, port: int, *, far: bool = False) -> bool:
    """Whether a client may name this place.

    Args:
        socks: the terms.
        host: a numeric address or a name, as `wire.asked` reads them.
        port: 0 (of a BIND) stands for every port.
        far: a name is looked up at the far end of a link, where nothing judges its addresses.

    Raises:
        Problem, ValueError: the entry's own rules make no sense.
    """
    reach, own = _read(socks.rules, socks.own)
    address = _address(host)
    ports = (port,) if port else (1, HIGHEST_PORT)
    if far and address is None:
        return all(
            any(place.names(host, None, each) or place.covers(host, each) for place in reach.places)
            for each in ports
        )
    return all(reach.allow(host, address, each, own) for each in ports)


def _address(host: str) -> IPAddress | None:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
        return _LOOPBACK
    try:
        return ip_address(host)
    except ValueError:  # a name
        return None


@lru_cache(maxsize=256)
def _read(rules: tuple[str, ...], own: tuple[str, ...]) -> tuple[Destinations, tuple[IPNetwork, ...]]:
    places = Destinations(tuple(map(Destination.parse, rules)))
    return places, tuple(ip_network(text, strict=False) for text in own)
