"""Where devices may be, and that nothing is asked anywhere else."""

from __future__ import annotations

import ipaddress
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from sekimori.host.leases import LeaseFiles
from sekimori.host.sightings import LanSightings, near_networks
from sekimori.model.network import Lan, Neighbour, NeighbourState, Network, Wan

HOME = Lan("lan0", (ipaddress.ip_network("192.168.1.0/24"),), (IPv4Address("192.168.1.1"),))
LINE = ipaddress.ip_network("203.0.113.0/24")


def wan(address: str, prefix: str) -> Wan:
    six = IPv6Address("2001:db8:2::2")
    return Wan("wan0", (IPv4Address(address),), (six,), prefixes=(ipaddress.ip_network(prefix),))


@pytest.mark.parametrize(
    ("address", "prefix", "near"),
    [
        ("203.0.113.2", "203.0.113.0/24", ["lan0"]),
        ("100.64.3.2", "100.64.0.0/16", ["lan0"]),
        ("192.168.178.20", "192.168.178.0/24", ["lan0", "wan0"]),
        ("10.0.0.2", "10.0.0.0/8", ["lan0", "wan0"]),
    ],
)
def test_devices_are_in_lans_and_in_the_home_network_a_machine_is_in(
    address: str, prefix: str, near: list[str]
) -> None:
    network = Network(wans=(wan(address, prefix),), lans=(HOME,))
    assert [lan.interface for lan in near_networks(network)] == near


def test_neighbours_outside_are_no_devices() -> None:
    inside = Neighbour(IPv4Address("192.168.1.50"), "02:00:00:00:00:a1", "lan0", NeighbourState.STALE)
    outside = Neighbour(IPv4Address("203.0.113.1"), "02:00:00:00:00:99", "wan0", NeighbourState.REACHABLE)
    network = Network(wans=(wan("203.0.113.2", "203.0.113.0/24"),), lans=(HOME,))
    sightings = LanSightings(lambda: (inside, outside), lambda: network, LeaseFiles([]))
    assert sightings.neighbours() == (inside,)


async def test_nothing_is_asked_outside_the_lan() -> None:
    sightings = LanSightings(tuple, lambda: Network(lans=(HOME,)), LeaseFiles([]))
    begin = time.monotonic()
    await sightings.probe(IPv4Address("198.51.100.1"), None)
    await sightings.probe(IPv6Address("2001:db8::1"), "lan0")
    assert time.monotonic() - begin < 0.5  # it would have waited for an answer
