"""Permits, protocols without ports, and DMZ hosts of the gateway's kernel, by what arrives where."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers, Talker, UdpEcho, eventually
from sekimori.testing.ports import free_ports

from .home import Home, Knock
from .raw import ESP, GRE, SIX_IN_FOUR, Raw, gre

pytestmark = pytest.mark.netns

GATEWAY, GATEWAY_TOO, INSIDE = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_TOO, HomeNetwork.GATEWAY_INSIDE
SERVER, DESKTOP = HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture
def here(kernel_home: Home) -> Iterator[Peers]:
    """Peers on the gateway itself."""
    with Peers(kernel_home.net.gateway.call) as peers:
        yield peers


@pytest.fixture
def walled(kernel_home: Home) -> Home:
    """The home behind its gateway's firewall."""
    kernel_home.daemon.client.enable_gateway(firewall=True)
    return kernel_home


@families
@pytest.mark.parametrize("form", ["exact", "range"])
def test_a_permit_lets_in_to_a_service_of_the_gateway(
    walled: Home, here: Peers, form: str, family: int
) -> None:
    port = free_ports(2)
    for address in (GATEWAY[family], GATEWAY_TOO[family]):
        tcp, udp = here.tcp_echo(address, port), here.udp_echo(address, port)
    ports = f"tcp+udp/{port}" + (f"-{port + 1}" if form == "range" else "")
    fields = {"ports": ports, "to": "self", "from": VISITOR[family], "on": GATEWAY_TOO[family]}
    view = walled.open(fields)
    assert view["kind"] == "permit"
    with (
        Knock(walled.net.stranger, port, GATEWAY_TOO[family]) as another,
        Knock(walled.net.visitor, port, GATEWAY[family]) as elsewhere,
    ):
        walled.stranger.datagrams(port, GATEWAY_TOO[family]).sock.send(b"let me in")
        talker = walled.visitor.dial(port, GATEWAY_TOO[family])
        assert talker.says_back(b"admitted")
        assert walled.visitor.datagrams(port, GATEWAY_TOO[family]).ask(b"admitted") == b"admitted"
        assert not another.is_answered
        assert not elsewhere.is_answered
    assert {address for address, _ in (*tcp.seen, *udp.seen)} == {VISITOR[family]}
    assert walled.counters(view)["flows_active"] == 2

    assert walled.daemon.client.kill(view["name"]) == 2
    with pytest.raises(ConnectionResetError):
        _speak(talker)
    walled.daemon.client.close(view["id"], now=True)
    with Knock(walled.net.visitor, port, GATEWAY_TOO[family]) as knock:
        assert here.dial(port, GATEWAY_TOO[family]).says_back(b"from itself")
        assert not knock.is_answered


def _speak(talker: Talker) -> None:
    talker.send(b"still there?")
    talker.sock.recv(100)


def test_the_answering_end_of_a_killed_flow_is_reset_too(walled: Home, here: Peers) -> None:
    """A service that sends and is sent nothing would go on for ever, for its packets begin a flow anew."""
    port = free_ports()
    listener = walled.net.gateway.call(lambda: socket.create_server((GATEWAY[0], port)))
    view = walled.open({"ports": f"tcp/{port}", "to": "self", "from": "anyone"})
    talker = walled.visitor.dial(port, GATEWAY[0])
    with listener, listener.accept()[0] as served:
        served.sendall(b"first")
        assert talker.exactly(5) == b"first"
        assert walled.daemon.client.kill(view["name"]) == 1
        with pytest.raises(ConnectionResetError):
            _speak(Talker(served))


@families
def test_what_the_relay_listens_for_passes_the_firewall(walled: Home, family: int) -> None:
    port = free_ports()
    walled.server.tcp_echo(SERVER[0], 7001)
    walled.server.udp_echo(SERVER[0], 7001)
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[0], "from": VISITOR[family], "via": "relay"}
    view = walled.open(fields)
    assert view["path"] == ["relay"]
    assert walled.visitor.dial(port, GATEWAY[family]).says_back(b"relayed")
    assert walled.visitor.datagrams(port, GATEWAY[family]).ask(b"relayed") == b"relayed"
    walled.daemon.client.edit(view["id"], paused=True)
    with Knock(walled.net.visitor, port, GATEWAY[family]) as knock:
        assert walled.desktop.dial(free_echo(walled), SERVER[0]).says_back(b"meanwhile")
        assert not knock.is_answered
    walled.daemon.client.edit(view["id"], paused=False)
    assert walled.visitor.dial(port, GATEWAY[family]).says_back(b"relayed again")


def free_echo(home: Home) -> int:
    """A port with an echo on the server."""
    return home.server.tcp_echo(SERVER[0]).port


@pytest.mark.parametrize(
    ("word", "number", "family"),
    [("gre", GRE, 0), ("esp", ESP, 0), ("6in4", SIX_IN_FOUR, 0), ("gre", GRE, 1), ("esp", ESP, 1)],
    ids=["gre", "esp", "6in4", "gre-IPv6", "esp-IPv6"],
)
def test_a_protocol_without_ports_is_sent_on_and_answered(
    walled: Home, word: str, number: int, family: int
) -> None:
    """One owner for each protocol; the source is kept, and the answer comes from outside."""
    on = {"on": GATEWAY[1]} if family else {}
    view = walled.open({"ports": word, "to": SERVER[family], "from": VISITOR[family], **on})
    net = walled.net
    with (
        Raw(net.visitor, VISITOR[family], number) as visitor,
        Raw(net.stranger, STRANGER[family], number) as stranger,
        Raw(net.server, SERVER[family], number) as server,
    ):
        packet = gre(b"hello") if word == "gre" else bytes([0x60]) + b"\0\0\7 hello, whatever this is"
        stranger.send(GATEWAY[family], packet)
        visitor.send(GATEWAY[family], packet)
        assert server.receive() == (VISITOR[family], packet)
        server.send(VISITOR[family], packet)
        assert visitor.receive() == (GATEWAY[family], packet)
        assert server.waiting() == [], "the stranger is not admitted"
    counters = walled.counters(view)
    assert (counters["packets_in"], counters["packets_out"]) == (1, 1)
    assert counters["bytes_in"] == len(packet) + (40 if family else 20)
    with pytest.raises(Problem) as told:
        walled.open({"ports": word, "to": DESKTOP[family], "from": VISITOR[family], **on})
    assert told.value.code == "port-taken"


def test_esp_over_ipv6_passes_a_pinhole(walled: Home) -> None:
    walled.open({"ports": "esp", "to": SERVER[1], "from": VISITOR[1]})
    packet = b"\0\0\0\7 encrypted"
    with (
        Raw(walled.net.visitor, VISITOR[1], ESP) as visitor,
        Raw(walled.net.stranger, STRANGER[1], ESP) as stranger,
        Raw(walled.net.server, SERVER[1], ESP) as server,
    ):
        stranger.send(SERVER[1], packet)
        visitor.send(SERVER[1], packet)
        assert server.receive() == (VISITOR[1], packet)
        assert server.waiting() == []


def test_ah_is_refused_with_the_reason(kernel_home: Home) -> None:
    with pytest.raises(Problem) as told:
        kernel_home.open({"ports": "ah", "to": SERVER[0], "from": "anyone"})
    assert told.value.exit_code == 2
    assert "AH" in told.value.title() + told.value.fix()


@pytest.mark.parametrize("wall", [False, True], ids=["open", "firewall"])
def test_a_dmz_host_gets_what_nothing_else_claims(kernel_home: Home, here: Peers, wall: bool) -> None:
    home, port = kernel_home, free_ports(4)
    unclaimed, mapped, excepted, own = range(port, port + 4)
    if wall:
        home.daemon.client.enable_gateway(firewall=True)
    dmz: dict[int, UdpEcho] = {}
    for each in range(port, port + 4):
        home.desktop.tcp_echo(DESKTOP[0], each, b"dmz")
        dmz[each] = home.desktop.udp_echo(DESKTOP[0], each, b"dmz")
    home.server.tcp_echo(SERVER[0], mapped, b"server")
    home.server.udp_echo(SERVER[0], mapped, b"server")
    service = here.udp_echo("0.0.0.0", own, b"own")
    here.tcp_echo("0.0.0.0", own, b"own")
    home.open({"ports": f"tcp+udp/{mapped}", "to": SERVER[0], "from": "anyone"})
    view = home.open(
        {
            "ports": "dmz", "to": DESKTOP[0], "from": "anyone", "accept_risk": "dmz",
            "except": [f"tcp/{excepted}", f"udp/{excepted}"],
        }
    )  # fmt: skip
    with (
        Knock(home.net.visitor, excepted, GATEWAY[0]) as exception,
        Knock(home.net.visitor, own, GATEWAY[0]) as ours,
    ):
        for each in (excepted, own):
            home.visitor.datagrams(each, GATEWAY[0]).sock.send(b"?")
        assert home.visitor.dial(unclaimed, GATEWAY[0]).exactly(3) == b"dmz"
        assert home.visitor.datagrams(unclaimed, GATEWAY_TOO[0]).ask(b"?") == b"dmz?"
        assert home.visitor.dial(mapped, GATEWAY[0]).exactly(6) == b"server"
        assert home.visitor.datagrams(mapped, GATEWAY[0]).ask(b"?") == b"server?"
        # Both are the gateway's: it refuses the one and answers the other, unless its firewall drops them.
        assert exception.is_answered is not wall
        assert ours.is_answered is not wall
    assert [bool(dmz[each].seen) for each in range(port, port + 4)] == [True, False, False, False]
    if wall:
        assert service.seen == []
    else:
        eventually(lambda: service.seen != [])  # read by a thread of its own, after what was answered
    assert {address for address, _ in dmz[unclaimed].seen} == {VISITOR[0]}
    assert home.counters(view)["packets_in"] >= 3

    # What the LAN sends to the outside address, and nothing claims, is meant for the gateway.
    with pytest.raises(ConnectionRefusedError):
        home.server.dial(unclaimed, GATEWAY[0])
    assert home.server.dial(own, GATEWAY[0]).exactly(3) == b"own"


def test_a_dmz_host_of_ipv6_is_reached_at_its_own_address_but_for_exceptions(walled: Home) -> None:
    port = free_ports(2)
    echoes = walled.desktop.udp_echoes((port, port + 1), DESKTOP[1])
    walled.desktop.tcp_echo(DESKTOP[1], port)
    neighbour = walled.server.udp_echo(SERVER[1], port)
    fields = {"ports": "dmz", "to": DESKTOP[1], "from": VISITOR[1], "except": [f"udp/{port + 1}"]}
    walled.open(fields)
    walled.visitor.datagrams(port + 1, DESKTOP[1]).sock.send(b"an exception")
    walled.visitor.datagrams(port, SERVER[1]).sock.send(b"another host")
    walled.stranger.datagrams(port, DESKTOP[1]).sock.send(b"not admitted")
    assert walled.visitor.datagrams(port, DESKTOP[1]).ask(b"?") == f"{port}\n?".encode()
    assert walled.visitor.dial(port, DESKTOP[1]).says_back(b"all protocols")
    assert {address for address, _ in echoes[0].seen} == {VISITOR[1]}
    assert (echoes[1].seen, neighbour.seen) == ([], [])


def test_a_dmz_host_admits_its_sources_only(walled: Home) -> None:
    port = free_ports()
    echo = walled.desktop.udp_echo(DESKTOP[0], port)
    walled.open({"ports": "dmz", "to": DESKTOP[0], "from": VISITOR[0]})
    walled.stranger.datagrams(port, GATEWAY[0]).sock.send(b"let me in")
    assert walled.visitor.datagrams(port, GATEWAY[0]).ask(b"admitted") == b"admitted"
    assert {address for address, _ in echo.seen} == {VISITOR[0]}
