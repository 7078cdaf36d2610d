"""The kernel plane keeps the contract of planes, in the gateway's own network namespace."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from sekimori.model.address import IpProtocol
from sekimori.model.limits import Limits, Rate
from sekimori.planes.kernel import policies
from sekimori.planes.kernel.opening import open_kernel
from sekimori.planes.kernel.plane import KernelPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.contract_plane import Ends, PlaneContract, wanted_at
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers
from sekimori.testing.ports import free_ports

from .byhand import NETWORK
from .home import moved_into
from .talks import fire

pytestmark = pytest.mark.netns


class KernelStand:
    """The gateway of a home. Its main thread is the test's, for as long as the test lasts."""

    ends = Ends(
        (IPv4Address(HomeNetwork.GATEWAY[0]), IPv4Address(HomeNetwork.GATEWAY_TOO[0])),
        (HomeNetwork.SERVER[0], HomeNetwork.DESKTOP[0]),
        IPv4Network("198.51.100.0/24"),
    )
    lacks = frozenset({"proxy_protocol", "idle"})

    def __init__(self, plane: KernelPlane) -> None:
        self.plane = plane
        self._occupied: dict[int, socket.socket] = {}

    def free_ports(self, count: int) -> list[int]:
        """Ports that are this test's alone."""
        return [free_ports() for _ in range(count)]

    async def occupy(self, port: int) -> None:
        """A service of the gateway's own."""
        self._occupied[port] = socket.create_server(("0.0.0.0", port))

    async def vacate(self, port: int) -> None:
        """It ends."""
        self._occupied.pop(port).close()

    def close(self) -> None:
        """All of them end."""
        for sock in self._occupied.values():
            sock.close()


@pytest.fixture
async def stand(network: HomeNetwork) -> AsyncIterator[KernelStand]:
    with moved_into(network.gateway):
        plane = open_kernel()
        assert isinstance(plane, KernelPlane), plane.obstacle
        plane.reframe(NETWORK)
        plane.start()
        stand = KernelStand(plane)
        try:
            yield stand
        finally:
            stand.close()
            await plane.close()
            network.gateway.run(["nft", "flush", "ruleset"])


class TestKernelPlane(PlaneContract):
    """The suite, with `stand` from this module."""

    async def test_the_network_is_the_one_that_is_there(self, stand: KernelStand) -> None:
        """Or nothing of this would be about the kernel's own sockets."""
        assert {str(each) for each in NETWORK.own} >= {*map(str, stand.ends.on)}
        assert ipaddress.ip_address(stand.ends.targets[0]) in stand.plane.network.lans[0].prefixes[0]


async def test_who_finds_no_room_among_the_counted_is_kept_out(
    network: HomeNetwork, stand: KernelStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "MOST_SOURCES", 4)
    """A full set would let everybody in, were it not asked who is in it."""
    plane, server_address, gateway_address = stand.plane, HomeNetwork.SERVER[0], HomeNetwork.GATEWAY[0]
    limits = Limits(per_source=Rate(100, 60))
    port = free_ports()
    wanted = wanted_at(stand, 1, port, limits=limits, protocols=(IpProtocol.UDP,))
    [pair] = wanted.mapping.ports
    with Peers(network.server.call) as server, Peers(network.stranger.call) as stranger:
        echo = server.udp_echo(server_address, pair.inside.first)
        assert await plane.apply(Changes(put=(wanted,))) == {}
        sources = [f"198.51.100.{last}" for last in range(30, 50)]
        network.stranger.address("isp", *(f"{each}/24" for each in sources))
        talkers = [stranger.datagrams(port, gateway_address, source) for source in sources[:4]]
        assert [each.ask(b"counted") for each in talkers] == [b"counted"] * 4
        for source in sources[4:]:
            fire(stranger, port, gateway_address, 1, source)
        admitted = {address for address, _ in echo.seen}
        # The kernel rounds the size of a hash up; but it is full at some time, and then nobody else comes.
        assert set(sources[:4]) <= admitted < set(sources[:16])
        assert [each.ask(b"still") for each in talkers] == [b"still"] * 4
        assert stranger.datagrams(port, gateway_address, sources[0]).ask(b"known") == b"known"
