"""The dangerous services behind ports, however many ports there are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.preset import Preset
from sekimori.model.source import Sources
from sekimori.policy.risk import find_dangers
from sekimori.presets.load import load_presets
from sekimori.testing.table import Table

PRESETS = load_presets()
TABLE = Table(PRESETS)
MAPPING = TABLE.open("9000")
EVERYTHING = PortRange(1, 65535)


def _mapping(*pairs: PortPair) -> Mapping:
    return Mapping(
        id="01",
        name="n",
        owner=Owner(OwnerKind.PERSON, "alice"),
        ports=pairs,
        target=MAPPING.target,
        sources=Sources(anyone=True),
        lifetime=MAPPING.lifetime,
    )


def _walked(mapping: Mapping) -> list[Preset]:
    """Every port asked about, one by one."""
    ports = [(pair.protocol, port) for pair in mapping.ports for port in (*pair.inside, *pair.outside)]
    found = [PRESETS.danger_for(str(protocol), port) for protocol, port in ports]
    return [preset for preset in found if preset is not None]


@st.composite
def _pairs(draw: st.DrawFn) -> PortPair:
    size = draw(st.sampled_from([1, 2, 63, 64, 65, 66, 1000, 30000]))
    firsts = st.integers(1, 65536 - size) | st.sampled_from([1, 22, 23, 65536 - size]).filter(
        lambda first: first + size <= 65536
    )
    outside, inside = (PortRange(first, first + size - 1) for first in (draw(firsts), draw(firsts)))
    return PortPair(draw(st.sampled_from([IpProtocol.TCP, IpProtocol.UDP])), outside, inside)


@given(st.lists(_pairs(), min_size=1, max_size=2))
def test_what_is_found_is_what_asking_about_each_port_finds(pairs: list[PortPair]) -> None:
    mapping = _mapping(*pairs)
    found, walked = list(find_dangers(mapping, TABLE.rules)), _walked(mapping)
    assert {preset.name for preset in found} == {preset.name for preset in walked}
    # And the same one first, which is the one that is told.
    assert found[:1] == walked[:1]


@pytest.mark.parametrize("protocol", [IpProtocol.TCP, IpProtocol.UDP])
def test_every_port_at_once_is_no_long_walk(protocol: IpProtocol) -> None:
    mapping = _mapping(PortPair(protocol, EVERYTHING, EVERYTHING))
    assert list(find_dangers(mapping, TABLE.rules))  # the table of dangers is made once
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        list(find_dangers(mapping, TABLE.rules))
        took.append(time.perf_counter() - begun)
    assert min(took) < 0.005


def test_rules_of_another_make_are_asked_anew() -> None:
    other = Table(PRESETS, danger_for=lambda _protocol, port: PRESETS.get("ssh") if port == 5000 else None)
    mapping = _mapping(PortPair(IpProtocol.TCP, EVERYTHING, EVERYTHING))
    assert [preset.name for preset in find_dangers(mapping, other.rules)] == ["ssh"]
    assert len(list(find_dangers(mapping, TABLE.rules))) > 1


def test_a_wide_opening_is_refused_for_the_danger_of_its_lowest_inside_port() -> None:
    problem = TABLE.refuse(TABLE.submit("10000-10099:1-100", from_="anyone"))
    assert problem.code == "risk-not-accepted"
    first = _walked(_mapping(PortPair(IpProtocol.TCP, PortRange(10000, 10099), PortRange(1, 100))))[0]
    assert problem.facts["risk"] == first.danger
