"""What each kind of mapping is in the kernel's sets, and that no two mappings share an element."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from sekimori.planes.kernel.elements import counts, inside_addresses, is_pinhole, render
from sekimori.planes.kernel.sets import GLOBAL_SETS, SCOPE_SETS
from sekimori.reconcile.ports import Wanted
from sekimori.wire.nftelements import address_port_data, address_port_key, port_data, port_key

from .tracked import NOW, UDP, wanted

SERVER, SERVER6 = "192.168.1.10", "2001:db8:3::10"
PACKED = ip_address(SERVER).packed


def stems(mapping: Wanted) -> dict[str, int]:
    """How many elements stand in each set."""
    found: dict[str, int] = {}
    for item in render(mapping):
        found[item.set] = found.get(item.set, 0) + 1
    return found


@pytest.mark.parametrize(
    ("ports", "to", "words", "expected"),
    [
        ("tcp/80", SERVER, {}, {"fwd4_all": 1, "in_all": 1, "out_all": 1}),
        ("tcp+udp/80", f"{SERVER} 8080", {}, {"fwd4_all": 2, "sym4": 2, "in_all": 2, "out_all": 2}),
        ("udp/7000-7003", SERVER, {}, {"fwdr4_all": 1, "inr_all": 1, "outr_all": 1}),
        ("udp/7000-7003", f"{SERVER} 8000-8003", {}, {"fwd4_all": 4, "sym4": 4, "in_all": 4, "out_all": 4}),
        ("gre", SERVER, {}, {"fwdp4_all": 1, "inp_all": 1, "outp_all": 1}),
        (
            "tcp/80",
            SERVER,
            {"sources": "192.0.2.0/24"},
            {"fwd4_all": 1, "in_all": 1, "out_all": 1, "gate_all": 1},
        ),
        ("tcp/80", SERVER, {"sources": "lan"}, {"fwd4_all": 1, "in_all": 1, "out_all": 1, "lan_all": 1}),
        ("udp/7-9", SERVER, {"sources": "lan"}, {"fwdr4_all": 1, "inr_all": 1, "outr_all": 1, "lanr_all": 1}),
        ("tcp/80", "self", {}, {"own_all": 1, "fresh_all": 1, "out_all": 1}),
        ("tcp/80-90", "self", {}, {"ownr_all": 1, "freshr_all": 1, "outr_all": 1}),
        ("tcp/443", SERVER6, {}, {"hole": 1, "holefresh": 1, "holeout": 1}),
        ("tcp/443-450", SERVER6, {}, {"holer": 1, "holefreshr": 1, "holeoutr": 1}),
        ("tcp/443", "::10/-64", {}, {"holes": 1, "holefreshs": 1, "holeouts": 1}),
        (
            "esp",
            SERVER6,
            {"sources": "2001:db8::/32"},
            {"holep": 1, "holefreshp": 1, "holeoutp": 1, "holegatep": 1},
        ),
        ("tcp/8443", f"{SERVER6} 443", {}, {"fwd6_all": 1, "in_all": 1, "out_all": 1}),
        (
            "tcp/443",
            "nas.lan",
            {"targets": (SERVER, SERVER6)},
            {"fwd4_all": 1, "in_all": 1, "out_all": 1, "hole": 1, "holefresh": 1, "holeout": 1},
        ),
    ],
)  # fmt: skip
def test_the_sets_of_each_kind(ports: str, to: str, words: dict[str, Any], expected: dict[str, int]) -> None:
    assert stems(wanted("m1", ports, to, **words)) == expected


@pytest.mark.parametrize(
    ("on", "scope"),
    [
        (None, "all"),
        ("0.0.0.0", "at_0_2e_0_2e_0_2e_0"),
        ("203.0.113.2", "at_203_2e_0_2e_113_2e_2"),
        ("wan0", "if_wan0"),
        ("ppp-0.1", "if_ppp_2d_0_2e_1"),
        ("ppp_2d_0", "if_ppp_5f_2d_5f_0"),
    ],
)
def test_a_scope_has_sets_of_its_own(on: str | None, scope: str) -> None:
    found = stems(wanted("m1", "tcp/80", SERVER, on=on))
    assert set(found) == {f"fwd4_{scope}", f"in_{scope}", f"out_{scope}"}


def test_every_port_of_a_shifted_range_leads_to_its_own() -> None:
    items = render(wanted("m1", "udp/7000-7002", f"{SERVER} 8000-8002"))
    leads = {item.key: item.data for item in items if item.set == "fwd4_all"}
    assert leads == {
        port_key(UDP, 7000 + number): address_port_data(PACKED, 8000 + number) for number in range(3)
    }
    turns = {item.key: item.data for item in items if item.set == "sym4"}
    assert turns == {
        address_port_key(UDP, PACKED, 8000 + number): port_data(7000 + number) for number in range(3)
    }


def test_what_lets_in_ends_by_itself_and_who_may_a_little_later() -> None:
    for ports, to in (("tcp/80", SERVER), ("tcp/80-90", SERVER), ("tcp/443", SERVER6), ("tcp/22", "self")):
        mapping = replace(
            wanted("m1", ports, to, sources="192.0.2.0/24,2001:db8::/32"), accept_until=NOW + 60.0
        )
        ends = {item.set.partition("_")[0]: item.until for item in render(mapping)}
        for stem, until in ends.items():
            kind = SCOPE_SETS.get(stem) or GLOBAL_SETS[stem]
            if stem.startswith(("gate", "holegate", "lan")):
                assert until is not None
                assert NOW + 60 < until < NOW + 70
            elif stem.startswith(("fwd", "own")) or stem in ("hole", "holer"):
                assert until == NOW + 60.0, stem
            else:
                assert until is None, "what counts has a counter that must not end"
            assert until is None or kind.expires


def test_mappings_of_different_ports_share_no_element_but_inside_ports() -> None:
    mappings = [
        wanted("m1", "tcp+udp/80-90", f"{SERVER} 180-190"),
        wanted("m2", "tcp+udp/91", f"{SERVER} 180"),
        wanted("m3", "tcp/92", "self"),
        wanted("m4", "tcp+udp/93-99", SERVER),
        wanted("m5", "tcp/80-90", f"{SERVER} 180-190", on="203.0.113.2"),
        wanted("m6", "gre", SERVER),
        wanted("m7", "tcp/443", SERVER6),
    ]
    seen: set[tuple[str, bytes]] = set()
    for mapping in mappings:
        places = {(item.set, item.key) for item in render(mapping) if item.set != "sym4"}
        assert not places & seen
        seen |= places
        assert len(places) == len([item for item in render(mapping) if item.set != "sym4"])
    claims = [item for mapping in mappings for item in render(mapping) if item.set == "sym4"]
    assert len({item.key for item in claims}) < len(claims)


@pytest.mark.parametrize(
    ("set_name", "way"),
    [
        ("in_all", "in"),
        ("ownr_if_wan0", "in"),
        ("hole", "in"),
        ("out_all", "out"),
        ("holeoutsr", "out"),
        ("fwd4_all", "new"),
        ("fwdp6_at_1", "new"),
        ("fresh_all", "new"),
        ("holefreshs", "new"),
        ("gate_all", "asked"),
        ("lan_all", "asked"),
        ("holegatea", "asked"),
        ("sym4", None),
        ("dmzx_all", None),
        ("trig6", None),
    ],
)
def test_what_an_element_counts(set_name: str, way: str | None) -> None:
    assert counts(set_name) == way


def test_the_best_address_of_each_family_is_led_to() -> None:
    mapping = wanted("m1", "tcp/80", "nas.lan", targets=(SERVER6, SERVER, "192.168.1.11", "2001:db8:3::11"))
    assert inside_addresses(mapping) == (ip_address(SERVER), ip_address(SERVER6))
    four = wanted("m1", "tcp/80", "nas.lan", targets=(SERVER6, SERVER), on="203.0.113.2")
    assert inside_addresses(four) == (ip_address(SERVER), None)
    six = wanted("m1", "tcp/80", "nas.lan", targets=(SERVER6, SERVER), on="2001:db8:2::2")
    assert inside_addresses(six) == (None, ip_address(SERVER6))
    assert is_pinhole(mapping.mapping)
    assert not is_pinhole(six.mapping), "an address of the gateway's own is translated"
