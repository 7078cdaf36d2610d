"""Flows made by a model of the gateway, and what becomes of them: whatever admitted a flow owns it."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.address import Interface
from sekimori.model.mapping import MappingKind
from sekimori.planes.kernel.flows import Cutting, Ground, orphans, to_cut
from sekimori.planes.kernel.lookup import questions
from sekimori.planes.kernel.places import Prefixes
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import IPV4, Entry, Tuple

from .tracked import GATEWAY, NETWORK, OTHER, TCP, TOO, UDP, WAN, WAN6, flow, wanted

PORTS = (80, 443, 5136, 7000, 7001, 7002, 8080, 9000)
INSIDE4 = ("192.168.1.10", "192.168.1.11", "192.168.1.50")
INSIDE6 = ("2001:db8:3::10", "2001:db8:3::11")
OUTSIDE = ("198.51.100.10", "198.51.100.20", "2001:db8:1::10")
GUEST = "2001:db8:4::5"
PLACES = (WAN, TOO, OTHER, WAN6, *INSIDE6)
SOURCES = ("anyone", "198.51.100.10", "198.51.100.0/28", "2001:db8:1::/48,192.168.1.0/24")


class Packet(NamedTuple):
    """The first one of a flow, on its way to the gateway."""

    protocol: int
    source: str
    destination: str
    port: int


PACKETS = st.builds(
    Packet,
    st.sampled_from((TCP, UDP)),
    st.sampled_from((*OUTSIDE, *INSIDE4, GUEST)),
    st.sampled_from(PLACES),
    st.sampled_from((*PORTS, 7003, 81)),
).filter(lambda packet: (":" in packet.source) == (":" in packet.destination))


@st.composite
def _mappings(draw: st.DrawFn) -> list[Wanted]:
    """Mappings whose ports do not overlap, at most one of them a DMZ host."""
    made: list[Wanted] = []
    for at, port in enumerate(draw(st.lists(st.sampled_from(PORTS), unique=True, max_size=6))):
        ports = f"{draw(st.sampled_from(('tcp', 'udp', 'tcp+udp')))}/{port}"
        target = draw(st.sampled_from((*INSIDE4, *INSIDE6, "self", "::10/-64")))
        inside = "" if target.endswith("-64") else draw(st.sampled_from(("", " 22")))
        on = None if target.endswith("-64") else draw(st.sampled_from((None, WAN, "wan1", "0.0.0.0")))
        made.append(wanted(f"m{at}", ports, target + inside, on=on, sources=draw(st.sampled_from(SOURCES))))
    if draw(st.booleans()):
        made.append(wanted("dmz", "dmz", "192.168.1.50", excepted="tcp/80", sources="anyone"))
    return made


def gateway(packet: Packet, mappings: list[Wanted], source_port: int) -> tuple[str | None, Entry | None]:
    """What the gateway makes of a packet: the mapping that claims it, and the flow, if it is admitted. It
    follows from the words of a mapping one at a time, apart from the code under test.
    """
    source, destination = f"{packet.source} {source_port}", f"{packet.destination} {packet.port}"
    for each in sorted(mappings, key=lambda one: one.mapping.kind is MappingKind.DMZ):
        to = _leads(packet, each)
        if to is not None and not _may(packet, each):
            return each.mapping.id, None
        if to is not None:
            snat = f"{GATEWAY} {source_port}" if packet.source in INSIDE4 and to != destination else None
            went = None if to == destination else to
            return each.mapping.id, flow(packet.protocol, source, destination, to=went, snat=snat)
    return None, flow(packet.protocol, source, destination, labels=0)


def _may(packet: Packet, each: Wanted) -> bool:
    source = ipaddress.ip_address(packet.source)
    return each.sources is None or any(source in prefix for prefix in each.sources)


def _leads(packet: Packet, each: Wanted) -> str | None:
    """Where the mapping sends a packet, `address port`; None: it is not for this mapping."""
    mapping = each.mapping
    if mapping.kind is MappingKind.DMZ:
        is_claimed = packet.destination in (WAN, TOO, OTHER) and packet.source not in INSIDE4
        is_excepted = packet.protocol == TCP and packet.port == 80
        return f"192.168.1.50 {packet.port}" if is_claimed and not is_excepted else None
    for pair in mapping.ports:
        if pair.protocol.number != packet.protocol or packet.port not in pair.outside:
            continue
        port = packet.port - pair.outside.first + pair.inside.first
        if mapping.kind is MappingKind.PINHOLE:
            host = "2001:db8:3::10" if mapping.target.suffix else mapping.target.host
            is_hole = packet.destination == host and packet.source != GUEST
            return f"{host} {port}" if is_hole else None
        if not _is_at(packet.destination, each):
            return None
        if mapping.kind is MappingKind.PERMIT:
            return f"{packet.destination} {packet.port}"
        family = 6 if ":" in packet.destination else 4
        hosts = [text for text in each.targets if (":" in text) == (family == 6)]
        return f"{hosts[0]} {port}" if hosts else None
    return None


def _is_at(destination: str, each: Wanted) -> bool:
    on = each.mapping.on
    if on is None:
        return destination in (WAN, TOO, OTHER, WAN6)
    if isinstance(on, Interface):
        return destination == OTHER
    return destination in (WAN, TOO, OTHER) if on.is_unspecified else destination == str(on)


def _flows(packets: list[Packet], mappings: list[Wanted]) -> list[tuple[str | None, Entry]]:
    made = (gateway(packet, mappings, 40000 + at) for at, packet in enumerate(packets))
    return [(owner, entry) for owner, entry in made if entry is not None]


def _key(entry: Entry) -> tuple[int, Tuple]:
    return entry.protocol, entry.original


WORLDS = st.tuples(st.lists(PACKETS, min_size=1, max_size=12), _mappings())


@settings(max_examples=300, deadline=None)
@given(WORLDS)
def test_closing_a_mapping_cuts_what_it_admitted_and_nothing_else(
    world: tuple[list[Packet], list[Wanted]],
) -> None:
    packets, mappings = world
    flows = _flows(packets, mappings)
    entries = [entry for _, entry in flows]
    for each in mappings:
        left = [one for one in mappings if one is not each]
        expected = {
            entry.id
            for owner, entry in flows
            if owner == each.mapping.id
            and not (each.mapping.kind is MappingKind.PERMIT and entry.original.source in Ground(NETWORK).lan)
        }
        assert {entry.id for entry in to_cut(each, None, entries, NETWORK, left)} == expected
        assert to_cut(each, each, entries, NETWORK, mappings) == []
    assert orphans(entries, mappings, NETWORK) == []


@settings(max_examples=300, deadline=None)
@given(WORLDS, _mappings(), st.sampled_from(SOURCES))
def test_after_any_change_no_flow_is_left_that_would_not_be_admitted_now(
    world: tuple[list[Packet], list[Wanted]], later: list[Wanted], sources: str
) -> None:
    packets, mappings = world
    flows = _flows(packets, mappings)
    entries = [entry for _, entry in flows]
    narrowed = [replace(each, sources=wanted("x", "1", "self", sources=sources).sources) for each in later]
    before = {each.mapping.id: each for each in mappings}
    after = {each.mapping.id: each for each in narrowed}
    changes = [(before.get(name), after.get(name)) for name in before | after]
    cut = {_key(entry) for entry in Cutting(changes, NETWORK, narrowed).cut(entries)}
    one_by_one = {
        _key(entry) for old, new in changes for entry in to_cut(old, new, entries, NETWORK, narrowed)
    }
    assert cut == one_by_one
    lan = Ground(NETWORK).lan
    for at, packet in enumerate(packets):
        owner, entry = gateway(packet, mappings, 40000 + at)
        if owner is None or entry is None:
            continue
        now, would = gateway(packet, narrowed, 40000 + at)
        goes_on = now is not None and would is not None and would.reply == entry.reply
        # A connection to the DMZ host that stands is not broken by a mapping that takes its port.
        is_left = owner == "dmz" in after and now != "dmz" and packet.protocol == TCP
        if not goes_on and not is_left and entry.original.source not in lan:
            assert _key(entry) in cut, (owner, now, entry)
        if goes_on and now == owner:
            assert _key(entry) not in cut, (owner, now, entry)


@given(WORLDS)
def test_what_is_asked_for_tells_every_flow_that_is_covered(world: tuple[list[Packet], list[Wanted]]) -> None:
    packets, mappings = world
    ground = Ground(NETWORK)
    entries = [entry for _, entry in _flows(packets, mappings)]
    for count in (1, len(mappings)):
        extents = [ground.extent(each) for each in mappings[:count]]
        asked = questions(extents)
        for entry in entries:
            if any(extent.covers(entry) for extent in extents):
                assert any(
                    question.family in (0, entry.family)
                    and (question.only is None or question.only.matches(entry))
                    for question in asked
                )


@given(
    st.lists(st.ip_addresses().map(lambda address: (address, address.max_prefixlen)), max_size=5),
    st.integers(0, 128),
    st.ip_addresses(),
)
def test_prefixes_hold_what_their_networks_hold(
    drawn: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]],
    length: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    networks = [ipaddress.ip_network((base, min(length, longest)), strict=False) for base, longest in drawn]
    held = Prefixes(networks)
    for each in (address, *(base for base, _ in drawn)):
        expected = any(each in network for network in networks if network.version == each.version)
        assert (each.packed in held) == expected
    assert held == Prefixes(reversed(networks))
    assert held.sizes == tuple(sorted({4 if network.version == 4 else 16 for network in networks}))
    assert (address.version == 4) == (len(address.packed) == 4) == (address.packed in Prefixes([_all(4)]))


def _all(family: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network("0.0.0.0/0" if family == 4 else "::/0")


def test_the_model_makes_flows_of_both_families() -> None:
    web = wanted("web", "tcp/443", INSIDE4[0])
    owner, entry = gateway(Packet(TCP, OUTSIDE[0], WAN, 443), [web], 1)
    assert entry is not None
    assert (owner, entry.family) == ("web", IPV4)
    owner, entry = gateway(Packet(TCP, OUTSIDE[2], INSIDE6[0], 443), [web], 1)
    assert entry is not None
    assert (owner, entry.family) == (None, 10)
