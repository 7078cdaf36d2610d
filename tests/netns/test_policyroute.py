"""Replies leave by the line that the flow came in by: rules, routes, and packets between two providers."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from sekimori.host.links import read_facts
from sekimori.host.policyroute import FIRST_TABLE, PROTOCOL, WanRoute, route_by_wan
from sekimori.model.errors import Problem
from sekimori.model.network import MARK_MASK, find_roles, wan_mark
from sekimori.testing.netlab import Host, Lab, TwoWans, two_wans, why_not
from sekimori.testing.peers import Peers

pytestmark = pytest.mark.netns

SO_MARK = 36  # asm-generic/socket.h
LOST = 0.3
"""Seconds after which a datagram that takes under a millisecond counts as lost."""


@pytest.fixture(scope="module")
def net() -> Iterator[TwoWans]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        yield two_wans(lab)


@pytest.fixture
def wanted(net: TwoWans) -> Iterator[tuple[WanRoute, ...]]:
    """Both lines as the gateway finds them; nothing of ours is left after the test."""
    network = find_roles(net.gateway.call(read_facts))
    yield tuple(WanRoute.of(index, wan) for index, wan in enumerate(network.wans, 1))
    apply(net.gateway)
    assert ours(net.gateway) == ([], [])


def apply(gateway: Host, *wanted: WanRoute) -> tuple[str, ...]:
    return gateway.call(lambda: route_by_wan(wanted))


def ours(gateway: Host) -> tuple[list[str], list[str]]:
    """Rules and routes that iproute2 finds to be ours, in the words of one line each."""
    rules, routes = [], []
    for family in ("-4", "-6"):
        for rule in _json(gateway, family, "rule", "show"):
            if rule.get("protocol") == str(PROTOCOL):
                rules.append(f"{rule['priority']} {rule['fwmark']}/{rule['fwmask']} {rule['table']}")
        for route in _json(gateway, family, "route", "show", "table", "all", "proto", str(PROTOCOL)):
            via = route.get("gateway") or route.get("via", {}).get("host", "-")
            routes.append(f"{route['table']} {route['dst']} {via} {route['dev']}")
    return rules, routes


def _json(gateway: Host, *command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gateway.run(["ip", "-N", "-j", *command]).stdout or "[]")
    return found


def everything(gateway: Host) -> str:
    """All rules and routes there are, without what counts time."""
    listed = [gateway.run(["ip", each, "rule", "show"]).stdout for each in ("-4", "-6")]
    listed += [gateway.run(["ip", each, "route", "show", "table", "all"]).stdout for each in ("-4", "-6")]
    return "".join(listed)


ROUTES = [
    "4701 default 203.0.113.1 wan_a",
    "4701 203.0.113.0/24 - wan_a",
    "4702 default 192.0.2.1 wan_b",
    "4702 192.0.2.0/24 - wan_b",
    "4701 2001:db8:2::/64 - wan_a",
    "4701 fe80::/64 - wan_a",
    "4701 default 2001:db8:2::1 wan_a",
    "4702 2001:db8:4::/64 - wan_b",
    "4702 fe80::/64 - wan_b",
    "4702 default 2001:db8:4::1 wan_b",
]
RULES = ["4701 0x1000000/0xf000000 4701", "4702 0x2000000/0xf000000 4702"]


def test_exactly_the_wanted_rules_and_routes_are_made(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    before = everything(net.gateway)
    changes = apply(net.gateway, *wanted)
    rules, routes = ours(net.gateway)
    assert rules == RULES * 2
    assert sorted(routes) == sorted(ROUTES)
    assert len(changes) == len(rules) + len(routes)
    assert apply(net.gateway, *wanted) == ()
    assert ours(net.gateway) == (rules, routes)

    assert all(change.startswith("-") for change in apply(net.gateway))
    assert everything(net.gateway) == before
    assert apply(net.gateway) == ()


def test_one_line_goes_and_the_other_stays_untouched(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, *wanted)
    assert all("4702" in change for change in apply(net.gateway, wanted[0]))
    rules, routes = ours(net.gateway)
    assert rules == RULES[:1] * 2
    assert sorted(routes) == sorted(each for each in ROUTES if each.startswith("4701"))


def test_a_line_without_a_family_has_no_rule_of_it(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, WanRoute(1, "wan_a", wanted[0].gateway4, has6=False))
    assert ours(net.gateway) == (RULES[:1], ["4701 default 203.0.113.1 wan_a"])


def test_a_new_gateway_takes_the_place_of_the_old(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, *wanted)
    four, six = IPv4Address("203.0.113.77"), IPv6Address("fe80::77")
    moved = WanRoute(1, "wan_a", four, six, on_link=wanted[0].on_link)
    interface = int(net.gateway.run(["cat", "/sys/class/net/wan_a/ifindex"]).stdout)
    assert apply(net.gateway, moved, wanted[1]) == (
        f"+ route 0.0.0.0/0 via 203.0.113.77 by interface {interface} in 4701",
        f"+ route ::/0 via fe80::77 by interface {interface} in 4701",
    )
    defaults = [each for each in ours(net.gateway)[1] if each.startswith("4701 default")]
    assert defaults == ["4701 default 203.0.113.77 wan_a", "4701 default fe80::77 wan_a"]
    assert apply(net.gateway, moved, wanted[1]) == ()


def test_a_line_may_move_to_another_interface(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, WanRoute(1, "wan_a", wanted[0].gateway4, wanted[0].gateway6))
    apply(net.gateway, WanRoute(1, "wan_b", wanted[1].gateway4, wanted[1].gateway6))
    assert ours(net.gateway)[1] == ["4701 default 192.0.2.1 wan_b", "4701 default 2001:db8:4::1 wan_b"]


def test_gateways_off_the_link_of_the_other_family_or_none(
    net: TwoWans, wanted: tuple[WanRoute, ...]
) -> None:
    for gateway in (IPv4Address("100.64.0.1"), IPv6Address("fe80::1"), None):
        line = WanRoute(1, "wan_a", gateway, has6=False)
        apply(net.gateway, line)
        assert ours(net.gateway)[1] == [f"4701 default {gateway or '-'} wan_a"]
        assert apply(net.gateway, line) == ()


def test_what_others_made_stays(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    foreign = (
        f"rule add priority {FIRST_TABLE + 1} fwmark 0x7 lookup 99",  # our place, their number
        f"rule add priority 31000 fwmark 0x8 lookup 99 protocol {PROTOCOL}",  # our number, their place
        f"route add 10.77.0.0/16 via 192.168.1.10 table {FIRST_TABLE + 9}",
        f"route add 10.78.0.0/16 via 192.168.1.10 table 99 proto {PROTOCOL}",
    )
    net.gateway.ip(*foreign)
    before = everything(net.gateway)
    try:
        apply(net.gateway, *wanted)
        assert everything(net.gateway) != before
        apply(net.gateway)
        assert everything(net.gateway) == before
    finally:
        net.gateway.ip(*(each.replace(" add ", " delete ") for each in foreign))


def test_routes_that_a_flap_took_are_made_again(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, *wanted)
    whole = ours(net.gateway)
    try:
        net.gateway.ip("link set wan_b down")
        rules, routes = ours(net.gateway)
        assert rules == RULES * 2
        assert not any(each.startswith("4702") for each in routes)
        assert apply(net.gateway, *wanted) == ()  # while it is down, nothing can be done, and nothing fails
    finally:
        net.gateway.ip("link set wan_b up")
        net.gateway.address("wan_b", f"{net.WAN_B[1]}/64")
        net.gateway.ip(*(f"route add default via {each} metric 200" for each in net.PROVIDER_B))
    changes = apply(net.gateway, *wanted)
    assert len(changes) == sum(each.startswith("4702") for each in ROUTES)
    assert tuple(map(sorted, ours(net.gateway))) == tuple(map(sorted, whole))


def test_an_interface_that_is_not_there_waits_for_it(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    apply(net.gateway, wanted[0], WanRoute(2, "ppp7"))
    rules, routes = ours(net.gateway)
    assert rules == RULES * 2
    assert not any(each.startswith("4702") for each in routes)


def test_an_index_that_cannot_be(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    with pytest.raises(ValueError, match="two WANs"):
        apply(net.gateway, wanted[0], WanRoute(1, "wan_b"))
    with pytest.raises(ValueError, match="1 to 15"):
        apply(net.gateway, WanRoute(256, "wan_b"))


def test_without_the_right_it_says_so(net: TwoWans) -> None:
    program = "from sekimori.host.policyroute import *\nroute_by_wan([WanRoute(1, 'wan_a')])"
    done = net.gateway.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", program],
        check=False,
    )
    assert done.returncode == 1
    assert Problem("routes-not-set", why={"en": "…"}).title().partition("…")[0] in done.stderr


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_a_marked_reply_leaves_by_its_line(net: TwoWans, wanted: tuple[WanRoute, ...], family: int) -> None:
    assert ask(net, net.WAN_A[family], mark=0)
    assert not ask(net, net.WAN_B[family], mark=0)  # it leaves by line A, whose provider drops it
    assert not ask(net, net.WAN_B[family], mark=wan_mark(2))  # no rule yet
    apply(net.gateway, *wanted)
    assert ask(net, net.WAN_B[family], mark=wan_mark(2))
    assert ask(net, net.WAN_B[family], mark=wan_mark(2) | 0x8042)  # bits of others
    assert ask(net, net.WAN_A[family], mark=wan_mark(1))
    assert not ask(net, net.WAN_A[family], mark=wan_mark(2))
    assert not ask(net, net.WAN_B[family], mark=0)


@pytest.mark.parametrize(
    ("neighbour", "outside"), [("192.0.2.50", "198.51.100.10"), ("2001:db8:4::50", "2001:db8:1::10")]
)
def test_a_host_on_the_line_itself_is_answered_without_the_gateway(
    net: TwoWans, wanted: tuple[WanRoute, ...], neighbour: str, outside: str
) -> None:
    apply(net.gateway, *wanted)

    def way(address: str) -> tuple[str | None, str]:
        (found,) = _json(net.gateway, "route", "get", address, "mark", hex(wan_mark(2)))
        return found.get("gateway"), found["dev"]

    assert way(neighbour) == (None, "wan_b")
    assert way(outside) == (net.PROVIDER_B[":" in outside], "wan_b")


def ask(net: TwoWans, address: str, *, mark: int) -> bool:
    """Whether the visitor's datagram to the gateway is answered, where the answer carries a mark."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def make() -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(LOST)
        return sock

    with net.gateway.call(make) as server, net.visitor.call(make) as client:
        server.bind((address, 0))
        server.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        client.sendto(b"?", server.getsockname()[:2])
        data, peer = server.recvfrom(16)
        server.sendto(data, peer)
        try:
            return client.recv(16) == b"?"
        except TimeoutError:
            return False


CONNMARK = """
table inet lines {{
  chain dstnat {{ type nat hook prerouting priority dstnat
    iifname "wan_a" tcp dport 8080 dnat ip to {server}
    iifname "wan_b" tcp dport 8080 dnat ip to {server}
  }}
  chain mark_in {{ type filter hook prerouting priority mangle
    ct state new iifname "wan_a" ct mark set ct mark & {rest} | {a}
    ct state new iifname "wan_b" ct mark set ct mark & {rest} | {b}
    ct direction reply meta mark set ct mark
  }}
}}
"""


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
def test_a_forwarded_connection_works_by_either_line(net: TwoWans, wanted: tuple[WanRoute, ...]) -> None:
    ruleset = CONNMARK.format(
        server=net.SERVER[0], rest=hex(~MARK_MASK & 0xFFFFFFFF), a=wan_mark(1), b=wan_mark(2)
    )
    net.gateway.run(["nft", "-f", "-"], text=ruleset)
    try:
        with Peers(net.visitor.call) as visitor, Peers(net.server.call) as server:
            echo = server.tcp_echo(net.SERVER[0], 8080)
            apply(net.gateway, *wanted)
            for outside in (net.WAN_A[0], net.WAN_B[0]):
                assert visitor.dial(8080, outside).says_back(b"x" * 100_000)
            assert [seen[0] for seen in echo.seen] == [net.VISITOR[0]] * 2
    finally:
        net.gateway.run(["nft", "delete", "table", "inet", "lines"])
