"""Who may come in by the kernel's mappings, and how often: newcomers knock, and targets say whom they saw."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import DEADLINE, Peers, TcpEcho, UdpEcho
from sekimori.testing.ports import free_ports

from .home import Home, Knock
from .talks import SHORT, came, fire, talk

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
ELSEWHERE = "2001:db8:99::1"
"""Of the stranger too; its other addresses are in the visitor's /64."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
FORMS = ("exact", "range", "pinhole")
forms = pytest.mark.parametrize("form", FORMS)


class Spot:
    """A mapping to echoes on the server, and where newcomers find it."""

    def __init__(self, home: Home, form: str, family: int, **fields: object) -> None:
        self.home, self.family = home, family
        self.port = free_ports(3)
        inside = self.port if form != "exact" else free_ports()
        self.tcp: TcpEcho = home.server.tcp_echo(SERVER[family], inside)
        self.udp: UdpEcho = home.server.udp_echo(SERVER[family], inside)
        self.address = SERVER[1] if form == "pinhole" else GATEWAY[family]
        ports = {"exact": f"{self.port}:{inside}", "range": f"{self.port}-{self.port + 2}"}.get(form)
        on = {"on": GATEWAY[1]} if family and form != "pinhole" else {}
        words: dict[str, object] = {"from": "anyone", "to": SERVER[family], **on, **fields}
        self.view = home.open({"ports": f"tcp+udp/{ports or self.port}", **words})

    def admits(self, peers: Peers, source: str | None = None) -> bool:
        """Whether a newcomer's TCP connection is answered by the target."""
        return peers.accepts(self.port, self.address, source)

    def fire(self, peers: Peers, count: int, source: str | None = None) -> None:
        fire(peers, self.port, self.address, count, source)


@pytest.mark.parametrize(
    ("form", "family"),
    [(form, family) for form in FORMS for family in (0, 1) if (form, family) != ("pinhole", 0)],
)
def test_only_listed_sources_come_to_the_target(kernel_home: Home, form: str, family: int) -> None:
    home = kernel_home
    spot = Spot(home, form, family, **{"from": VISITOR[family]})
    with Knock(home.net.stranger, spot.port, spot.address) as knock:
        spot.fire(home.stranger, 3)
        assert spot.admits(home.visitor)
        assert home.visitor.datagrams(spot.port, spot.address).ask(b"?") == b"?"
        assert not knock.is_answered
    assert {address for address, _ in (*spot.tcp.seen, *spot.udp.seen)} == {VISITOR[family]}

    home.daemon.client.edit(spot.view["id"], {"from": STRANGER[family]})
    with Knock(home.net.visitor, spot.port, spot.address) as knock:
        assert spot.admits(home.stranger)
        assert not knock.is_answered


@families
def test_the_lan_alone_may_where_nobody_is_named(kernel_home: Home, family: int) -> None:
    home = kernel_home
    spot = Spot(home, "exact", family, **{"from": "lan"})
    with Knock(home.net.visitor, spot.port, spot.address) as knock:
        spot.fire(home.visitor, 1)
        if family:  # documentation's IPv6 addresses are none of a LAN's
            assert not spot.udp.seen
        else:
            assert spot.admits(home.desktop)
        assert not knock.is_answered
    assert VISITOR[family] not in {address for address, _ in (*spot.tcp.seen, *spot.udp.seen)}


def test_a_named_list_is_followed(kernel_home: Home) -> None:
    home, client = kernel_home, kernel_home.daemon.client
    before = home.daemon.config.read_text()
    for who, out in ((VISITOR, home.stranger), (STRANGER, home.visitor), (VISITOR, home.stranger)):
        inside = home.visitor if out is home.stranger else home.stranger
        home.daemon.config.write_text(f"{before}\n[lists]\noffice = ['{who[0]}/32', '{who[1]}/128']\n")
        client.apply()
        if not client.mappings():
            spots = [
                Spot(home, "exact", 0, **{"from": "office"}),
                Spot(home, "range", 1, **{"from": "office"}),
            ]
        for spot in spots:
            fire(out, spot.port, spot.address, 1)
            seen = len(spot.udp.seen)
            assert spot.admits(inside)
            assert inside.datagrams(spot.port, spot.address).ask(b"?") == b"?"
            assert len(spot.udp.seen) == seen + 1
            assert {address for address, _ in spot.udp.seen[seen:]} == {who[spot.family]}
    for spot in spots:
        client.close(spot.view["id"], now=True)
    home.daemon.config.write_text(before)
    client.apply()


@forms
def test_each_source_has_its_own_rate(kernel_home: Home, form: str) -> None:
    home, family = kernel_home, int(form == "pinhole")
    spot = Spot(home, form, family, limit="3/hour")
    spot.fire(home.visitor, 6)
    assert home.stranger.datagrams(spot.port, spot.address, _far(home, family)).ask(b"?") == b"?"
    assert came(spot.udp, VISITOR[family]) == 3

    home.daemon.client.extend(spot.view["id"], {"for": "2h"})
    home.daemon.client.edit(spot.view["id"], {"from": f"{VISITOR[family]},198.51.100.0/24,2001:db8::/32"})
    spot.fire(home.visitor, 2)
    assert home.stranger.datagrams(spot.port, spot.address, _far(home, family)).ask(b"?") == b"?"
    assert came(spot.udp, VISITOR[family]) == 3, "neither more time nor other sources give it anew"

    home.daemon.client.edit(spot.view["id"], {"limit": "5/hour"})
    spot.fire(home.visitor, 9)
    assert home.stranger.datagrams(spot.port, spot.address, _far(home, family)).ask(b"?") == b"?"
    assert came(spot.udp, VISITOR[family]) == 3 + 5, "another rate holds for those who were there before"


def test_one_network_of_ipv6_hosts_is_one_source(kernel_home: Home) -> None:
    home = kernel_home
    spot = Spot(home, "exact", 1, limit="3/hour")
    spot.fire(home.visitor, 2)
    spot.fire(home.stranger, 2)
    assert home.stranger.datagrams(spot.port, spot.address, _far(home, 1)).ask(b"?") == b"?"
    assert (came(spot.udp, VISITOR[1]), came(spot.udp, STRANGER[1])) == (2, 1)


def test_a_stream_that_is_never_answered_is_one_flow(kernel_home: Home) -> None:
    """Conntrack calls every datagram of it new."""
    home, port = kernel_home, free_ports()
    sink = home.net.server.call(lambda: _sink(SERVER[0]))
    with sink:
        inside = sink.getsockname()[1]
        ports = f"udp/{port}:{inside}"
        view = home.open({"ports": ports, "to": SERVER[0], "from": "anyone", "limit": "2/hour"})
        stream = home.visitor.datagrams(port, GATEWAY[0]).sock
        for number in range(20):
            stream.send(b"%d" % number)
        assert [int(sink.recv(100)) for _ in range(20)] == list(range(20))
    counters = home.counters(view)
    assert (counters["flows_total"], sum(counters["refused"].values())) == (1, 0)


@families
def test_all_sources_together_have_a_rate(kernel_home: Home, family: int) -> None:
    home = kernel_home
    spot = Spot(home, "exact", family, limit_total="4/hour")
    spot.fire(home.visitor, 3)
    spot.fire(home.stranger, 3)
    home.daemon.client.extend(spot.view["id"], {"for": "2h"})
    spot.fire(home.visitor, 3)
    with ExitStack() as stack:
        source = (STRANGER[family], 0)
        assert not talk(stack, "udp", home.net.stranger, source, (spot.address, spot.port))(SHORT)
    assert (came(spot.udp, VISITOR[family]), came(spot.udp, STRANGER[family])) == (3, 1)


def test_connections_are_capped_and_places_become_free(kernel_home: Home) -> None:
    home = kernel_home
    spot = Spot(home, "exact", 0, max_connections=2)
    held = [home.visitor.dial(spot.port, spot.address), home.stranger.dial(spot.port, spot.address)]
    assert all(each.says_back(b"in") for each in held)

    def is_kept_out() -> bool:
        with Knock(home.net.visitor, spot.port, spot.address) as knock:
            assert held[1].says_back(b"still in")
            return not knock.is_answered

    assert is_kept_out()
    home.daemon.client.extend(spot.view["id"], {"for": "3h"})
    assert is_kept_out(), "more time makes no more room"
    home.daemon.client.edit(spot.view["id"], {"from": "198.51.100.0/24"})
    assert is_kept_out(), "nor do other sources"
    held[0].close()
    assert home.daemon.client.kill(spot.view["id"], VISITOR[0]) in (0, 1)
    assert spot.admits(home.visitor)
    home.daemon.client.edit(spot.view["id"], {"max_connections": 10})
    assert spot.admits(home.visitor)
    assert spot.admits(home.stranger)
    assert held[1].says_back(b"still in")


def _sink(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(DEADLINE)
    sock.bind((address, 0))
    return sock


def _far(home: Home, family: int) -> str | None:
    """An address of the stranger's that is not in the visitor's network."""
    if not family:
        return None
    if ELSEWHERE not in home.net.stranger.run(["ip", "address", "show", "dev", "lo"]).stdout:
        home.net.stranger.address("lo", f"{ELSEWHERE}/128")
        home.net.isp.route(STRANGER[1], f"{ELSEWHERE}/128")
    return ELSEWHERE
