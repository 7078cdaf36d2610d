"""IPv6 pinholes that devices ask for by PCP: what they let in through the firewall, and until when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers, eventually
from sekimori.wire import pcp

from .home import Knock, renumber
from .portmapping import CONFIG, House, at_house, pcp_mapped

pytestmark = pytest.mark.netns

INSIDE, SERVER, DESKTOP = HomeNetwork.GATEWAY_INSIDE[1], HomeNetwork.SERVER[1], HomeNetwork.DESKTOP[1]
OLD, NEW = "2001:db8:3::", "2001:db8:33::"
"""What the provider gives the home, and what it gives it later instead."""
TCP = 6


@pytest.fixture(scope="module")
def daemon(network: HomeNetwork) -> Iterator[DaemonProcess]:
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def house(network: HomeNetwork, daemon: DaemonProcess) -> Iterator[House]:
    with at_house(network, daemon) as house:
        yield house


def is_shut(house: House, port: int, address: str) -> bool:
    with Knock(house.net.visitor, port, address) as knock:
        return not knock.is_accepted(0.5)


def test_it_lets_in_its_port_until_it_is_closed_and_closing_cuts(house: House) -> None:
    client = house.client(house.net.server, INSIDE)
    with (
        Peers(house.net.server.call) as at_home,
        Peers(house.net.desktop.call) as next_to_it,
        Peers(house.net.visitor.call) as outside,
    ):
        for port in (7000, 7001):
            at_home.tcp_echo(SERVER, port)
        next_to_it.tcp_echo(DESKTOP, 7000)
        assert is_shut(house, 7000, SERVER)
        body = pcp_mapped(client.map(7000, protocol=TCP))
        assert (str(body.outside_address), body.outside_port) == (SERVER, 7000)
        talker = outside.dial(7000, SERVER)
        assert talker.says_back(b"by the pinhole")
        assert is_shut(house, 7001, SERVER)
        assert is_shut(house, 7000, DESKTOP)
        pcp_mapped(client.map(7000, lifetime=0, protocol=TCP))
        assert is_shut(house, 7000, SERVER)
        talker.sock.settimeout(1)
        with pytest.raises((EOFError, OSError)):  # reset, or nothing gets through
            talker.says_back(b"still there?")


def test_it_ends_by_itself_on_its_second(house: House) -> None:
    client = house.client(house.net.server, INSIDE)
    house.daemon.client.add_permission("allow all for 2s", 1, why="a test")
    try:
        with Peers(house.net.server.call) as at_home, Peers(house.net.visitor.call) as outside:
            at_home.tcp_echo(SERVER, 7000)
            answer = client.map(7000, protocol=TCP)
            assert isinstance(answer, pcp.Response)
            assert 1 <= answer.lifetime <= 2  # what was granted is told, not what was wished
            assert outside.dial(7000, SERVER).says_back(b"in time")
            eventually(lambda: house.leases() == [], 5)
            assert is_shut(house, 7000, SERVER)
    finally:
        house.daemon.client.set_permissions(None)


def test_under_another_prefix_it_is_asked_for_anew_and_the_old_one_leads_to_nobody(house: House) -> None:
    port = 7000
    pcp_mapped(house.client(house.net.server, INSIDE).map(port, protocol=TCP))
    renumber(house.net, OLD, NEW)
    try:
        server, desktop = f"{NEW}10", f"{NEW}11"
        with (
            Peers(house.net.server.call) as at_home,
            Peers(house.net.desktop.call) as next_to_it,
            Peers(house.net.visitor.call) as outside,
        ):
            at_home.tcp_echo(server, port)
            next_to_it.tcp_echo(desktop, port)
            assert is_shut(house, port, server)  # the old one is about an address, and this is another

            def asks() -> bool:
                client = house.client(house.net.server, f"{NEW}1")
                return isinstance(client.map(port, protocol=TCP), pcp.Response)

            eventually(asks, 10)  # as soon as the gateway has seen its own new address
            assert {view["to"] for view in house.leases()} == {f"[{SERVER}]:{port}", f"[{server}]:{port}"}
            assert outside.dial(port, server).says_back(b"under the new prefix")
            assert is_shut(house, port, desktop)
    finally:
        renumber(house.net, NEW, OLD)
