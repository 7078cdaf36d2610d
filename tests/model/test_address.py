"""The grammar of ports and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import (
    IpProtocol,
    PortPair,
    PortRange,
    PortSpec,
    format_ports,
    looks_like_ports,
    parse_address,
    parse_ports,
)
from sekimori.model.errors import Problem
from sekimori.model.target import pair_ports
from sekimori.testing.strategies import port_pairs

TCP, UDP = IpProtocol.TCP, IpProtocol.UDP


def one(protocols: tuple[IpProtocol, ...], outside: str, inside: str | None = None) -> PortSpec:
    return PortSpec(protocols, PortRange.parse(outside), PortRange.parse(inside) if inside else None)


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("8080", (one((TCP,), "8080"),)),
        ("1", (one((TCP,), "1"),)),
        ("65535", (one((TCP,), "65535"),)),
        ("tcp/8080", (one((TCP,), "8080"),)),
        ("8080/tcp", (one((TCP,), "8080"),)),
        ("UDP/53", (one((UDP,), "53"),)),
        ("53/udp", (one((UDP,), "53"),)),
        ("udp/7000-7010", (one((UDP,), "7000-7010"),)),
        ("tcp+udp/53", (one((TCP, UDP), "53"),)),
        ("udp+tcp/53", (one((TCP, UDP), "53"),)),
        ("udp+udp/53", (one((UDP,), "53"),)),
        ("5136:25565", (one((TCP,), "5136", "25565"),)),
        ("5136:25565/udp", (one((UDP,), "5136", "25565"),)),
        ("8000-8010:9000-9010", (one((TCP,), "8000-8010", "9000-9010"),)),
        ("80-80:90", (one((TCP,), "80", "90"),)),
        ("80, udp/53", (one((TCP,), "80"), one((UDP,), "53"))),
        (" 80 ", (one((TCP,), "80"),)),
    ],
)
def test_ports_are_read(text: str, specs: tuple[PortSpec, ...]) -> None:
    assert parse_ports(text) == specs


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a port is missing"),
        ("80,", "a port is missing"),
        ("0", "ports go from 1 to 65535"),
        ("65536", "ports go from 1 to 65535"),
        ("80:0", "ports go from 1 to 65535"),
        ("1-65536", "ports go from 1 to 65535"),
        ("9000-8000", "the range runs backwards; write 8000-9000"),
        ("80-", "'80-' is not a port or a range of ports"),
        ("-80", "'-80' is not a port or a range of ports"),
        ("1-2-3", "'1-2-3' is not a port or a range of ports"),
        ("http", "'http' is not a port"),
        ("sctp/80", "'sctp' is not a protocol; use tcp, udp or tcp+udp"),
        ("tcp+/80", "'' is not a protocol; use tcp, udp or tcp+udp"),
        ("tcp/80/udp", "'tcp/80/udp' is not a port"),
        ("80:81:82", "'80:81:82' is not a port"),
        ("80:", "'80:' is not a port"),
        (":80", "':80' is not a port"),
        ("80 81", "'80 81' is not a port"),
        ("８０-8", "the range runs backwards; write 8-80"),
    ],
)
def test_what_is_no_port_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_ports(text)
    assert (caught.value.code, caught.value.fact("why"), caught.value.exit_code) == ("bad-ports", why, 2)


@pytest.mark.parametrize("text", ["8000-8010:9000", "80:90-91", "8000-8010:9000-9009"])
def test_ranges_of_different_length_are_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_ports(text)
    assert caught.value.code == "range-mismatch"
    assert caught.value.facts["outside_size"] != caught.value.facts["inside_size"]


@pytest.mark.parametrize("text", ["8080", "tcp/x", "80,81", "5136:25565", ":3000"])
def test_what_is_meant_as_ports_is_told_from_a_preset(text: str) -> None:
    assert looks_like_ports(text)


@pytest.mark.parametrize("text", ["minecraft", "", "home-assistant", "ssh"])
def test_what_is_meant_as_a_preset_is_told_from_ports(text: str) -> None:
    assert not looks_like_ports(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("[2001:DB8::5]", "2001:db8::5"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::", "::"),
        ("0.0.0.0", "0.0.0.0"),
    ],
)
def test_addresses_are_read(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.1/32", "host", "010.0.0.1", "1::2::3"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_address(text)
    assert caught.value.code == "bad-address"


def test_a_range_holds_its_ports() -> None:
    ports = PortRange(10, 12)
    assert (ports.size, list(ports), 10 in ports, 12 in ports, 9 in ports, 13 in ports) == (
        3,
        [10, 11, 12],
        True,
        True,
        False,
        False,
    )


@given(st.integers(1, 99), st.integers(0, 9), st.integers(1, 99), st.integers(0, 9))
def test_ranges_overlap_when_they_share_a_port(a: int, m: int, b: int, n: int) -> None:
    one, other = PortRange(a, a + m), PortRange(b, b + n)
    assert one.overlaps(other) is bool(set(one) & set(other))


@given(port_pairs())
def test_formatted_ports_are_read_back(pairs: tuple[PortPair, ...]) -> None:
    assert pair_ports(parse_ports(format_ports(pairs)), None, "self") == pairs


@given(st.permutations(["tcp/53", "udp/53", "tcp/80", "udp/70:71", "tcp/70:71"]))
def test_the_order_of_writing_does_not_change_what_is_read_back(parts: list[str]) -> None:
    # A ledger that gives other pairs back than it was given would look changed after every restart.
    pairs = pair_ports(parse_ports(",".join(parts)), None, "self")
    assert pair_ports(parse_ports(format_ports(pairs)), None, "self") == pairs
    assert len(pairs) == 5


def test_the_text_of_both_protocols_is_one() -> None:
    assert format_ports(pair_ports(parse_ports("udp/53,tcp/53,5136:25565"), None, "self")) == (
        "tcp+udp/53,tcp/5136:25565"
    )


@given(st.text(max_size=12))
def test_any_text_is_ports_or_a_problem(text: str) -> None:
    try:
        found = str(len(parse_ports(text)))
    except Problem as problem:
        found = problem.code
    assert found in {"bad-ports", "range-mismatch"} or int(found) > 0
