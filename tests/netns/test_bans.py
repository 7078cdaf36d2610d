"""Bans and kills on a gateway, against packets of real visitors of both families."""

from __future__ import annotations

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE
from sekimori.testing.ports import free_ports

from .home import Home, Knock

pytestmark = pytest.mark.netns

GATEWAY, SERVER = HomeNetwork.GATEWAY, HomeNetwork.SERVER
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER


def is_cut(talker: object) -> bool:
    """Whether a connection has ended by a reset, or with nothing more to come."""
    sock = talker.sock  # type: ignore[attr-defined]
    sock.settimeout(DEADLINE)
    try:
        return bool(sock.recv(1) == b"")
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_ban_ends_what_lives_and_keeps_out_what_comes_on_every_mapping(home: Home, family: int) -> None:
    client = home.daemon.client
    ports, service = [free_ports(), free_ports()], free_ports()
    tcp, udp = home.server.tcp_echo(SERVER[0], service), home.server.udp_echo(SERVER[0], service)
    for port in ports:
        home.open({"ports": f"tcp+udp/{port}:{service}", "to": SERVER[0], "from": "anyone"})
    banned = [home.visitor.dial(port, GATEWAY[family]) for port in ports]
    near = [home.stranger.dial(port, GATEWAY[family]) for port in ports]
    for talker in banned + near:
        assert talker.says_back(b"before")
    client.ban(VISITOR[family], {"for": "1h"}, why="a test")
    assert all(map(is_cut, banned))
    assert all(talker.says_back(b"still here") for talker in near)
    for port in ports:
        with Knock(home.net.visitor, port, GATEWAY[family]) as knock:
            home.visitor.datagrams(port, GATEWAY[family]).sock.send(b"let me in")
            assert home.stranger.datagrams(port, GATEWAY[family]).ask(b"near") == b"near"
            # The same machine by an address that is not banned; what came before has been dealt with.
            assert home.visitor.dial(port, GATEWAY[1 - family]).says_back(b"not this one")
            assert not knock.is_answered
    assert (len(udp.seen), len(tcp.seen)) == (2, 6)
    client.unban(VISITOR[family])
    assert home.visitor.dial(ports[0], GATEWAY[family]).says_back(b"in again")


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_kill_ends_exactly_what_it_names(home: Home, family: int) -> None:
    client = home.daemon.client
    ports, service = [free_ports(), free_ports()], free_ports()
    home.server.tcp_echo(SERVER[0], service)
    views = [home.open({"ports": f"{port}:{service}", "to": SERVER[0], "from": "anyone"}) for port in ports]
    one, two = (home.visitor.dial(port, GATEWAY[family]) for port in ports)
    other = home.stranger.dial(ports[0], GATEWAY[family])
    assert all(talker.says_back(b"before") for talker in (one, two, other))
    assert client.kill(views[0]["name"], VISITOR[family]) == 1
    assert is_cut(one)
    assert two.says_back(b"another mapping")
    assert other.says_back(b"another source")
    assert client.kill(None, VISITOR[family]) == 1
    assert is_cut(two)
    assert client.kill(views[0]["name"]) == 1
    assert is_cut(other)
    assert home.visitor.dial(ports[0], GATEWAY[family]).says_back(b"who was cut off may come again")
