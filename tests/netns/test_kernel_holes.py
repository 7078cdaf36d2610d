"""IPv6 pinholes, and the firewall of the gateway: what comes in by a mapping, and that nothing else does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest

from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import DEADLINE, Peers, eventually
from sekimori.testing.ports import free_ports

from .home import Home, Knock, renumber
from .raw import pings

pytestmark = pytest.mark.netns

GATEWAY, INSIDE = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_INSIDE
SERVER, DESKTOP = HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
SUFFIX = "::10"
"""The server's."""
OLD_PREFIX, NEW_PREFIX = "2001:db8:3::", "2001:db8:33::"
"""What the provider gives the home, and what it gives it later instead."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture
def walled(kernel_home: Home) -> Home:
    """The home behind its gateway's firewall."""
    kernel_home.daemon.client.enable_gateway(firewall=True)
    return kernel_home


@pytest.fixture
def lighthouse(walled: Home) -> Callable[[], None]:
    """Asks, from the visitor, something that is let in: when it answers, what was sent before has arrived."""
    port = free_ports(2)
    for family, address in enumerate(SERVER):
        walled.server.udp_echo(address, port + family)
        walled.open({"ports": f"udp/{port + family}", "to": address, "from": "anyone"})

    def ask() -> None:
        assert walled.visitor.datagrams(port, GATEWAY[0]).ask(b"lit?") == b"lit?"
        assert walled.visitor.datagrams(port + 1, SERVER[1]).ask(b"lit?") == b"lit?"

    return ask


@pytest.mark.parametrize("form", ["exact", "range"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_pinhole_lets_in_its_ports_and_no_other(walled: Home, protocol: str, form: str) -> None:
    port = free_ports(4)
    last = port + 2 if form == "range" else port
    make = walled.server.tcp_echoes if protocol == "tcp" else walled.server.udp_echoes
    echoes = make(range(port, port + 4), SERVER[1])
    neighbour = walled.desktop.udp_echo(DESKTOP[1], port)
    walled.open({"ports": f"{protocol}/{port}-{last}", "to": SERVER[1], "from": "anyone"})
    with Knock(walled.net.visitor, last + 1, SERVER[1]) as knock:
        for each in (last + 1, port):
            walled.visitor.datagrams(each, DESKTOP[1] if each == port else SERVER[1]).sock.send(b"no")
        for each in range(port, last + 1):
            if protocol == "tcp":
                assert walled.visitor.dial(each, SERVER[1]).exactly(6) == f"{each}\n".encode()
            else:
                assert walled.visitor.datagrams(each, SERVER[1]).ask(b"?") == f"{each}\n?".encode()
        assert not knock.is_answered
    seen = [{address for address, _ in echo.seen} for echo in echoes]
    opened = last - port + 1
    assert seen == [{VISITOR[1]}] * opened + [set()] * (4 - opened)
    assert neighbour.seen == []


def test_a_pinhole_admits_its_sources_only(walled: Home) -> None:
    port = free_ports()
    tcp, udp = walled.server.tcp_echo(SERVER[1], port), walled.server.udp_echo(SERVER[1], port)
    walled.open({"ports": f"tcp+udp/{port}", "to": SERVER[1], "from": VISITOR[1]})
    with Knock(walled.net.stranger, port, SERVER[1]) as knock:
        walled.stranger.datagrams(port, SERVER[1]).sock.send(b"let me in")
        assert walled.visitor.dial(port, SERVER[1]).says_back(b"admitted")
        assert walled.visitor.datagrams(port, SERVER[1]).ask(b"admitted") == b"admitted"
        assert not knock.is_answered
    assert {address for address, _ in (*tcp.seen, *udp.seen)} == {VISITOR[1]}


@pytest.mark.parametrize("form", ["exact", "range"])
def test_a_suffix_pinhole_survives_another_prefix(walled: Home, form: str) -> None:
    port = free_ports(3)
    last = port + 1 if form == "range" else port
    walled.open({"ports": f"tcp+udp/{port}-{last}", "to": f"[{SUFFIX}/-64]", "from": "anyone"})
    check_hole(walled, OLD_PREFIX, port, last)
    renumber(walled.net, OLD_PREFIX, NEW_PREFIX)
    try:
        check_hole(walled, NEW_PREFIX, port, last)
    finally:
        renumber(walled.net, NEW_PREFIX, OLD_PREFIX)


def check_hole(walled: Home, prefix: str, port: int, last: int) -> None:
    """The server is reached under a prefix at the first and last port of a hole, and nothing else is."""
    server, desktop = f"{prefix}10", f"{prefix}11"
    with Peers(walled.net.server.call) as here, Peers(walled.net.desktop.call) as there:
        here.tcp_echo(server, port)
        here.udp_echo(server, last)
        others = [there.udp_echo(desktop, port), here.udp_echo(server, last + 1)]
        assert walled.visitor.datagrams(last, server).ask(b"the same hole") == b"the same hole"
        walled.visitor.datagrams(port, desktop).sock.send(b"another host")
        walled.visitor.datagrams(last + 1, server).sock.send(b"another port")
        assert walled.visitor.dial(port, server).says_back(b"tcp too")
        assert [echo.seen for echo in others] == [[], []]


@families
def test_nothing_else_gets_in(walled: Home, lighthouse: Callable[[], None], family: int) -> None:
    """Neither through the gateway nor to it: its own services, the LAN's, and its inside address."""
    port = free_ports()
    net = walled.net
    with Peers(net.gateway.call) as here:
        places = [
            (here, GATEWAY[family]),
            (here, INSIDE[family]),
            (walled.server, SERVER[family]),
        ]
        seen = [peers.tcp_echo(address, port).seen for peers, address in places]
        seen += [peers.udp_echo(address, port).seen for peers, address in places]
        if family == 0:  # the internet knows no way to it, but the provider does, if it is made to
            net.isp.route(GATEWAY[0], "192.168.1.0/24")
            net.visitor.route("198.51.100.1", "192.168.1.0/24")
        try:
            knocks = [Knock(net.visitor, port, address) for _, address in places]
            for _, address in places:
                walled.visitor.datagrams(port, address).sock.send(b"in")
            lighthouse()
            assert not any(knock.is_answered for knock in knocks)
            assert not any(seen)
            # They do serve those inside.
            assert walled.desktop.dial(port, INSIDE[family]).says_back(b"from inside")
            assert walled.desktop.datagrams(port, SERVER[family]).ask(b"from inside") == b"from inside"
        finally:
            for knock in knocks:
                knock.close()
            if family == 0:
                net.isp.ip(f"route del 192.168.1.0/24 via {GATEWAY[0]}")
                net.visitor.ip("route del 192.168.1.0/24 via 198.51.100.1")


@families
def test_the_lan_goes_out_and_gets_its_answers(walled: Home, family: int) -> None:
    tcp = walled.stranger.tcp_echo(STRANGER[family])
    udp = walled.stranger.udp_echo(STRANGER[family])
    assert walled.desktop.dial(tcp.port, STRANGER[family]).says_back(b"x" * 100_000)
    assert walled.desktop.datagrams(udp.port, STRANGER[family]).ask(b"?") == b"?"
    seen = {address for address, _ in (*tcp.seen, *udp.seen)}
    assert seen == {DESKTOP[1] if family else GATEWAY[0]}
    with Peers(walled.net.gateway.call) as here:
        assert here.dial(tcp.port, STRANGER[family]).says_back(b"and so does the gateway itself")


@families
def test_errors_about_live_flows_pass(walled: Home, family: int) -> None:
    """A datagram that is too big for a link outside, and one to a port that is closed outside."""
    closed = free_ports()
    datagrams = walled.desktop.datagrams(closed, STRANGER[family])
    datagrams.sock.send(b"nobody there")
    with pytest.raises(ConnectionRefusedError):
        datagrams.sock.recv(10)

    echo = walled.stranger.udp_echo(STRANGER[family])
    big = walled.desktop.datagrams(echo.port, STRANGER[family]).sock
    level, option = ((socket.IPPROTO_IP, 10), (socket.IPPROTO_IPV6, 23))[family]  # IP(V6)_MTU_DISCOVER
    big.setsockopt(level, option, 2)  # IP(V6)_PMTUDISC_DO
    walled.net.isp.ip("link set internet mtu 1300")
    try:
        eventually(lambda: _is_too_big(big, 1350), DEADLINE)
    finally:
        walled.net.isp.ip("link set internet mtu 1500")


def _is_too_big(sock: socket.socket, size: int) -> bool:
    """Whether this host knows by now that a datagram does not fit the way."""
    try:
        sock.send(bytes(size))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return True
    return False


@families
def test_the_gateway_answers_pings_and_neighbours_with_the_firewall_on(walled: Home, family: int) -> None:
    walled.net.isp.ip("neigh flush all")
    assert pings(walled.net.visitor, VISITOR[family], GATEWAY[family])
    if family:  # RFC 4890 §4.3.1: echo requests go through, too
        assert pings(walled.net.visitor, VISITOR[1], SERVER[1])


@families
def test_the_wall_goes_as_it_came(kernel_home: Home, family: int) -> None:
    home, port = kernel_home, free_ports()
    with Peers(home.net.gateway.call) as here:
        here.tcp_echo(GATEWAY[family], port)
        assert home.visitor.dial(port, GATEWAY[family]).says_back(b"before")
        home.daemon.client.enable_gateway(firewall=True)
        with Knock(home.net.visitor, port, GATEWAY[family]) as knock:
            assert not knock.is_answered
            home.daemon.client.disable_gateway()
            assert home.visitor.dial(port, GATEWAY[family]).says_back(b"after")


def table_names(host: Host) -> list[str]:
    """The nftables tables of a host."""
    return host.run(["nft", "list", "tables"]).stdout.split("\n")[:-1]


def test_nothing_is_left_of_it(kernel_home: Home) -> None:
    home = kernel_home
    home.daemon.client.enable_gateway(firewall=True)
    assert "table inet sekimori" in table_names(home.net.gateway)
    home.daemon.client.disable_gateway()
    eventually(lambda: table_names(home.net.gateway) == [])
