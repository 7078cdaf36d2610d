"""Which interfaces lead outside and which inside: tables of what the kernel may tell."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import IPAddress
from sekimori.model.network import (
    MARK_MASK,
    Address,
    Facts,
    InterfaceFacts,
    Lan,
    Network,
    NetworkSettings,
    Route,
    Wan,
    find_roles,
    wan_mark,
)

ip = ipaddress.ip_address
net = ipaddress.ip_network


def interface(name: str, *addresses: str | Address, up: bool = True) -> InterfaceFacts:
    """`10.0.0.1/24`, or `10.0.0.1 peer 10.0.0.2/32` as `ip address` writes it."""
    return InterfaceFacts(
        name,
        index=1,
        up=up,
        loopback=name == "lo",
        addresses=tuple(each if isinstance(each, Address) else _address(each) for each in addresses),
    )


def _address(text: str) -> Address:
    own, _, peer = text.partition(" peer ")
    host, _, length = (peer or own).partition("/")
    return Address(ip(own.partition("/")[0]), int(length), peer=ip(host) if peer else None)


def route(text: str) -> Route:
    """`default via 203.0.113.1 dev wan metric 100 src 203.0.113.9`, as `ip route` writes it."""
    first, *words = text.split()
    after = dict(zip(words[::2], words[1::2], strict=True))
    six = ":" in first or ":" in after.get("via", "") or first == "default6"
    every = "::/0" if six else "0.0.0.0/0"
    return Route(
        net(every if first.startswith("default") else first),
        after["dev"],
        gateway=ip(after["via"]) if "via" in after else None,
        metric=int(after.get("metric", 0)),
        source=ip(after["src"]) if "src" in after else None,
    )


def roles(
    interfaces: Sequence[InterfaceFacts],
    routes: Sequence[str],
    wan: tuple[str, ...] | None = None,
    lan: tuple[str, ...] | None = None,
) -> Network:
    facts = Facts((interface("lo", "127.0.0.1/8", "::1/128"), *interfaces), tuple(map(route, routes)))
    return find_roles(facts, NetworkSettings(wan, lan))


def names(network: Network) -> tuple[list[str], list[str]]:
    return [wan.interface for wan in network.wans], [lan.interface for lan in network.lans]


WAN = interface("wan", "203.0.113.2/24", "2001:db8:2::2/64", "fe80::2/64")
LAN = interface("lan", "192.168.1.1/24", "fd00:1::1/64", "fe80::1/64")
DEFAULT = "default via 203.0.113.1 dev wan metric 100"


def test_a_home_gateway() -> None:
    network = roles([WAN, LAN], [DEFAULT, "default via fe80::1 dev wan metric 1024"])
    assert network.wans == (
        Wan(
            "wan",
            addresses4=(ipaddress.IPv4Address("203.0.113.2"),),
            addresses6=(ipaddress.IPv6Address("2001:db8:2::2"),),
            gateway4=ip("203.0.113.1"),
            gateway6=ipaddress.IPv6Address("fe80::1"),
            metric=100,
            has4=True,
            has6=True,
            prefixes=(net("203.0.113.0/24"), net("2001:db8:2::/64")),
        ),
    )
    assert network.lans == (
        Lan("lan", (net("192.168.1.0/24"), net("fd00:1::/64")), (ip("192.168.1.1"), ip("fd00:1::1"))),
    )
    assert network.is_gateway


@pytest.mark.parametrize(
    ("interfaces", "routes", "wans", "lans"),
    [
        pytest.param([LAN], [], [], ["lan"], id="no default route: nothing is outside"),
        pytest.param([WAN], [DEFAULT], ["wan"], [], id="one-armed"),
        pytest.param(
            [interface("eth0", "192.168.1.5/24")],
            ["default via 192.168.1.1 dev eth0"],
            ["eth0"],
            [],
            id="one-armed behind another router: its only network is outside, though private",
        ),
        pytest.param(
            [interface("wan", "10.0.0.5/24"), LAN],
            ["default via 10.0.0.1 dev wan"],
            ["wan"],
            ["lan"],
            id="behind another router",
        ),
        pytest.param(
            [interface("eth0"), interface("ppp0", "203.0.113.9 peer 198.51.100.1/32"), LAN],
            ["default dev ppp0"],
            ["ppp0"],
            ["lan"],
            id="PPPoE: the interface below has no role",
        ),
        pytest.param(
            [WAN, *(interface(name, "172.17.0.1/16") for name in ("docker0", "virbr0", "wg0"))],
            [DEFAULT],
            ["wan"],
            ["docker0", "virbr0", "wg0"],
            id="containers, machines, VPN",
        ),
        pytest.param(
            [WAN, interface("lan", "2001:db8:3::1/64")], [DEFAULT], ["wan"], ["lan"], id="only IPv6 inside"
        ),
        pytest.param(
            [WAN, interface("lan", "fe80::1/64")],
            [DEFAULT, "2001:db8:3::/64 dev lan"],
            ["wan"],
            ["lan"],
            id="a prefix routed to a link without an address of ours",
        ),
        pytest.param(
            [WAN, interface("dmz", "198.51.100.1/28")],
            [DEFAULT],
            ["wan"],
            [],
            id="public IPv4 alone: no role",
        ),
        pytest.param(
            [WAN, interface("odd", "169.254.1.1/16", "fe80::1/64")],
            [DEFAULT, "169.254.0.0/16 dev odd", "fe80::/64 dev odd", "224.0.0.0/4 dev odd"],
            ["wan"],
            [],
            id="link-local and multicast make no LAN",
        ),
        pytest.param(
            [WAN, interface("ts0", "100.100.1.1/32", "fd7a:115c:a1e0::1/128")],
            [DEFAULT],
            ["wan"],
            [],
            id="a host's own prefix makes no LAN",
        ),
        pytest.param(
            [WAN, interface("wg0", "10.8.0.1 peer 10.8.0.2/32")],
            [DEFAULT],
            ["wan"],
            ["wg0"],
            id="the other end of a line makes one",
        ),
        pytest.param([WAN, interface("lan", "10.0.0.1/8", up=False)], [DEFAULT], ["wan"], [], id="off"),
        pytest.param(
            [interface("eth0", "203.0.113.2/24"), interface("he6", "2001:db8:7::2/64"), LAN],
            ["default via 203.0.113.1 dev eth0", "default6 dev he6 metric 1024"],
            ["eth0", "he6"],
            ["lan"],
            id="IPv6 by a tunnel: two WANs",
        ),
        pytest.param(
            [WAN, interface("tun0", "10.8.0.2/24")],
            [DEFAULT, "0.0.0.0/1 via 10.8.0.1 dev tun0", "128.0.0.0/1 via 10.8.0.1 dev tun0"],
            ["tun0", "wan"],
            [],
            id="a VPN that overrides the default route by its halves is a WAN, and the preferred one",
        ),
        pytest.param(
            [interface("wan", "2001:db8:2::2/64")],
            ["2000::/3 via fe80::1 dev wan"],
            ["wan"],
            [],
            id="2000::/3",
        ),
    ],
)
def test_roles(
    interfaces: Sequence[InterfaceFacts], routes: Sequence[str], wans: list[str], lans: list[str]
) -> None:
    network = roles(interfaces, routes)
    assert names(network) == (wans, lans)
    assert network.is_gateway == bool(wans and lans)


@pytest.mark.parametrize(
    ("routes", "order"),
    [
        (["default via 10.2.0.1 dev b metric 200", "default via 10.1.0.1 dev a metric 100"], ["a", "b"]),
        (["default via 10.2.0.1 dev b", "default via 10.1.0.1 dev a metric 100"], ["b", "a"]),
        (["default via 10.2.0.1 dev b metric 5", "default via 10.1.0.1 dev a metric 5"], ["b", "a"]),
        (["default via fe80::1 dev b metric 1", "default via 10.1.0.1 dev a metric 5"], ["a", "b"]),
        (["default via fe80::1 dev b metric 9", "default via fe80::1 dev a metric 8"], ["a", "b"]),
    ],
)
def test_several_wans_are_ordered_as_the_kernel_prefers_them(routes: list[str], order: list[str]) -> None:
    both = [interface("a", "10.1.0.2/24"), interface("b", "10.2.0.2/24")]
    assert names(roles(both, routes)) == (order, [])


def test_a_wan_has_its_best_default_route() -> None:
    routes = [
        f"default via 203.0.113.{last} dev wan metric {metric}" for last, metric in ((8, 300), (9, 200))
    ]
    (wan,) = roles([WAN], routes).wans
    assert (wan.gateway4, wan.metric, wan.has4, wan.has6) == (ip("203.0.113.9"), 200, True, False)


def test_a_line_without_a_gateway_is_told_from_no_line() -> None:
    ppp = interface("ppp0", "203.0.113.9 peer 198.51.100.1/32", "2001:db8:9::1/64")
    (wan,) = roles([ppp], ["default dev ppp0", "198.51.100.1/32 dev ppp0"]).wans
    assert (wan.gateway4, wan.has4, wan.has6) == (None, True, False)
    assert wan.addresses == (ip("203.0.113.9"), ip("2001:db8:9::1"))
    assert wan.on_link == (net("198.51.100.1/32"),)


def test_an_ipv4_line_may_have_an_ipv6_gateway() -> None:
    facts = Facts((WAN,), (Route(net("0.0.0.0/0"), "wan", gateway=ip("fe80::1")),))
    (wan,) = find_roles(facts).wans
    assert (wan.gateway4, wan.gateway6, wan.has6) == (ip("fe80::1"), None, False)


def test_a_wan_tells_only_addresses_that_last_and_works() -> None:
    six = [f"2001:db8:2::{each}" for each in range(1, 5)]
    wan = interface(
        "wan",
        Address(ip("203.0.113.2"), 24, deprecated=True),
        Address(ip("169.254.7.7"), 16),
        Address(ip("203.0.113.3"), 24),
        Address(ip(six[0]), 64, temporary=True),
        Address(ip(six[1]), 64, deprecated=True),
        Address(ip(six[2]), 64, tentative=True),
        Address(ip(six[3]), 64),
        "fd00:2::4/64",
        "fe80::4/64",
    )
    network = roles([wan], [DEFAULT + " src 203.0.113.3"])
    assert [str(each) for each in network.wan_addresses()] == [
        "203.0.113.3",  # the default route's source
        "203.0.113.2",
        "2001:db8:2::4",
        "fd00:2::4",
    ]
    assert not network.is_wan_address(ip(six[0]))
    assert all(network.is_own(ip(each)) for each in (*six, "169.254.7.7", "fe80::4", "127.0.0.53", "::1"))


def test_what_is_routed_through_a_lan_belongs_to_it() -> None:
    network = roles(
        [WAN, LAN, interface("lab", "10.200.0.1/16")],
        [
            DEFAULT,
            "10.9.0.0/16 via 192.168.1.2 dev lan",
            "10.9.7.0/24 via 192.168.1.3 dev lan",
            "192.168.1.0/24 dev lan",
            "10.0.0.0/8 via 203.0.113.77 dev wan",
        ],
    )
    lab, lan = network.lans
    assert lan.prefixes == (net("10.9.0.0/16"), net("192.168.1.0/24"), net("fd00:1::/64"))
    assert network.lan_of(ip("10.9.7.5")) is lan
    assert network.lan_of(ip("10.200.3.3")) is lab
    assert network.lan_of(ip("10.77.0.1")) is None  # the longer prefix; the shorter leads outside
    assert network.wans[0].prefixes[0] == net("10.0.0.0/8")


@pytest.mark.parametrize(
    ("address", "lan"),
    [
        ("192.168.1.10", "lan"),
        ("192.168.1.1", "lan"),
        ("fd00:1::99", "lan"),
        ("203.0.113.2", None),
        ("203.0.113.77", None),
        ("203.5.5.5", "lan"),
        ("198.51.100.1", None),
        ("fe80::1", None),
        ("127.0.0.1", None),
    ],
)
def test_lan_of(address: str, lan: str | None) -> None:
    network = roles([WAN, LAN], [DEFAULT, "203.0.0.0/8 dev lan"])  # a LAN's route around the WAN's prefix
    found = network.lan_of(ip(address))
    assert (found.interface if found else None) == lan


@pytest.mark.parametrize(
    ("wan", "lan", "expected"),
    [
        (None, None, (["wan"], ["lan", "wg0"])),
        (("wan2", "wan"), None, (["wan2", "wan"], ["lan", "wg0"])),
        (("wg0",), None, (["wg0"], ["lan"])),
        (("ppp0",), None, ([], ["lan", "wg0"])),
        ((), None, ([], ["lan", "wg0"])),
        (None, ("wan2",), (["wan"], ["wan2"])),
        (None, (), (["wan"], [])),
        (None, ("wan", "lan"), ([], ["lan", "wan"])),
        (("wan", "wan"), ("wan", "lan"), (["wan"], ["lan"])),
        (("lo", "off"), ("lo", "off"), ([], [])),
    ],
)
def test_settings_name_the_roles(
    wan: tuple[str, ...] | None, lan: tuple[str, ...] | None, expected: tuple[list[str], list[str]]
) -> None:
    interfaces = [
        WAN,
        LAN,
        interface("wg0", "10.8.0.1/24"),
        interface("wan2", "198.51.100.9/24"),
        interface("off", "10.7.0.1/24", up=False),
    ]
    assert names(roles(interfaces, [DEFAULT], wan, lan)) == expected


def test_a_line_that_loses_its_route_does_not_become_a_lan() -> None:
    behind = interface("wan", "192.168.0.5/24", "2001:db8:2::5/64")
    network = roles([behind, LAN], ["default via 192.168.0.1 dev wan"])
    assert names(network) == (["wan"], ["lan"])
    without = Facts((behind, LAN))
    assert names(find_roles(without)) == ([], ["lan", "wan"])  # who has not seen it cannot know
    for _ in range(2):  # however long it lasts
        network = find_roles(without, before=network)
        assert names(network) == ([], ["lan"])
    named = find_roles(without, NetworkSettings(lan=("wan", "lan")), before=network)
    assert names(named) == ([], ["lan", "wan"])


def test_forwarding_is_told() -> None:
    network = find_roles(Facts(forwarding4=True))
    assert (network.forwarding4, network.forwarding6, network.is_gateway) == (True, False, False)


def test_marks_stay_within_the_mask() -> None:
    marks = [wan_mark(index) for index in range(1, 16)]
    assert len(set(marks)) == 15
    assert all(mark and mark & ~MARK_MASK == 0 for mark in marks)
    for index in (0, 16, -1):
        with pytest.raises(ValueError, match="1 to 15"):
            wan_mark(index)


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Any interfaces, addresses and routes at all."""
    known = draw(st.lists(st.sampled_from(["lo", "a", "b", "c", "d"]), unique=True))
    found = []
    for name in known:
        addresses = draw(st.lists(ADDRESSES, max_size=3))
        lengths = [draw(st.integers(0, each.max_prefixlen)) for each in addresses]
        pairs = zip(addresses, lengths, strict=True)
        up = draw(st.booleans())
        found.append(interface(name, *(Address(each, length) for each, length in pairs), up=up))
    routes = draw(st.lists(st.builds(_route, ADDRESSES, st.integers(0, 128), st.sampled_from("abcde"))))
    return Facts(tuple(found), tuple(routes))


def _route(address: IPAddress, length: int, name: str) -> Route:
    return Route(net((address, min(length, address.max_prefixlen)), strict=False), name)


@given(facts(), ADDRESSES)
def test_no_interface_has_two_roles_and_every_address_at_most_one_lan(
    facts: Facts, address: IPAddress
) -> None:
    network = find_roles(facts)
    wans, lans = names(network)
    up = {each.name for each in facts.interfaces if each.up and not each.loopback}
    assert len({*wans, *lans}) == len(wans) + len(lans)
    assert {*wans, *lans} <= up
    for lan in network.lans:
        for one, other in itertools.combinations(lan.prefixes, 2):
            assert one.version != other.version or not one.overlaps(other)
    found = network.lan_of(address)
    if found is not None:
        assert any(address in prefix for prefix in found.prefixes)
        assert not network.is_wan_address(address)
