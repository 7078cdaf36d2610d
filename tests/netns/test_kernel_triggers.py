"""Port triggers of the gateway's kernel: which packets set them off, and to whom they open what."""

from __future__ import annotations

import time

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

from .home import Home, Knock

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
HOLD = 2
"""Seconds. A host that has lapsed is noticed by asking, so nothing here depends on how fast this machine is
but that it asks an owner again within them."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


class Game:
    """A trigger, both hosts of the LAN listening on the port it opens, and a server outside.

    In IPv4 a port of the gateway leads to one of the hosts; in IPv6 each is asked at its own address.
    """

    def __init__(self, home: Home, family: int, source: str = "anyone", hold: str = "1h") -> None:
        home.daemon.client.enable_gateway(firewall=True)
        self.home, self.family = home, family
        self.port, self.outside = free_ports(), free_ports()
        self.echoes = {
            "server": home.server.udp_echo(SERVER[family], self.port, b"server "),
            "desktop": home.desktop.udp_echo(DESKTOP[family], self.port, b"desktop "),
        }
        home.server.tcp_echo(SERVER[family], self.port, b"server ")
        home.desktop.tcp_echo(DESKTOP[family], self.port, b"desktop ")
        self.view = home.open(
            {
                "ports": f"tcp+udp/{self.port}", "trigger": f"udp/{self.outside}", "hold": hold,
                "from": source,
            }
        )  # fmt: skip

    def pull(self, host: Peers, port: int = 0) -> None:
        """Have a host of the LAN send a packet to the trigger port, or another, of somebody outside."""
        host.datagrams(port or self.outside, STRANGER[self.family]).sock.send(b"let us play")

    def address(self, host: str) -> str:
        """Where a host is reached."""
        return {"server": SERVER, "desktop": DESKTOP}[host][1] if self.family else GATEWAY[0]

    def reached(self, asked: str, within: float = 5) -> str:
        """Who answers a new flow of the visitor's; empty where nobody does."""
        try:
            answer = self.home.visitor.datagrams(self.port, self.address(asked)).ask(b"?", within)
        except TimeoutError:
            return ""
        return answer.decode().removesuffix(" ?")


@families
def test_it_opens_to_who_sent_and_only_after_that(kernel_home: Home, family: int) -> None:
    game = Game(kernel_home, family)
    with Knock(kernel_home.net.visitor, game.port, game.address("desktop")) as knock:
        game.pull(kernel_home.desktop, game.outside + 1)
        assert game.reached("desktop", 0.2) == ""
        assert not knock.is_answered
    game.pull(kernel_home.desktop)
    assert game.reached("desktop") == "desktop"
    assert kernel_home.visitor.dial(game.port, game.address("desktop")).exactly(8) == b"desktop "
    assert {address for address, _ in game.echoes["desktop"].seen} == {VISITOR[family]}
    counters = kernel_home.counters(game.view)
    assert (counters["flows_total"], counters["flows_active"]) == (2, 2)
    assert counters["packets_in"] >= 3
    assert counters["packets_out"] >= 3


def test_the_first_owner_keeps_it_while_it_sends_and_then_another_may(kernel_home: Home) -> None:
    game = Game(kernel_home, 0, hold=f"{HOLD}s")
    desktop, server = kernel_home.desktop, kernel_home.server
    game.pull(desktop)
    end = time.monotonic() + 2 * HOLD

    def is_kept() -> bool:
        game.pull(desktop)
        game.pull(server)
        assert game.reached("server") == "desktop"
        return time.monotonic() > end

    eventually(is_kept)
    eventually(lambda: game.reached("desktop", 0.1) == "")

    def is_taken() -> bool:
        game.pull(server)
        return game.reached("desktop", 0.2) == "server"

    eventually(is_taken)
    game.pull(desktop)
    assert game.reached("desktop") == "server"


def test_of_ipv6_each_host_has_its_own_opening_until_it_lapses(kernel_home: Home) -> None:
    game = Game(kernel_home, 1, hold=f"{HOLD}s")
    game.pull(kernel_home.desktop)
    assert game.reached("desktop") == "desktop"
    assert game.reached("server", 0.2) == ""
    game.pull(kernel_home.server)
    assert (game.reached("desktop"), game.reached("server")) == ("desktop", "server")
    eventually(lambda: (game.reached("desktop", 0.1), game.reached("server", 0.1)) == ("", ""))


@families
def test_who_may_come_in_is_asked_before(kernel_home: Home, family: int) -> None:
    game = Game(kernel_home, family, VISITOR[family])
    game.pull(kernel_home.desktop)
    with Knock(kernel_home.net.stranger, game.port, game.address("desktop")) as knock:
        kernel_home.stranger.datagrams(game.port, game.address("desktop")).sock.send(b"let me in")
        assert game.reached("desktop") == "desktop"
        assert not knock.is_answered
    assert {address for address, _ in game.echoes["desktop"].seen} == {VISITOR[family]}


@families
def test_what_stays_inside_sets_nothing_off(kernel_home: Home, family: int) -> None:
    """A LAN host that reaches another through the gateway (hairpin) sends nothing out."""
    game = Game(kernel_home, family)
    inside = kernel_home.server.udp_echo(SERVER[family], game.outside)
    on = {"on": GATEWAY[1]} if family else {}
    kernel_home.open({"ports": f"udp/{game.outside}", "to": SERVER[family], "from": "anyone", **on})
    assert kernel_home.desktop.datagrams(game.outside, GATEWAY[family]).ask(b"hairpin") == b"hairpin"
    assert inside.seen
    assert game.reached("desktop", 0.2) == ""
    game.pull(kernel_home.desktop)
    assert game.reached("desktop") == "desktop"


def test_closing_it_takes_all_of_it(kernel_home: Home) -> None:
    game = Game(kernel_home, 0)
    game.pull(kernel_home.desktop)
    assert game.reached("desktop") == "desktop"
    kernel_home.daemon.client.close(game.view["id"], now=True)
    assert game.reached("desktop", 0.2) == ""
    listed = kernel_home.net.gateway.run(["nft", "list", "table", "inet", "sekimori"]).stdout
    assert game.view["id"] not in listed
