"""Who can come again: what each kind of change does to the way an administrator came by."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sekimori.model.address import IpProtocol, On, PortPair, PortRange, parse_on, parse_ports
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, Trigger
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.request import Caller
from sekimori.model.schedule import Schedule
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.policy.reach import reaches, would_cut
from sekimori.testing.strategies import bans, gateways, mapping_sets, mappings, named_lists

NOW = 1_750_000_000.0
ALICE = Owner.parse("person:alice")
WAN = ("203.0.113.5", "2001:db8:2::5")
LAN = ("192.168.1.1", "2001:db8:3::1")
OUTSIDE = ("198.51.100.10", "2001:db8:1::10")
INSIDE = ("192.168.1.10", "2001:db8:3::10")
NETWORK = Network(
    wans=(
        Wan(
            "wan0",
            addresses4=(ipaddress.IPv4Address(WAN[0]), ipaddress.IPv4Address("203.0.113.6")),
            addresses6=(ipaddress.IPv6Address(WAN[1]),),
        ),
        Wan("wan1", addresses4=(ipaddress.IPv4Address("192.0.2.5"),)),
    ),
    lans=(
        Lan(
            "lan0",
            prefixes=(ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("2001:db8:3::/64")),
            addresses=tuple(map(ipaddress.ip_address, LAN)),
        ),
    ),
    own=frozenset(map(ipaddress.ip_address, (*WAN, *LAN, "203.0.113.6", "192.0.2.5", "198.18.0.1"))),
)


def come(source: str, destination: str, dport: int = 22) -> Caller:
    return Caller(ipaddress.ip_address(source), 50_000, ipaddress.ip_address(destination), dport)


def ports(text: str, inside: int | None = None) -> tuple[PortPair, ...]:
    protocol, _, rest = text.partition("/")
    first, _, last = rest.partition("-")
    outside = PortRange(int(first), int(last or first))
    to = outside if inside is None else PortRange(inside, inside + outside.size - 1)
    return (PortPair(parse_ports(f"{protocol}/1")[0].protocols[0], outside, to),)


def mapping(
    to: str = "self",
    *,
    claims: str = "tcp/22",
    inside: int | None = None,
    who: str = "anyone",
    plane: str = "kernel",
    on: str | None = None,
    **terms: Any,
) -> Mapping:
    at: On | None = None if on is None else parse_on(on)
    given: dict[str, Any] = {
        "id": f"m-{to}-{claims}",
        "name": "ssh",
        "owner": ALICE,
        "ports": ports(claims, inside),
        "target": Target.parse_host(to),
        "sources": Sources.parse(who),
        "lifetime": Lifetime.permanent("a test"),
        "on": at,
        "path": (Hop(plane),),
    }
    return Mapping(**{**given, **terms})


def ban(prefix: str, **terms: Any) -> Ban:
    return Ban(prefix=ipaddress.ip_network(prefix), owner=ALICE, **terms)


WALL = Gateway(owner=ALICE, firewall=True)
NO_WALL = Gateway(owner=ALICE)
DMZ = mapping(
    INSIDE[0], ports=(PortPair(IpProtocol.DMZ, PortRange(1, 65535), PortRange(1, 65535)),), id="dmz"
)
TRIGGER = mapping("trigger", id="t", trigger=Trigger((), 60))
CLOSED_NOW = Schedule.parse("mon/03:00-03:01", "UTC")


@dataclass(frozen=True)
class Case:
    """Where somebody comes from and to, and what stands."""

    name: str
    answer: bool
    source: str = OUTSIDE[0]
    to: str = WAN[0]
    port: int = 22
    stands: tuple[Mapping | Gateway | Ban, ...] = ()
    lists: dict[str, str] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        named = [
            NamedList(name, ALICE, (ipaddress.ip_network(prefix),)) for name, prefix in self.lists.items()
        ]
        chosen = [each for each in self.stands if not isinstance(each, Mapping)]
        return Snapshot([each for each in self.stands if isinstance(each, Mapping)], named, chosen)


OFFICE = {"office": "198.51.100.0/24"}
CASES = [
    Case("nothing stands", True),
    # -- bans
    Case("banned", False, stands=(ban("198.51.100.0/24"),)),
    Case("the neighbours are banned", True, stands=(ban("198.51.101.0/24"), ban("2001:db8:1::/64"))),
    Case("the ban has ended", True, stands=(ban("198.51.100.10", expires_at=int(NOW)),)),
    Case("the ban ends soon", False, stands=(ban("198.51.100.10", expires_at=int(NOW) + 1),)),
    Case("banned, permit or not", False, stands=(ban("198.51.100.10"), mapping(), WALL)),
    Case("banned in IPv6", False, OUTSIDE[1], WAN[1], stands=(ban("2001:db8:1::/64"),)),
    Case("banned inside", False, INSIDE[0], LAN[0], stands=(ban("192.168.1.0/24"),)),
    # -- the firewall
    Case("a gateway without it", True, stands=(NO_WALL,)),
    Case("the firewall alone", False, stands=(WALL,)),
    Case("in IPv6 too", False, OUTSIDE[1], WAN[1], stands=(WALL,)),
    Case("a permit", True, stands=(WALL, mapping())),
    Case("a permit in IPv6", True, OUTSIDE[1], WAN[1], stands=(WALL, mapping())),
    Case("a permit among a range", True, stands=(WALL, mapping(claims="tcp/20-30"))),
    Case("a permit of the next port", False, stands=(WALL, mapping(claims="tcp/23"))),
    Case("a permit of udp", False, stands=(WALL, mapping(claims="udp/22"))),
    Case("a permit that is paused", False, stands=(WALL, mapping(paused=True))),
    Case("a permit that ended", False, stands=(WALL, mapping(lifetime=Lifetime.lasting(60, NOW - 60)))),
    Case("a permit outside its hours", False, stands=(WALL, mapping(schedule=CLOSED_NOW))),
    Case("a permit for me", True, stands=(WALL, mapping(who="198.51.100.10"))),
    Case("a permit for another", False, stands=(WALL, mapping(who="198.51.100.11"))),
    Case("a permit for the LAN", False, stands=(WALL, mapping(who="lan"))),
    Case("a permit for a list with me", True, stands=(WALL, mapping(who="office")), lists=OFFICE),
    Case(
        "a permit for a list without me",
        False,
        stands=(WALL, mapping(who="office")),
        lists={"office": "198.51.101.0/24"},
    ),
    Case("a permit for a list nobody knows", False, stands=(WALL, mapping(who="office"))),
    Case("a permit at this address", True, stands=(WALL, mapping(on=WAN[0]))),
    Case("a permit at the other address", False, stands=(WALL, mapping(on="203.0.113.6"))),
    Case("a permit at this interface", True, stands=(WALL, mapping(on="wan0"))),
    Case("a permit at the other interface", False, stands=(WALL, mapping(on="wan1"))),
    Case("a permit for IPv4", True, stands=(WALL, mapping(on="0.0.0.0"))),
    Case("a permit for IPv6", False, stands=(WALL, mapping(on="::"))),
    Case("a relay listens", True, stands=(WALL, mapping(INSIDE[0], plane="relay"))),
    Case("a relay for another", False, stands=(WALL, mapping(INSIDE[0], plane="relay", who="lan"))),
    Case("what the router makes", False, stands=(WALL, mapping(INSIDE[0], plane="router"))),
    Case("a mapping without a plane", False, stands=(WALL, mapping(path=()))),
    Case("a pinhole to a host inside", False, OUTSIDE[1], WAN[1], stands=(WALL, mapping(INSIDE[1]))),
    # -- without a firewall a permit still says who may
    Case("a permit that excludes me", False, stands=(mapping(who="198.51.100.11"),)),
    # -- inside
    Case("from the LAN to the LAN", True, INSIDE[0], LAN[0], stands=(WALL, mapping(INSIDE[0]))),
    Case("from the LAN in IPv6", True, INSIDE[1], LAN[1], stands=(WALL,)),
    Case("from the LAN to the WAN", True, INSIDE[0], WAN[0], stands=(WALL,)),
    Case("from a link-local of the LAN", True, "fe80::9%lan0", "fe80::1%lan0", stands=(WALL,)),
    Case("from a link-local of the WAN", False, "fe80::9%wan0", "fe80::1%wan0", stands=(WALL,)),
    Case("from outside to the LAN's address", False, OUTSIDE[1], LAN[1], stands=(WALL, mapping())),
    Case("from outside, no firewall", True, OUTSIDE[1], LAN[1], stands=(mapping(who="lan"),)),
    Case("to an address without a role", False, OUTSIDE[0], "198.18.0.1", stands=(WALL, mapping())),
    # -- taken away
    Case("a forward takes it", False, stands=(mapping(INSIDE[0]),)),
    Case("a forward takes it from the LAN too", False, INSIDE[0], WAN[0], stands=(mapping(INSIDE[0]),)),
    Case("a forward of another port", True, stands=(mapping(INSIDE[0], claims="tcp/222", inside=22),)),
    Case("a forward of udp", True, stands=(mapping(INSIDE[0], claims="udp/22"),)),
    Case("a forward elsewhere", True, stands=(mapping(INSIDE[0], on="wan1"),)),
    Case("a forward that is paused", True, stands=(mapping(INSIDE[0], paused=True),)),
    Case("a forward of IPv4 lets IPv6 be", True, OUTSIDE[1], WAN[1], stands=(mapping(INSIDE[0]),)),
    Case("but not past a firewall", False, OUTSIDE[1], WAN[1], stands=(WALL, mapping(INSIDE[0]))),
    Case("nor past its sources", False, OUTSIDE[1], WAN[1], stands=(mapping(INSIDE[0], who="lan"),)),
    Case("a forward to a device", False, stands=(mapping("52:54:00:00:00:01"),)),
    Case("a device in IPv6", True, OUTSIDE[1], WAN[1], stands=(mapping("52:54:00:00:00:01"),)),
    Case(
        "a device in IPv6, shifted",
        False,
        OUTSIDE[1],
        WAN[1],
        stands=(mapping("52:54:00:00:00:01", inside=2222),),
    ),
    Case("a trigger takes it", False, stands=(TRIGGER,)),
    Case("a trigger in IPv6", True, OUTSIDE[1], WAN[1], stands=(TRIGGER,)),
    Case("a DMZ takes no own service", True, stands=(DMZ,)),
    Case("a DMZ permits none either", False, stands=(DMZ, WALL)),
    # -- relayed
    Case("from this machine, nothing leads here", False, "127.0.0.1", "127.0.0.1"),
    Case(
        "by a relay to self",
        True,
        "127.0.0.1",
        "127.0.0.1",
        stands=(WALL, mapping(claims="tcp/2222", inside=22, plane="relay", who="lan")),
    ),
    Case(
        "by a relay to loopback",
        True,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping("127.0.0.1", claims="tcp/2222", inside=22, plane="relay"),),
    ),
    Case(
        "by a relay to an address of ours",
        True,
        LAN[0],
        LAN[0],
        stands=(mapping(LAN[0], claims="tcp/2222", inside=22, plane="relay"),),
    ),
    Case(
        "by a relay to localhost",
        True,
        "::1",
        "::1",
        stands=(mapping("localhost", claims="tcp/2222", inside=22, plane="relay"),),
    ),
    Case(
        "a relay that listens beyond a link",
        True,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping(claims="tcp/2222", inside=22, at="vps", path=(Hop("link", "vps"), Hop("relay"))),),
    ),
    Case(
        "a relay to the same name beyond a link",
        False,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping("localhost", claims="tcp/2222", inside=22, path=(Hop("relay"), Hop("link", "vps"))),),
    ),
    Case(
        "a port beyond a link is no port here",
        True,
        stands=(mapping(INSIDE[0], who="lan", at="vps", path=(Hop("link", "vps"), Hop("relay"))),),
    ),
    Case(
        "a relay to another port",
        False,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping(claims="tcp/2222", inside=23, plane="relay"),),
    ),
    Case(
        "a relay that is paused",
        False,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping(claims="tcp/2222", inside=22, plane="relay", paused=True),),
    ),
    Case(
        "a relay to somebody else",
        False,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping(INSIDE[0], claims="tcp/2222", inside=22, plane="relay"),),
    ),
    Case(
        "a relay of datagrams",
        False,
        "127.0.0.1",
        "127.0.0.1",
        stands=(mapping(claims="udp/2222", inside=22, plane="relay"),),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_gets_through(case: Case) -> None:
    assert reaches(case.snapshot(), come(case.source, case.to, case.port), NETWORK, NOW) is case.answer


def test_a_machine_without_a_network_keeps_nobody_out() -> None:
    assert reaches(Snapshot([mapping(who="lan")]), come(*OUTSIDE[:1], WAN[0]), Network(), NOW)


RELAYED = mapping(claims="tcp/2222-2230", inside=22, plane="relay", who="198.51.100.0/24")
BY_RELAY = come("127.0.0.1", "127.0.0.1", 25)


@pytest.mark.parametrize(
    ("after", "cut"),
    [
        (RELAYED, False),
        (replace(RELAYED, paused=True), True),
        (replace(RELAYED, sources=Sources.parse("anyone")), False),
        (replace(RELAYED, sources=Sources.parse("198.51.100.0/24,192.0.2.0/24")), False),
        (replace(RELAYED, sources=Sources.parse("198.51.100.10")), True),
        (replace(RELAYED, ports=ports("tcp/2225", 25)), False),
        (replace(RELAYED, ports=ports("tcp/2226", 25)), True),
        (replace(RELAYED, on=parse_on(WAN[0])), True),
        (replace(RELAYED, target=Target.parse_host(INSIDE[0])), True),
        (replace(RELAYED, target=Target.parse_host("127.0.0.1")), False),
    ],
)
def test_by_a_relay_it_counts_what_that_relay_still_does(after: Mapping, cut: bool) -> None:
    assert would_cut(Snapshot([RELAYED]), Snapshot([after]), BY_RELAY, NETWORK, NOW) is cut


def test_of_two_relays_the_other_will_do() -> None:
    other = replace(RELAYED, id="other", name="other", ports=ports("tcp/3000", 25))
    assert not would_cut(Snapshot([RELAYED, other]), Snapshot([RELAYED]), BY_RELAY, NETWORK, NOW)
    assert would_cut(Snapshot([RELAYED, other]), Snapshot(), BY_RELAY, NETWORK, NOW)


def test_only_the_step_from_in_to_out_cuts() -> None:
    caller, free = come(OUTSIDE[0], WAN[0]), Snapshot()
    walled, permitted = Snapshot([], [], [WALL]), Snapshot([mapping()], [], [WALL])
    for before, after, cut in (
        (free, walled, True),
        (free, permitted, False),
        (permitted, walled, True),
        (walled, permitted, False),
        (walled, Snapshot([], [], [WALL, ban("192.0.2.1")]), False),
        (permitted, Snapshot([mapping()], [], [WALL, ban("198.51.100.10")]), True),
    ):
        assert would_cut(before, after, caller, NETWORK, NOW) is cut


def test_a_narrower_list_cuts() -> None:
    def listed(prefix: str) -> Snapshot:
        office = NamedList("office", ALICE, (ipaddress.ip_network(prefix),))
        return Snapshot([mapping(who="office")], [office], [WALL])

    caller = come(OUTSIDE[0], WAN[0])
    assert would_cut(listed("198.51.100.0/24"), listed("198.51.100.128/25"), caller, NETWORK, NOW)
    assert not would_cut(listed("198.51.100.0/24"), listed("198.51.100.0/25"), caller, NETWORK, NOW)


def _elsewhere(each: Mapping) -> bool:
    """Whether a mapping has nothing to do with port 22, outside or inside."""
    return not any(
        pair.protocol is IpProtocol.TCP and (22 in pair.outside or 22 in pair.inside) for pair in each.ports
    )


CALLERS = st.sampled_from(
    [
        come(OUTSIDE[0], WAN[0]),
        come(OUTSIDE[1], WAN[1]),
        come(INSIDE[0], LAN[0]),
        come(INSIDE[1], WAN[1]),
        come("127.0.0.1", "127.0.0.1"),
        come(OUTSIDE[1], LAN[1]),
    ]
)


@settings(deadline=None)
@given(
    stand=mapping_sets(),
    other=mappings().filter(_elsewhere),
    lists=st.lists(named_lists(), max_size=2, unique_by=lambda each: each.name),
    kept=st.lists(bans(), max_size=2, unique_by=lambda each: each.prefix),
    gateway=gateways(),
    caller=CALLERS,
)
def test_what_touches_neither_port_nor_bans_nor_gateway_never_cuts(
    stand: tuple[Mapping, ...],
    other: Mapping,
    lists: list[NamedList],
    kept: list[Ban],
    gateway: Gateway,
    caller: Caller,
) -> None:
    before = Snapshot(stand, lists, [gateway, *kept])
    assume(before.get(other.id) is None)
    opened = before.fork()
    opened.apply(Made(Verb.OPEN, None, other))
    assert not would_cut(before, opened, caller, NETWORK, NOW)
    assert not would_cut(opened, before, caller, NETWORK, NOW)
    for each in filter(_elsewhere, stand):
        closed = before.fork()
        closed.apply(Made(Verb.CLOSE, each, None))
        assert not would_cut(before, closed, caller, NETWORK, NOW)


@given(lists=st.lists(named_lists(), max_size=2, unique_by=lambda each: each.name), caller=CALLERS)
def test_a_list_that_nobody_uses_never_cuts(lists: list[NamedList], caller: Caller) -> None:
    walled = Snapshot([mapping(who="198.51.100.10,2001:db8:1::10")], [], [WALL])
    assert not would_cut(walled, Snapshot(list(walled), lists, [WALL]), caller, NETWORK, NOW)


def test_the_same_port_beyond_another_link_is_another_way() -> None:
    beyond = {name: replace(RELAYED, at=name, path=(Hop("link", name), Hop("relay"))) for name in ("a", "b")}
    assert would_cut(Snapshot([beyond["a"]]), Snapshot([beyond["b"]]), BY_RELAY, NETWORK, NOW)
    assert would_cut(Snapshot([RELAYED]), Snapshot([beyond["a"]]), BY_RELAY, NETWORK, NOW)
    assert not would_cut(
        Snapshot([beyond["a"]]), Snapshot([beyond["a"], replace(RELAYED, id="here")]), BY_RELAY, NETWORK, NOW
    )
