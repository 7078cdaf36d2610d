"""Permission rules in their text form."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import Interface, IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.permission import USUAL, Permission, allowed_outside, first_fit
from sekimori.testing.strategies import port_ranges, prefixes

_DEVICE = Owner(OwnerKind.DEVICE, "02:00:00:00:00:05")
_ASKER = Asker(ipaddress.ip_address("192.168.1.5"), "lan0")


def _permissions() -> st.SearchStrategy[Permission]:
    who = st.one_of(
        prefixes(),
        st.sampled_from([Interface("lan0"), Interface("br-lan.2"), "02:00:00:00:00:05"]),
    )
    common = {
        "who": st.lists(who, max_size=3, unique=True).map(tuple),
        "protocols": st.sampled_from([(), (IpProtocol.TCP,), (IpProtocol.TCP, IpProtocol.UDP)]),
        "outside": port_ranges(65535),
        "inside": port_ranges(65535),
        "description": st.none() | st.sampled_from(["Xbox.*", "a b", ""]),
    }
    allow = st.builds(
        Permission,
        allow=st.just(True),
        most=st.none() | st.integers(0, 65535),
        longest=st.integers(1, 30 * 86400),
        others=st.booleans(),
        **common,
    )
    return allow | st.builds(Permission, allow=st.just(False), **common)


@given(_permissions())
def test_what_is_written_is_read_back(rule: Permission) -> None:
    assert Permission.parse(str(rule)) == rule


@given(st.text())
def test_any_text_is_a_rule_or_a_problem(text: str) -> None:
    try:
        rule = Permission.parse(text)
    except Problem:
        return  # which one it is: `test_what_cannot_be_read_is_refused_with_the_rule`
    assert Permission.parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "allow",
        "permit all",
        "allow all tcp outside",
        "allow all outside 70000",
        "allow all most many",
        "allow all for ever",
        "allow all gre",
        "allow 192.168.1.5/24",
        "allow ff:ff:ff:ff:ff:ff",
        'allow all matching "("',
        'allow all matching "a',
        'allow all matching "a"b"',
    ],
)
def test_what_cannot_be_read_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(Problem) as refused:
        Permission.parse(text)
    assert refused.value.code == "bad-permission"
    assert text in refused.value.title()


def test_the_usual_rule_leaves_privileged_ports_alone() -> None:
    assert str(USUAL) == "allow all"
    fits = [
        USUAL.fits(IpProtocol.UDP, PortRange(port, port), PortRange(inside, inside), _DEVICE, _ASKER)
        for port, inside in ((1024, 65535), (1023, 5000), (5000, 1023))
    ]
    assert fits == [True, False, False]


@pytest.mark.parametrize(
    ("who", "fits"),
    [
        ("all", True),
        ("192.168.1.0/24", True),
        ("192.168.2.0/24", False),
        ("2001:db8::/32", False),
        ("02:00:00:00:00:05", True),
        ("02-00-00-00-00-05", True),
        ("02:00:00:00:00:06", False),
        ("on:lan0", True),
        ("on:lan1", False),
        ("192.168.2.0/24,on:lan0", True),
    ],
)
def test_whom_a_rule_is_about(who: str, fits: bool) -> None:
    rule = Permission.parse(f"allow {who}")
    ports = PortRange(5000, 5000)
    assert rule.fits(IpProtocol.UDP, ports, ports, _DEVICE, _ASKER) is fits


def test_a_range_must_lie_in_the_rules_ports_wholly() -> None:
    rule = Permission.parse("allow all udp outside 5000-5010")
    inside = PortRange(6000, 6001)
    assert rule.fits(IpProtocol.UDP, PortRange(5009, 5010), inside, _DEVICE, _ASKER)
    assert not rule.fits(IpProtocol.UDP, PortRange(5010, 5011), inside, _DEVICE, _ASKER)
    assert not rule.fits(IpProtocol.TCP, PortRange(5009, 5010), inside, _DEVICE, _ASKER)


@given(st.lists(_permissions(), max_size=5), st.integers(1, 65535))
def test_the_ports_that_are_allowed_are_those_where_the_first_rule_that_fits_allows(
    rules: list[Permission], port: int
) -> None:
    inside, outside = PortRange(5000, 5000), PortRange(port, port)
    asked = (IpProtocol.UDP, inside, _DEVICE, _ASKER, "a b")
    spaces = allowed_outside(rules, *asked)
    decides = first_fit(rules, IpProtocol.UDP, outside, inside, _DEVICE, _ASKER, "a b")
    within = [rule for rule, space in spaces if port in space]
    assert within == ([decides] if decides is not None and decides.allow else [])
