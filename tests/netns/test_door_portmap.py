"""NAT-PMP and PCP at a real gateway: what devices of the home ask for, hosts outside reach or do not."""

from __future__ import annotations

import ipaddress
import re
import shutil
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.pcpclient import PcpClient
from sekimori.testing.peers import Peers
from sekimori.wire import natpmp, pcp
from sekimori.wire.pcpoptions import Filter, PortSet, PreferFailure

from .home import Knock
from .portmapping import CONFIG, House, at_house, pcp_mapped

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
INSIDE = HomeNetwork.GATEWAY_INSIDE


@pytest.fixture(scope="module")
def daemon(network: HomeNetwork) -> Iterator[DaemonProcess]:
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def house(network: HomeNetwork, daemon: DaemonProcess) -> Iterator[House]:
    with at_house(network, daemon) as house:
        yield house


def reaches(host_peers: Peers, port: int, address: str, source: str | None = None) -> bool:
    try:
        return host_peers.datagrams(port, address, source).ask(b"are you there?", 1) == b"are you there?"
    except TimeoutError:
        return False


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("natpmpc") is None, reason="needs natpmpc")
def test_natpmpc_opens_and_closes_a_port(house: House) -> None:
    server = house.net.server
    with Peers(server.call) as at_home, Peers(house.net.visitor.call) as outside:
        at_home.tcp_echo(SERVER[0], 7000)
        words = ["natpmpc", "-g", INSIDE[0], "-a", "7001", "7000", "tcp"]
        said = server.run([*words, "3600"]).stdout
        assert f"Public IP address : {GATEWAY[0]}" in said
        found = re.search(r"Mapped public port (\d+) protocol TCP to local port 7000 liftime (\d+)", said)
        assert found is not None
        assert found.groups() == ("7001", "3600")
        assert outside.dial(7001, GATEWAY[0]).says_back(b"x" * 100_000)
        closed = server.run([*words, "0"]).stdout
        assert "Mapped public port 0 protocol TCP to local port 7000 liftime 0" in closed
        assert house.leases() == []
        with Knock(house.net.visitor, 7001, GATEWAY[0]) as knock:
            assert not knock.is_accepted(0.5)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("natpmpc") is None, reason="needs natpmpc")
def test_natpmpc_on_two_hosts_gets_two_ports(house: House) -> None:
    words = ["natpmpc", "-g", INSIDE[0], "-a", "7001", "7000", "udp", "3600"]
    ports = [
        re.findall(r"public port (\d+)", host.run(words).stdout)
        for host in (house.net.server, house.net.desktop)
    ]
    assert ports[0] == ["7001"]
    assert ports[1] != ports[0]


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_pcp_opens_a_port_and_a_filter_says_for_whom(house: House, six: bool) -> None:
    client = house.client(house.net.server, INSIDE[six])
    only = Filter.of(ipaddress.ip_network(VISITOR[six]))
    with (
        Peers(house.net.server.call) as at_home,
        Peers(house.net.visitor.call) as visitor,
        Peers(house.net.stranger.call) as stranger,
    ):
        at_home.udp_echo(SERVER[six], 5000)
        body = pcp_mapped(client.map(5000, options=[only]))
        address = SERVER[1] if six else GATEWAY[0]
        assert (str(body.outside_address), body.outside_port) == (address, 5000)
        assert reaches(visitor, 5000, address)
        assert not reaches(stranger, 5000, address)
        pcp_mapped(client.map(5000, options=[Filter(ipaddress.ip_address("::"), 0, 0)]))
        assert reaches(stranger, 5000, address)
        pcp_mapped(client.map(5000, lifetime=0))
        assert not reaches(visitor, 5000, address)


def test_a_router_is_asked_at_its_link_local_address_too(house: House) -> None:
    link_local = house.net.gateway.run(["ip", "-br", "-6", "address", "show", "dev", "home"]).stdout
    found = re.search(r"(fe80::[0-9a-f:]+)/64", link_local)
    assert found is not None
    server = f"{found[1]}%gateway"
    with house.net.server.call(lambda: PcpClient(server, SERVER[1])) as client:
        assert pcp_mapped(client.map(5000)).outside_port == 5000
    # A link-local address itself leads nowhere from outside.
    with house.net.server.call(lambda: PcpClient(server)) as client:
        assert client.address.is_link_local
        client.announce()  # answered, so the gateway has learned who has this address
        answer = client.map(5001)
        assert isinstance(answer, pcp.ErrorResponse)
        assert answer.result == pcp.Result.NETWORK_FAILURE


def test_peer_lets_one_in_and_leaves_by_its_port(house: House) -> None:
    client = house.client(house.net.server, INSIDE[0])
    with Peers(house.net.visitor.call) as visitor, Peers(house.net.server.call) as at_home:
        echo = visitor.udp_echo(VISITOR[0], 9000)
        body = pcp_mapped(client.peer(5000, (VISITOR[0], 9000), 6000))
        assert body.outside_port == 6000
        sock = house.net.server.call(lambda: _bound(SERVER[0], 5000))
        with sock:
            sock.settimeout(5)
            sock.sendto(b"hello", (VISITOR[0], 9000))
            assert sock.recv(100) == b"hello"
        assert echo.seen == [(GATEWAY[0], 6000)]
        at_home.udp_echo(SERVER[0], 5000)
        assert reaches(visitor, 6000, GATEWAY[0])


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


def ask_once(address: str, data: bytes) -> bytes:
    with PcpClient(address) as client:
        return client.ask(data, 0.3)


def test_a_port_set_is_reached_on_each_of_its_ports_and_no_other(house: House) -> None:
    client = house.client(house.net.server, INSIDE[0])
    with Peers(house.net.server.call) as at_home, Peers(house.net.visitor.call) as visitor:
        for port in range(5000, 5005):
            at_home.udp_echo(SERVER[0], port)
        body = pcp_mapped(client.map(5000, 6000, options=[PortSet(4, 5000, False)]))
        assert body.outside_port == 6000
        assert [reaches(visitor, port, GATEWAY[0]) for port in range(5999, 6005)] == [
            False,
            *(True,) * 4,
            False,
        ]


def test_nothing_answers_outside(house: House) -> None:
    question = natpmp.encode_request(natpmp.AddressRequest())
    hello = pcp.encode_request(pcp.Request(0, ipaddress.ip_address(VISITOR[0]), pcp.Announce()))
    for host in (house.net.isp, house.net.visitor):
        for address in (*GATEWAY, *INSIDE):
            for data in (question, hello):
                # TimeoutError is one too; the others are that there is no way there.
                with pytest.raises(OSError, match=r"no answer|unreachable|refused"):
                    host.call(partial(ask_once, address, data))


def test_nat_pmp_over_ipv6_is_told_of_the_protocol_that_has_it(house: House) -> None:
    client = house.client(house.net.server, INSIDE[1])
    answer = client.ask(natpmp.encode_request(natpmp.AddressRequest()))
    assert answer[:4] == bytes((2, 0x80, 0, pcp.Result.UNSUPP_VERSION))


def test_a_pinhole_has_the_port_of_its_host_and_no_other(house: House) -> None:
    client = house.client(house.net.server, INSIDE[1])
    body = pcp_mapped(client.map(5000, 7000, outside_address="2001:db8::77"))
    assert (str(body.outside_address), body.outside_port) == (SERVER[1], 5000)
    assert pcp_mapped(client.map(5000, 5000, options=[PreferFailure()])).outside_port == 5000
    for wish in ({"outside_port": 7001}, {"outside_address": "2001:db8::77"}):
        answer = client.map(5001, options=[PreferFailure()], **wish)
        assert isinstance(answer, pcp.ErrorResponse)
        assert answer.result == pcp.Result.CANNOT_PROVIDE_EXTERNAL
    assert len(house.leases()) == 1
