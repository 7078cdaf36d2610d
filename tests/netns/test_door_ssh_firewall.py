"""The firewall and SSH: the door on the gateway is let in to, a port at a far end opens nothing here."""

from __future__ import annotations

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE, Peers, eventually
from sekimori.testing.ports import free_ports

from .home import Home, Knock

pytestmark = pytest.mark.netns

GATEWAY, SERVER = HomeNetwork.GATEWAY, HomeNetwork.SERVER


@pytest.fixture
def walled(kernel_home: Home) -> Home:
    """The home behind its gateway's firewall."""
    kernel_home.daemon.client.enable_gateway(firewall=True)
    return kernel_home


def _greets(home: Home, port: int) -> bool:
    with Knock(home.net.visitor, port, GATEWAY[0]) as knock:
        return knock.is_accepted(0.3)


def test_the_ssh_door_is_let_in_to_for_as_long_as_it_is_open(walled: Home) -> None:
    port, other = free_ports(2), free_ports(1)
    assert not _greets(walled, port)
    doors = walled.daemon.client
    doors.change_doors({"ssh": {"listen": [f"{GATEWAY[0]}:{port}"]}})
    eventually(lambda: _greets(walled, port), DEADLINE)
    doors.change_doors({"ssh": {"listen": [f"*:{other}"]}})
    eventually(lambda: _greets(walled, other) and not _greets(walled, port), DEADLINE)
    with Peers(walled.net.gateway.call) as here:
        here.tcp_echo(GATEWAY[0], port)  # whoever else listens there now is not let in to
        assert not _greets(walled, port)
    doors.change_doors({"ssh": None})
    with Peers(walled.net.gateway.call) as here:
        eventually(lambda: not _greets(walled, other), DEADLINE)
        here.tcp_echo(GATEWAY[0], other)
        assert not _greets(walled, other)


def test_a_port_at_the_far_end_of_a_link_opens_nothing_here(walled: Home) -> None:
    port = free_ports()
    client = walled.daemon.client
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Hd2B0qj9Z6ZcWJ8eJr0m0lR3WcYf5yJ3qkQ0Gm1Xn"
    client.put_link("far", {"to": f"ssh://{SERVER[0]}:9", "host_keys": [key]})
    try:
        client.open({"ports": str(port), "to": SERVER[0], "at": "far", "from": "anyone", "name": "there"})
        with Peers(walled.net.gateway.call) as here:
            here.tcp_echo(GATEWAY[0], port)
            assert not _greets(walled, port)
    finally:
        client.close("there", now=True)
        client.remove_link("far")


def test_a_relayed_port_on_one_address_is_let_in_to(walled: Home) -> None:
    echo, port = walled.server.tcp_echo(SERVER[0]), free_ports()
    words = {
        "ports": f"{port}:{echo.port}",
        "to": SERVER[0],
        "via": "relay",
        "on": GATEWAY[0],
        "from": "anyone",
    }
    walled.daemon.client.open(words)
    assert walled.visitor.dial(port, GATEWAY[0]).says_back(b"hello")
