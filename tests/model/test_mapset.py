"""Shared addresses: the worked examples of RFC 7597, and what holds for every set of ports."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import PortRange
from sekimori.model.causes import Unreadable
from sekimori.model.mapset import MapRule, PortSet, find_share, parse_port_set, parse_rules

PREFIX = IPv6Network("2001:db8:12:3400::/56")
SHARED = MapRule(IPv6Network("2001:db8::/40"), IPv4Network("192.0.2.0/24"), 16)


@st.composite
def port_sets(draw: st.DrawFn) -> PortSet:
    offset = draw(st.integers(0, 15))
    length = draw(st.integers(0, 16 - offset))
    least = int(offset == 0 and length == 16)
    return PortSet(offset, length, draw(st.integers(least, (1 << length) - 1)))


def members(ports: PortSet) -> list[int]:
    """Bit by bit, as the RFC draws it (figure 2)."""
    rest = 16 - ports.offset - ports.length
    found = []
    for port in range(1, 65536):
        bits = f"{port:016b}"
        psid = bits[ports.offset : 16 - rest]
        if (not ports.length or int(psid, 2) == ports.psid) and (
            not ports.offset or "1" in bits[: ports.offset]
        ):
            found.append(port)
    return found


def test_example_1_of_rfc_7597() -> None:
    share = SHARED.share_of(PREFIX)
    assert share is not None
    assert share.address == IPv4Address("192.0.2.18")
    assert share.ports == PortSet(6, 8, 0x34)
    ranges = [str(each) for each in share.ports.ranges()]
    assert (ranges[:2], ranges[-2:]) == (["1232-1235", "2256-2259"], ["63696-63699", "64720-64723"])
    assert len(ranges) == 63
    assert str(share.ports) == "1232-1235, 2256-2259, …, 64720-64723 (252)"


def test_example_4_no_embedded_bits_and_no_sharing() -> None:
    share = MapRule(PREFIX, IPv4Network("192.0.2.18/32"), 0).share_of(PREFIX)
    assert share is not None
    assert (share.address, share.ports) == (IPv4Address("192.0.2.18"), None)


def test_no_embedded_bits_and_a_psid_that_is_told() -> None:
    share = MapRule(PREFIX, IPv4Network("192.0.2.18/32"), 0, explicit=(8, 0x34)).share_of(PREFIX)
    assert share is not None
    assert share.address == IPv4Address("192.0.2.18")
    assert share.ports == PortSet(6, 8, 0x34)


def test_v6plus_has_240_ports_in_15_blocks() -> None:
    (rule,) = parse_rules([{"ipv6": "2404:7a80::/31", "ipv4": "133.200.0.0/15", "ea": 25, "offset": 4}])
    share = rule.share_of(IPv6Network("2404:7a81:0203:4500::/56"))
    assert share is not None
    # /31 + 25: the bit after the rule's 31 and the next 16 complete the address, the last 8 are the PSID.
    assert share.address == IPv4Address("133.201.2.3")
    assert share.ports == PortSet(4, 8, 0x45)
    assert share.ports.size == 240
    assert next(iter(share.ports)) == 4096 + 0x45 * 16
    # A /64 of it, as a router advertises without delegation, tells the same.
    assert rule.share_of(IPv6Network("2404:7a81:0203:4500::/64")) == share


def test_a_rule_that_gives_whole_addresses_or_several() -> None:
    one = MapRule(IPv6Network("2001:db8::/40"), IPv4Network("192.0.2.0/24"), 8).share_of(PREFIX)
    assert one is not None
    assert (one.network, one.ports) == (IPv4Network("192.0.2.18/32"), None)
    four = MapRule(IPv6Network("2001:db8::/40"), IPv4Network("192.0.2.0/24"), 6).share_of(PREFIX)
    assert four is not None
    assert (four.network, four.ports) == (IPv4Network("192.0.2.16/30"), None)


def test_the_rule_with_the_longest_prefix_counts_and_the_first_line_prefix_that_has_one() -> None:
    wider = MapRule(IPv6Network("2001:db8::/32"), IPv4Network("198.51.100.0/24"), 16)
    for rules in ([wider, SHARED], [SHARED, wider]):
        found = find_share(rules, [IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8:ff00::/56"), PREFIX])
        assert found is not None
        assert (found[0], found[1].rule) == (IPv6Network("2001:db8:ff00::/56"), wider)
        found = find_share(rules, [IPv6Network("2001:db9::/56"), PREFIX])
        assert found is not None
        assert (found[0], found[1].rule) == (PREFIX, SHARED)
    assert find_share([SHARED], [IPv6Network("2001:db9::/56")]) is None
    assert find_share([SHARED], [IPv6Network("2001:db8::/48")]) is None  # the EA bits are not all in it


@pytest.mark.parametrize(
    ("offset", "length", "psid"),
    [
        (6, 8, 0x34),
        (4, 8, 0),
        (4, 8, 255),
        (0, 8, 0),
        (0, 8, 7),
        (0, 0, 0),
        (6, 0, 0),
        (15, 1, 1),
        (0, 16, 9),
    ],
)
def test_sets_hold_what_the_bits_say(offset: int, length: int, psid: int) -> None:
    ports = PortSet(offset, length, psid)
    wanted = members(ports)
    assert list(ports) == wanted
    assert [each for each in range(-1, 65537) if each in ports] == wanted
    assert len(ports) == ports.size == len(wanted)
    assert [ports.nth(each) for each in range(len(wanted))] == wanted


@given(port_sets(), st.integers(-5, 70000))
def test_places(ports: PortSet, port: int) -> None:
    place = ports.place_of(port)
    assert place == 0 or ports.nth(place - 1) < port
    assert place == ports.size or ports.nth(place) >= port
    for index in (-1, ports.size):
        with pytest.raises(IndexError):
            ports.nth(index)


@given(port_sets(), st.integers(1, 65535), st.integers(0, 300))
def test_a_range_is_held_where_each_of_its_ports_is(ports: PortSet, first: int, more: int) -> None:
    several = PortRange(first, min(first + more, 65535))
    assert ports.holds(several) == all(each in ports for each in several)


@given(port_sets(), st.integers(1, 65535), st.sets(st.integers(0, 40)), st.integers(1, 3))
def test_the_next_free_port(ports: PortSet, after: int, places: set[int], count: int) -> None:
    taken = {ports.nth(each) for each in places if each < min(ports.size, 40)}
    found = ports.next_free(after, lambda port: port not in taken, count)

    def fits(first: int) -> bool:
        row = range(first, first + count)
        return all(each in ports and each not in taken for each in row)

    start = ports.place_of(after + 1)
    order = [ports.nth((start + each) % ports.size) for each in range(min(ports.size, 200))]
    wanted = next((each for each in order if fits(each)), None)
    if wanted is not None or ports.size <= 200:
        assert found == wanted


def test_a_port_itself_is_found_last() -> None:
    ports = PortSet(6, 8, 0x34)
    assert ports.next_free(1233, lambda port: True) == 1234
    assert ports.next_free(64723, lambda port: True) == 1232
    assert ports.next_free(1233, lambda port: port == 1233) == 1233
    assert ports.next_free(1233, lambda port: False) is None
    assert ports.next_free(1233, lambda port: True, count=5) is None


@pytest.mark.parametrize(
    "bits", [(16, 0, 0), (-1, 0, 0), (8, 9, 0), (6, -1, 0), (6, 8, 256), (6, 8, -1), (0, 16, 0)]
)
def test_bits_that_do_not_fit(bits: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        PortSet(*bits)


RULE = {"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 16}


def test_rules_are_read() -> None:
    told = {"ipv6": "2001:db8::/56", "ipv4": "192.0.2.18", "ea": 0, "psid": 0x34, "psid_length": 8}
    assert parse_rules([RULE, {**RULE, "offset": 4}, told]) == (
        SHARED,
        MapRule(SHARED.ipv6, SHARED.ipv4, 16, 4),
        MapRule(IPv6Network("2001:db8::/56"), IPv4Network("192.0.2.18/32"), 0, 6, (8, 0x34)),
    )
    assert parse_rules([]) == ()
    assert parse_port_set({"psid_length": 8, "psid": 0x34}) == PortSet(6, 8, 0x34)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        ["x"],
        [{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24"}],
        [{"ipv4": "192.0.2.0/24", "ea": 16}],
        [{**RULE, "eal": 5}],
        [{**RULE, "ea": "16"}],
        [{**RULE, "ea": True}],
        [{**RULE, "ea": 49}],
        [{**RULE, "ea": -1}],
        [{**RULE, "ea": 32}],  # 40 + 32 bits are more than a line's prefix
        [{**RULE, "ipv6": "2001:db8::1/40"}],
        [{**RULE, "ipv6": "192.0.2.0/24"}],
        [{**RULE, "ipv4": "2001:db8::/40"}],
        [{**RULE, "ipv4": 7}],
        [{**RULE, "ea": 24, "offset": 4}],  # a PSID of 16 bits, and 12 are left
        [{**RULE, "offset": 16}],
        [{**RULE, "psid": 1, "psid_length": 8}],  # bits are embedded, and no whole address
        [{**RULE, "ea": 8, "psid": 1}],
        [{**RULE, "ea": 8, "psid": 256, "psid_length": 8}],
        [{**RULE, "ea": 8, "psid": 1, "psid_length": 11}],
    ],
)
def test_bad_rules_are_refused_with_a_cause_in_both_languages(value: object) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_rules(value)
    assert caught.value.why["en"] != caught.value.why["ja"]
    if isinstance(value, list):
        assert str(caught.value).startswith("rule 1: ")


@pytest.mark.parametrize("value", [5, {}, {"psid": 1}, {"psid_length": 8, "psid": 256}, {"x": 1}])
def test_bad_port_sets_are_refused(value: object) -> None:
    with pytest.raises(Unreadable):
        parse_port_set(value)


@pytest.mark.parametrize(
    ("ea", "offset", "explicit"),
    [(49, 6, None), (25, 6, None), (24, 4, None), (16, 6, (8, 1)), (8, 6, (8, 256)), (-1, 6, None)],
)
def test_rules_that_contradict_themselves(ea: int, offset: int, explicit: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError):
        MapRule(IPv6Network("2001:db8::/40"), IPv4Network("192.0.2.0/24"), ea, offset, explicit)


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**24 - 1))
def test_every_subscriber_has_ports_of_its_own(embedded: int, below: int) -> None:
    network = int(SHARED.ipv6.network_address) | embedded << 72
    share = SHARED.share_of(IPv6Network((network | below << 48, 80)))
    other = SHARED.share_of(IPv6Network((network ^ 1 << 72, 56)))
    assert share is not None
    assert other is not None
    assert share.ports is not None
    assert other.ports is not None
    assert int(share.address) - int(SHARED.ipv4.network_address) == embedded >> 8
    assert share.ports.psid == embedded & 0xFF
    assert share.address == other.address
    assert not set(share.ports) & set(other.ports)
