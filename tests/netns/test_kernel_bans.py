"""Bans that the kernel carries, for its own mappings and for others'."""

from __future__ import annotations

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

from .home import Home, Knock

pytestmark = pytest.mark.netns

GATEWAY, SERVER = HomeNetwork.GATEWAY, HomeNetwork.SERVER
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


def is_kept_out(home: Home, port: int, address: str) -> bool:
    """Whether nothing of the visitor's is answered."""
    with Knock(home.net.visitor, port, address) as knock:
        home.visitor.datagrams(port, address).sock.send(b"let me in")
        assert home.stranger.accepts(port, address)
        return not knock.is_answered


@families
@pytest.mark.parametrize("via", ["kernel", "relay"])
def test_a_banned_prefix_reaches_nothing_whoever_carries_it(kernel_home: Home, via: str, family: int) -> None:
    home, port, client = kernel_home, free_ports(), kernel_home.daemon.client
    tcp, udp = home.server.tcp_echo(SERVER[family], port), home.server.udp_echo(SERVER[family], port)
    home.open({"ports": f"tcp+udp/{port}", "to": SERVER[family], "from": "anyone", "via": via})
    address = SERVER[1] if family and via == "kernel" else GATEWAY[family]
    assert home.visitor.accepts(port, address)
    client.ban(("198.51.100.8/29", "2001:db8:1::10/127")[family])
    seen = len(tcp.seen), len(udp.seen)
    assert is_kept_out(home, port, address)
    assert (len(tcp.seen), len(udp.seen)) == (seen[0] + 1, seen[1])
    client.unban(("198.51.100.8/29", "2001:db8:1::10/127")[family])
    assert home.visitor.accepts(port, address)


def test_a_ban_for_good_outlives_a_shorter_one_around_it_with_no_daemon(kernel_home: Home) -> None:
    home, port, client = kernel_home, free_ports(), kernel_home.daemon.client
    home.server.tcp_echo(SERVER[0], port)
    home.server.udp_echo(SERVER[0], port)
    home.open({"ports": f"tcp+udp/{port}", "to": SERVER[0], "from": "anyone"})
    client.ban(VISITOR[0])
    client.ban("198.51.100.0/24", {"for": "2s"})
    client.ban("198.51.0.0/16", {"for": "3s"})
    home.daemon.kill9()
    try:
        eventually(lambda: _is_in(home.stranger, port), every=0.1)
        assert is_kept_out(home, port, GATEWAY[0])
    finally:
        home.daemon.start()
    assert is_kept_out(home, port, GATEWAY[0])


def _is_in(peers: Peers, port: int) -> bool:
    try:
        return peers.datagrams(port, GATEWAY[0]).ask(b"?", 0.2) == b"?"
    except TimeoutError:
        return False
