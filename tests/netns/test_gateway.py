"""The relay on a gateway, between an internet and a home of their own addresses."""

from __future__ import annotations

import socket

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE, Peers, eventually
from sekimori.testing.ports import free_ports
from sekimori.wire import proxyproto

from .home import Home

pytestmark = pytest.mark.netns

GATEWAY, GATEWAY_TOO = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_TOO
SERVER, DESKTOP = HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER


def test_nobody_outside_reaches_the_home_without_a_mapping(home: Home) -> None:
    echo = home.server.tcp_echo(SERVER[0])
    with pytest.raises(OSError, match=r"unreachable|refused"):
        home.visitor.dial(echo.port, SERVER[0])
    assert echo.seen == []
    assert home.visitor.dial(home.server.tcp_echo(SERVER[1]).port, SERVER[1]).says_back(b"IPv6 is routed")


@pytest.mark.parametrize("inside", [0, 1], ids=["to-IPv4", "to-IPv6"])
@pytest.mark.parametrize("outside", [0, 1], ids=["from-IPv4", "from-IPv6"])
def test_a_visitor_reaches_a_server_inside(home: Home, outside: int, inside: int) -> None:
    port, service = free_ports(), free_ports()
    tcp = home.server.tcp_echo(SERVER[inside], service)
    udp = home.server.udp_echo(SERVER[inside], service)
    view = home.open({"ports": f"tcp+udp/{port}:{service}", "to": SERVER[inside], "from": "anyone"})

    assert home.visitor.dial(port, GATEWAY[outside]).says_back(b"x" * 100_000)
    assert home.visitor.datagrams(port, GATEWAY[outside]).ask(b"y" * 1400) == b"y" * 1400
    relay = HomeNetwork.GATEWAY_INSIDE[inside]
    assert (tcp.seen[0][0], udp.seen[0][0]) == (relay, relay)
    sources = {row["source"] for row in home.daemon.client.who(view["id"])["sources"]}
    assert sources == {VISITOR[outside]}
    assert home.counters(view)["flows_active"] == 2


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_refused_source_is_reset_and_the_target_sees_nothing(home: Home, family: int) -> None:
    port, service = free_ports(), free_ports()
    tcp = home.server.tcp_echo(SERVER[0], service)
    udp = home.server.udp_echo(SERVER[0], service)
    view = home.open({"ports": f"tcp+udp/{port}:{service}", "to": SERVER[0], "from": VISITOR[family]})

    assert _is_reset(home.stranger, port, GATEWAY[family])
    home.stranger.datagrams(port, GATEWAY[family]).sock.send(b"let me in")
    assert home.visitor.dial(port, GATEWAY[family]).says_back(b"admitted")
    assert home.visitor.datagrams(port, GATEWAY[family]).ask(b"admitted") == b"admitted"
    eventually(lambda: home.counters(view)["refused"].get("source") == 2)
    assert (len(tcp.seen), len(udp.seen)) == (1, 1)

    home.daemon.client.edit(view["id"], {"from": STRANGER[family]})
    assert home.stranger.dial(port, GATEWAY[family]).says_back(b"now admitted")
    assert _is_reset(home.visitor, port, GATEWAY[family])


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_proxy_protocol_v1_shows_the_real_source(home: Home, family: int) -> None:
    port = free_ports()
    echo = home.server.tcp_echo(SERVER[0])
    home.open({"ports": f"{port}", "to": f"{SERVER[0]}:{echo.port}", "from": "anyone", "proxy_protocol": 1})
    talker = home.visitor.dial(port, GATEWAY[family])
    source = talker.sock.getsockname()[1]
    protocol = ("TCP4", "TCP6")[family]
    header = f"PROXY {protocol} {VISITOR[family]} {GATEWAY[family]} {source} {port}\r\n".encode()
    assert talker.exactly(len(header)) == header
    assert talker.says_back(b"and then the bytes")


def test_proxy_protocol_v2_shows_the_real_source_in_tcp_and_udp(home: Home) -> None:
    port, service = free_ports(), free_ports()
    home.server.tcp_echo(SERVER[0], service)
    home.server.udp_echo(SERVER[0], service)
    fields = {"ports": f"tcp+udp/{port}:{service}", "to": SERVER[0], "from": "anyone", "proxy_protocol": 2}
    home.open(fields)
    for family in (0, 1):
        talker, datagrams = (
            home.visitor.dial(port, GATEWAY[family]),
            home.visitor.datagrams(port, GATEWAY[family]),
        )
        source = (VISITOR[family], talker.sock.getsockname()[1])
        header = proxyproto.encode(2, "tcp", source, (GATEWAY[family], port))
        assert talker.exactly(len(header)) == header
        assert talker.says_back(b"and then the bytes")
        source = (VISITOR[family], datagrams.sock.getsockname()[1])
        header = proxyproto.encode(2, "udp", source, (GATEWAY[family], port))
        assert datagrams.ask(b"first") == header + b"first"
        assert datagrams.ask(b"second") == b"second"


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_udp_answer_leaves_from_the_address_that_was_asked(home: Home, family: int) -> None:
    port = free_ports()
    echo = home.server.udp_echo(SERVER[0])
    home.open({"ports": f"udp/{port}", "to": f"{SERVER[0]}:{echo.port}", "from": "anyone"})

    def unconnected() -> socket.socket:
        kind = (socket.AF_INET, socket.AF_INET6)[family]
        sock = socket.socket(kind, socket.SOCK_DGRAM)
        sock.settimeout(DEADLINE)
        return sock

    with home.net.visitor.call(unconnected) as sock:
        for address in (GATEWAY_TOO[family], GATEWAY[family], GATEWAY_TOO[family]):
            sock.sendto(b"?", (address, port))
            data, sender = sock.recvfrom(100)
            assert (data, sender[:2]) == (b"?", (address, port))


def test_on_one_address_the_other_is_not_served(home: Home) -> None:
    port, service = free_ports(), free_ports()
    tcp = home.server.tcp_echo(SERVER[0], service, tag=b"one")
    home.server.udp_echo(SERVER[0], service, tag=b"one")
    home.desktop.tcp_echo(DESKTOP[0], service, tag=b"too")
    ports = f"tcp+udp/{port}:{service}"
    home.open({"ports": ports, "to": SERVER[0], "from": "anyone", "on": GATEWAY[0]})
    with pytest.raises(ConnectionRefusedError):
        home.visitor.dial(port, GATEWAY_TOO[0])
    with pytest.raises(ConnectionRefusedError):
        home.visitor.dial(port, GATEWAY[1])
    assert tcp.seen == []

    home.open({"ports": ports, "to": DESKTOP[0], "from": "anyone", "on": GATEWAY_TOO[0]})
    assert home.visitor.dial(port, GATEWAY[0]).exactly(3) == b"one"
    assert home.visitor.dial(port, GATEWAY_TOO[0]).exactly(3) == b"too"
    assert home.visitor.datagrams(port, GATEWAY[0]).ask(b"?") == b"one?"
    with pytest.raises(Problem) as told:
        home.open({"ports": ports, "to": DESKTOP[0], "from": "anyone"})
    assert told.value.code == "port-taken"


def test_a_dead_target_is_an_unreachable_one(home: Home) -> None:
    port = free_ports()
    view = home.open({"ports": f"{port}", "to": "192.168.1.99:80", "from": "anyone"})
    assert _is_reset(home.visitor, port, GATEWAY[0])
    eventually(lambda: home.counters(view)["failed"].get("unreachable") == 1)


def test_lan_sources_admit_the_home_and_nobody_else(home: Home) -> None:
    port = free_ports()
    echo = home.server.tcp_echo(SERVER[0])
    home.open({"ports": f"{port}", "to": f"{SERVER[0]}:{echo.port}"})
    assert home.desktop.dial(port, HomeNetwork.GATEWAY_INSIDE[0]).says_back(b"from inside")
    assert _is_reset(home.visitor, port, GATEWAY[0])
    assert len(echo.seen) == 1


def _is_reset(peers: Peers, port: int, address: str) -> bool:
    try:
        talker = peers.dial(port, address)
        return talker.ended() == "reset"
    except ConnectionResetError:
        return True
