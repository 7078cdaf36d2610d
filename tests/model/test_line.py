"""What is said of a line, from every kind of evidence."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import IPAddress, PortRange
from sekimori.model.addresskind import AddressKind, kind_of
from sekimori.model.behaviour import Behaviour, Endpoint, FilteringBehaviour, MappingBehaviour, Seen
from sekimori.model.finding import Confidence
from sekimori.model.judging import judge
from sekimori.model.line import Above, Answer, FactName, Inputs, Line, Look, prefixes_of, wans_of
from sekimori.model.linesettings import Firewall6, LineSettings
from sekimori.model.mapset import PortSet, parse_rules
from sekimori.model.network import Lan, Network, Wan

NOW = 1_750_000_000.0
SERVER = Endpoint(ipaddress.ip_address("198.51.100.53"), 3478)
RULES = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 16}])
SHARE = "192.0.2.18"
PORTS = PortSet(6, 8, 0x34)
PREFIX = IPv6Network("2001:db8:12:3400::/64")
F = FactName
net = ipaddress.ip_network


def wan(*addresses4: str, six: str | None = "2001:db8:12:3400::2", has4: bool = True) -> Wan:
    return Wan(
        "eth0",
        addresses4=tuple(map(IPv4Address, addresses4)),
        addresses6=(IPv6Address(six),) if six else (),
        has4=has4,
        has6=six is not None,
    )


def look(
    local: str,
    seen: str,
    port: int = 40000,
    mapping: MappingBehaviour = MappingBehaviour.UNKNOWN,
    filtering: FilteringBehaviour = FilteringBehaviour.UNKNOWN,
) -> Look:
    mapped = Endpoint(ipaddress.ip_address(seen), port)
    behaviour = Behaviour((Seen(SERVER), Seen(SERVER, mapped)), mapping, filtering)
    return Look(ipaddress.ip_address(local), behaviour, NOW - 60)


def inputs(line: Wan | None, *looks: Look, above: str | None = None, **more: object) -> Inputs:
    given = Inputs(now=NOW, wan4=line, wan6=line, prefixes6=(PREFIX,) if line and line.addresses6 else ())
    if above is not None:
        given = replace(given, above=Above("pcp", ipaddress.ip_address(above), NOW - 5))
    return replace(given, looks=looks, **more)  # type: ignore[arg-type]


def value(line: Line, name: FactName) -> str | None:
    fact = line.fact(name)
    return None if fact is None else str(fact.value)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "public"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", "public"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("100.128.0.0", "public"),
        ("192.0.0.2", "ds-lite"),
        ("192.0.0.8", "reserved"),
        ("169.254.1.1", "link-local"),
        ("203.0.113.9", "documentation"),
        ("127.0.0.1", "reserved"),
        ("240.0.0.1", "reserved"),
        ("198.19.0.1", "reserved"),
        ("2400::1", "public"),
        ("2001:200::1", "public"),
        ("2001::1", "reserved"),
        ("2002:c000:201::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("fd00::1", "unique-local"),
        ("fe80::1", "link-local"),
        ("64:ff9b::1", "reserved"),
    ],
)
def test_kinds_of_addresses(address: str, kind: str) -> None:
    assert kind_of(ipaddress.ip_address(address)) == kind
    assert kind_of(None) is AddressKind.NONE


@given(st.ip_addresses())
def test_public_is_what_python_calls_global_but_for_the_shared_ones(address: IPAddress) -> None:
    kind = kind_of(address)
    if kind is AddressKind.PUBLIC:
        assert address.is_global
    elif kind in (AddressKind.PRIVATE, AddressKind.UNIQUE_LOCAL):
        assert address.is_private


def test_a_public_address_of_ones_own() -> None:
    line = judge(inputs(wan("203.0.113.2"), translates=True))
    assert (line.inbound4.answer, line.inbound4.confidence) == (Answer.YES, Confidence.POSSIBLE)
    assert value(line, F.WAN4) == "documentation"
    assert value(line, F.OWN_NAT) == "yes"
    assert value(line, F.SECOND_ROUTER) == "no"
    assert value(line, F.CGNAT) == "unknown"
    assert line.public4 == IPv4Address("203.0.113.2")
    assert line.outside_ports is None
    seen = judge(inputs(wan("203.0.113.2"), look("203.0.113.2", "203.0.113.2")))
    assert (seen.inbound4.answer, seen.inbound4.confidence) == (Answer.YES, Confidence.LIKELY)
    assert value(seen, F.CGNAT) == "no"
    public = seen.fact(F.PUBLIC4)
    assert public is not None
    assert (public.confidence, public.at) == (Confidence.CERTAIN, NOW - 60)
    assert str(SERVER) in public.evidence["ja"]


def test_a_private_address_is_evidence_and_no_verdict() -> None:
    line = judge(inputs(wan("192.168.0.5"), translates=False))
    assert line.inbound4.answer is Answer.UNKNOWN
    assert value(line, F.SECOND_ROUTER) == "yes"
    assert value(line, F.OWN_NAT) == "no"
    assert line.public4 is None
    seen = judge(inputs(wan("192.168.0.5"), look("192.168.0.5", "203.0.113.2")))
    assert seen.inbound4.answer is Answer.UNKNOWN
    assert value(seen, F.CGNAT) == "unknown"
    assert seen.public4 == IPv4Address("203.0.113.2")


def test_a_router_above_with_a_public_address_can_be_asked() -> None:
    line = judge(inputs(wan("192.168.0.5"), above="203.0.113.2"))
    assert line.inbound4.answer is Answer.YES
    assert value(line, F.SECOND_ROUTER) == "yes"
    assert line.public4 == IPv4Address("203.0.113.2")
    fact = line.fact(F.SECOND_ROUTER)
    assert fact is not None
    assert "pcp" in fact.evidence["en"]
    assert "203.0.113.2" in fact.evidence["ja"]
    same = judge(inputs(wan("192.168.0.5"), look("192.168.0.5", "203.0.113.2"), above="203.0.113.2"))
    assert (same.inbound4.answer, same.inbound4.confidence) == (Answer.YES, Confidence.LIKELY)
    assert value(same, F.CGNAT) == "no"


def test_a_router_above_that_tells_no_address() -> None:
    given = replace(inputs(wan("192.168.0.5")), above=Above("upnp", None, NOW))
    for address in (None, IPv4Address("0.0.0.0")):
        line = judge(replace(given, above=Above("upnp", address, NOW)))
        assert line.inbound4.answer is Answer.UNKNOWN
        assert value(line, F.SECOND_ROUTER) == "yes"
        assert line.public4 is None


@pytest.mark.parametrize("above", [None, "100.64.3.4", "192.168.77.1"])
def test_a_carriers_nat_leaves_it_open(above: str | None) -> None:
    local = "100.64.0.7" if above is None else "192.168.0.5"
    line = judge(inputs(wan(local), look(local, "203.0.113.2"), above=above))
    assert value(line, F.CGNAT) == "yes"
    assert line.inbound4.answer is Answer.UNKNOWN
    assert line.public4 == IPv4Address("203.0.113.2")


def test_a_public_address_that_the_internet_does_not_see() -> None:
    line = judge(inputs(wan("203.0.113.2"), look("203.0.113.2", "198.51.100.9")))
    assert (value(line, F.CGNAT), line.inbound4.answer) == ("yes", Answer.UNKNOWN)
    assert "198.51.100.9" in line.inbound4.why["en"]


def test_a_nat_that_passes_on_whatever_comes_is_told_and_still_not_believed() -> None:
    full_cone = look(
        "100.64.0.7",
        "203.0.113.2",
        mapping=MappingBehaviour.ENDPOINT_INDEPENDENT,
        filtering=FilteringBehaviour.ENDPOINT_INDEPENDENT,
    )
    line = judge(inputs(wan("100.64.0.7"), full_cone))
    assert value(line, F.NAT_MAPPING) == value(line, F.NAT_FILTERING) == "endpoint-independent"
    assert (line.inbound4.answer, line.inbound4.confidence) == (Answer.UNKNOWN, Confidence.LIKELY)
    proven = judge(inputs(wan("100.64.0.7"), full_cone, arrived4=NOW - 3600))
    assert (proven.inbound4.answer, proven.inbound4.confidence) == (Answer.YES, Confidence.CERTAIN)
    assert judge(inputs(wan("100.64.0.7"), full_cone, arrived4=NOW - 90000)).inbound4 == line.inbound4


@pytest.mark.parametrize(
    "mapping", [each for each in MappingBehaviour if each is not MappingBehaviour.UNKNOWN]
)
@pytest.mark.parametrize(
    "filtering", [each for each in FilteringBehaviour if each is not FilteringBehaviour.UNKNOWN]
)
def test_behaviour_is_told_with_what_was_seen(
    mapping: MappingBehaviour, filtering: FilteringBehaviour
) -> None:
    line = judge(inputs(wan("192.168.0.5"), look("192.168.0.5", "203.0.113.2", 1, mapping, filtering)))
    assert (value(line, F.NAT_MAPPING), value(line, F.NAT_FILTERING)) == (mapping, filtering)
    fact = line.fact(F.NAT_MAPPING)
    assert fact is not None
    assert "203.0.113.2:1" in fact.evidence["en"]


def test_looks_from_another_address_or_without_an_answer_count_for_nothing() -> None:
    bare = judge(inputs(wan("203.0.113.2")))
    other = look("203.0.113.77", "198.51.100.1")
    silent = Look(IPv4Address("203.0.113.2"), Behaviour((Seen(SERVER),)), NOW)
    unsent = Look(IPv4Address("203.0.113.2"), None, NOW, {"en": "x", "ja": "x"})
    assert judge(inputs(wan("203.0.113.2"), other, silent, unsent)) == bare


def test_of_several_addresses_a_public_one_counts() -> None:
    line = judge(inputs(wan("10.0.0.1", "203.0.113.2")))
    assert value(line, F.WAN4) == "documentation"
    assert line.public4 == IPv4Address("203.0.113.2")


@pytest.mark.parametrize(
    "given",
    [
        inputs(wan("192.0.0.2")),
        inputs(wan("192.168.0.5"), above="192.0.0.2"),
        inputs(wan("192.168.0.5"), settings=LineSettings(ds_lite=True)),
        inputs(wan("192.0.0.2"), settings=LineSettings(map_rules=RULES)),
    ],
)
def test_ds_lite_is_certain(given: Inputs) -> None:
    line = judge(given)
    assert (line.inbound4.answer, line.inbound4.confidence) == (Answer.NO, Confidence.CERTAIN)
    assert (value(line, F.DS_LITE), value(line, F.CGNAT)) == ("yes", "yes")
    assert line.public4 is None


def test_no_ipv4_is_certain_and_no_line_is_not() -> None:
    line = judge(inputs(wan(has4=False)))
    assert (line.inbound4.answer, line.inbound4.confidence) == (Answer.NO, Confidence.CERTAIN)
    assert value(line, F.WAN4) == "none"
    gone = judge(inputs(None))
    assert gone.interface is None
    assert {gone.inbound4.answer, gone.inbound6.answer} == {Answer.UNKNOWN}
    assert judge(inputs(wan(has4=True))).inbound4.answer is Answer.UNKNOWN  # a tunnel without an address


def test_map_e_ports_are_the_lines_own() -> None:
    settings = LineSettings(map_rules=RULES)
    line = judge(inputs(wan(SHARE), settings=settings))
    assert line.outside_ports == PORTS
    assert line.has_ports(PortRange(1232, 1235))
    assert not line.has_ports(PortRange(1232, 1236))
    assert (line.inbound4.answer, line.public4) == (Answer.YES, IPv4Address(SHARE))
    fact = line.fact(F.PORT_SET)
    assert fact is not None
    assert fact.confidence is Confidence.LIKELY
    assert "0x34" in fact.evidence["en"]
    assert str(PREFIX) in fact.evidence["ja"]
    seen = judge(inputs(wan(SHARE), look(SHARE, SHARE, 1233), settings=settings))
    fact = seen.fact(F.PORT_SET)
    assert fact is not None
    assert fact.confidence is Confidence.CERTAIN
    assert value(seen, F.CGNAT) == "no"


def test_map_e_in_the_router_above() -> None:
    settings = LineSettings(map_rules=RULES)
    line = judge(inputs(wan("192.168.0.5"), settings=settings))
    assert (line.outside_ports, line.inbound4.answer) == (PORTS, Answer.UNKNOWN)
    assert line.public4 == IPv4Address(SHARE)
    asked = judge(inputs(wan("192.168.0.5"), above=SHARE, settings=settings))
    assert (asked.outside_ports, asked.inbound4.answer) == (PORTS, Answer.YES)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (inputs(wan("203.0.113.2")), "203.0.113.2"),
        (inputs(wan("192.168.0.5"), above="203.0.113.2"), "203.0.113.2"),
        (inputs(wan("192.168.0.5"), look("192.168.0.5", "198.51.100.1", 1233)), "198.51.100.1"),
        (inputs(wan(SHARE), look(SHARE, "198.51.100.1", 1233)), "198.51.100.1"),
        (inputs(wan("192.168.0.5"), look("192.168.0.5", SHARE, 1236)), "1236"),
    ],
)
def test_a_rule_that_the_line_contradicts_limits_nothing(given: Inputs, says: str) -> None:
    line = judge(replace(given, settings=LineSettings(map_rules=RULES)))
    assert line.outside_ports is None
    assert value(line, F.PORT_SET) == "misfit"
    assert line.inbound4.answer is Answer.UNKNOWN
    assert says in line.inbound4.why["en"]


def test_ports_that_are_told_without_a_rule() -> None:
    settings = LineSettings(ports=PORTS)
    line = judge(inputs(wan("203.0.113.2", six=None), settings=settings))
    assert (line.outside_ports, line.inbound4.answer) == (PORTS, Answer.YES)
    wrong = judge(inputs(wan("203.0.113.2"), look("203.0.113.2", "203.0.113.2", 9), settings=settings))
    assert wrong.outside_ports is None


def test_a_whole_address_by_a_rule_limits_nothing() -> None:
    rules = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 8}])
    line = judge(inputs(wan(SHARE), settings=LineSettings(map_rules=rules)))
    assert line.outside_ports is None
    assert line.fact(F.PORT_SET) is None
    assert line.inbound4.answer is Answer.YES


def test_ipv6() -> None:
    local = "2001:db8:12:3400::2"
    given = inputs(wan("203.0.113.2"))
    assert judge(given).inbound6.answer is Answer.UNKNOWN
    assert value(judge(given), F.GLOBAL6) == local
    for known, answer in ((Firewall6.OPEN, Answer.YES), (Firewall6.FILTERED, Answer.NO)):
        assert judge(replace(given, settings=LineSettings(inbound6=known))).inbound6.answer is answer
    proven = judge(replace(given, arrived6=NOW, settings=LineSettings(inbound6=Firewall6.FILTERED)))
    assert proven.inbound6.answer is Answer.YES
    narrow = look(local, local, filtering=FilteringBehaviour.ADDRESS_AND_PORT_DEPENDENT)
    filtered = judge(replace(given, looks=(narrow,)))
    assert (filtered.inbound6.answer, filtered.inbound6.confidence) == (Answer.UNKNOWN, Confidence.LIKELY)
    assert value(filtered, F.PUBLIC6) == local
    local_only = judge(inputs(wan("203.0.113.2", six="fd00::1"), prefixes6=()))
    assert (local_only.inbound6.answer, local_only.inbound6.confidence) == (Answer.NO, Confidence.CERTAIN)
    assert value(local_only, F.GLOBAL6) == "none"


ADDRESSES = ["203.0.113.2", "192.168.0.5", "100.64.0.7", "192.0.0.2", SHARE, "169.254.1.1", "240.0.0.1"]


@given(
    st.lists(st.sampled_from(ADDRESSES), max_size=2),
    st.booleans(),
    st.none() | st.sampled_from(ADDRESSES),
    st.none() | st.tuples(st.sampled_from(ADDRESSES), st.integers(1, 65535)),
    st.booleans(),
    st.none() | st.just(PORTS),
    st.sampled_from(FilteringBehaviour),
)
def test_every_line_is_judged_and_only_what_is_certain_is_refused(
    own: list[str],
    has4: bool,
    above: str | None,
    seen: tuple[str, int] | None,
    ruled: bool,
    ports: PortSet | None,
    filtering: FilteringBehaviour,
) -> None:
    settings = LineSettings(map_rules=RULES if ruled else (), ports=ports)
    looks = [look(each, *seen, filtering=filtering) for each in own] if seen else []
    given = inputs(wan(*own, has4=has4), *looks, above=above, settings=settings)
    line = judge(given)
    assert judge(given) == line
    tunnelled = line.fact(F.DS_LITE) is not None
    assert (line.inbound4.answer is Answer.NO) == (tunnelled or not (own or has4))
    if line.inbound4.answer is Answer.NO:
        assert line.inbound4.confidence is Confidence.CERTAIN
    assert line.outside_ports in (None, PORTS)
    names = [each.name for each in line.facts]
    assert len(names) == len(set(names))
    for fact in line.facts:
        assert set(fact.evidence) == {"en", "ja"}
        assert "None" not in fact.evidence["en"]
        assert fact.at <= NOW


def test_the_wans_of_each_family() -> None:
    tunnel = Wan("mape", addresses4=(IPv4Address(SHARE),), has4=True)
    fibre = Wan("eth0", addresses6=(IPv6Address("2001:db8:12:3400::2"),), has6=True)
    assert wans_of(Network(wans=(tunnel, fibre))) == (tunnel, fibre)
    assert wans_of(Network(wans=(fibre,))) == (fibre, fibre)
    assert wans_of(Network()) == (None, None)


def test_the_prefixes_of_the_line() -> None:
    fibre = Wan(
        "eth0",
        addresses6=(IPv6Address("2001:db8:ffff::2"), IPv6Address("fd00::2")),
        prefixes=(net("2001:db8::/32"), net("2001:db8:ffff::/64")),
    )
    alone = Wan("ppp0", addresses6=(IPv6Address("2001:db8:eeee::2"),))
    lan = Lan("lan0", prefixes=(net("192.168.1.0/24"), net("2001:db8:12:3401::/64"), net("fd01::/64")))
    found = prefixes_of(Network(wans=(fibre, alone), lans=(lan,)))
    assert list(map(str, found)) == ["2001:db8:12:3401::/64", "2001:db8:ffff::/64", "2001:db8:eeee::2/128"]
