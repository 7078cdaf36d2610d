"""What is on the link of an interface: who may ask, and at which of our addresses."""

from __future__ import annotations

from sekimori.model.address import IPAddress
from sekimori.model.network import Lan, Network

__all__ = ["address_for", "find_lan", "is_here", "is_near"]


def find_lan(network: Network, interface: str) -> Lan | None:
    """The LAN of an interface; None while it is none."""
    if interface in network.outside:
        return None
    return next((lan for lan in network.lans if lan.interface == interface), None)


def is_near(network: Network, interface: str, source: IPAddress) -> bool:
    """Whether a source is one of the LAN that an interface leads to."""
    if source.is_unspecified or source.is_multicast:
        return False
    if source.version == 6 and source.is_link_local:
        return find_lan(network, interface) is not None
    lan = network.lan_of(source)
    return lan is not None and lan.interface == interface


def is_here(network: Network, interface: str, destination: IPAddress) -> bool:
    """Whether an address is ours on that interface; one of a WAN is not answered at, whoever asks."""
    if network.is_wan_address(destination):
        return False
    lan = find_lan(network, interface)
    if lan is None:
        return False
    return destination in lan.addresses or (destination.version == 6 and destination.is_link_local)


def address_for(network: Network, interface: str, source: IPAddress) -> IPAddress | None:
    """Our address on an interface that a source is to be told: one of its own network, or else the first of
    its family. Link-local ones are not told, for a URL has no place for the zone that they need.
    """
    lan = find_lan(network, interface)
    ours = [each for each in lan.addresses if each.version == source.version] if lan else []
    shared = {4: 8, 6: 64}[source.version]  # bits at least that two neighbours have in common
    return max(ours, key=lambda each: _common(each, source, shared), default=None)


def _common(one: IPAddress, other: IPAddress, least: int) -> int:
    """How many bits at the beginning are the same; 0 where they are few, so that the order decides."""
    bits = one.max_prefixlen - (int(one) ^ int(other)).bit_length()
    return bits if bits >= least else 0
