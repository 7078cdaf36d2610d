"""The grammar of ports and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.address import (
    WHOLE,
    Interface,
    IpProtocol,
    On,
    PortPair,
    PortRange,
    PortSpec,
    Span,
    UnixPath,
    format_ports,
    format_spans,
    looks_like_ports,
    parse_address,
    parse_on,
    parse_ports,
    parse_spans,
    parse_unix_path,
)
from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.model.target import pair_ports
from sekimori.testing.strategies import interfaces, outside_addresses, port_pairs, spans, unix_paths

TCP, UDP, SCTP = IpProtocol.TCP, IpProtocol.UDP, IpProtocol.SCTP
GRE, ESP, SIX, DMZ = IpProtocol.GRE, IpProtocol.ESP, IpProtocol.SIX_IN_FOUR, IpProtocol.DMZ


NO_PROTOCOL = "is not a protocol; use tcp, udp, tcp+udp, sctp, gre, esp, 6in4 or dmz"
AH = "AH signs the addresses of a packet (RFC 4302 §3.3.3), so no NAT can carry it; use ESP in UDP, udp/4500"


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
        ("sctp/2905", (one((SCTP,), "2905"),)),
        ("2905:2906/sctp", (one((SCTP,), "2905", "2906"),)),
        ("udp+sctp+tcp/80", (one((TCP, UDP, SCTP), "80"),)),
        ("gre", (PortSpec((GRE,), WHOLE, None),)),
        ("GRE", (PortSpec((GRE,), WHOLE, None),)),
        ("esp+gre", (PortSpec((GRE, ESP), WHOLE, None),)),
        ("6in4", (PortSpec((SIX,), WHOLE, None),)),
        ("dmz", (PortSpec((DMZ,), WHOLE, None),)),
        ("tcp/1723, gre", (one((TCP,), "1723"), PortSpec((GRE,), WHOLE, None))),
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
        ("icmp/80", f"'icmp' {NO_PROTOCOL}"),
        ("tcp+/80", f"'' {NO_PROTOCOL}"),
        ("gre/80", "gre has no ports; write gre alone"),
        ("80/esp", "esp has no ports; write esp alone"),
        ("tcp+gre/80", "gre has no ports; write gre alone"),
        ("dmz/80", "dmz has no ports; write dmz alone"),
        ("tcp+gre", "'tcp+gre' is not a port"),
        ("gre:80", "'gre:80' is not a port"),
        ("tcp", "'tcp' is not a port"),
        ("ah", AH),
        ("ah/80", AH),
        ("esp+ah", AH),
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


@pytest.mark.parametrize(
    "text", ["8080", "tcp/x", "80,81", "5136:25565", ":3000", "gre", "ESP", "6in4", "dmz", "ah", "gre+esp"]
)
def test_what_is_meant_as_ports_is_told_from_a_preset(text: str) -> None:
    assert looks_like_ports(text)


@pytest.mark.parametrize(
    "text", ["minecraft", "", "home-assistant", "ssh", "greylog", "dmz-host", "tcp", "gre+"]
)
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


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("eth0", Interface("eth0")),
        (" ppp0 ", Interface("ppp0")),
        ("wg-home.5", Interface("wg-home.5")),
        ("veth1@if2", Interface("veth1@if2")),
        ("Ethernet0", Interface("Ethernet0")),
        ("abcdefghijklmno", Interface("abcdefghijklmno")),
        ("dead", Interface("dead")),
        ("192.0.2.1", parse_address("192.0.2.1")),
        ("[2001:db8::1]", parse_address("2001:db8::1")),
        ("fe80::1", parse_address("fe80::1")),
        ("::", parse_address("::")),
    ],
)
def test_an_interface_is_told_from_an_address(text: str, meant: On) -> None:
    assert parse_on(text) == meant


@pytest.mark.parametrize("text", ["", "eth 0", "eth0:1", "0eth", "abcdefghijklmnop", "eth/0", "é0"])
def test_what_is_neither_an_address_nor_an_interface_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_on(text)
    assert caught.value.code == "bad-address"


@given(outside_addresses() | interfaces())
def test_where_ports_are_claimed_is_read_back(on: On | None) -> None:
    if on is not None:
        assert parse_on(str(on)) == on


def test_protocols_have_ports_or_not_and_the_numbers_of_iana() -> None:
    assert {each for each in IpProtocol if each.has_ports} == {TCP, UDP, SCTP}
    assert [each.number for each in (TCP, UDP, SCTP, GRE, ESP, SIX, DMZ)] == [6, 17, 132, 47, 50, 41, 0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp/443", "tcp/443"),
        ("443", "tcp/443"),
        ("udp/443,tcp/443", "tcp+udp/443"),
        ("tcp/80,tcp+udp/80", "tcp+udp/80"),
        ("udp/3000-3009", "udp/3000-3009"),
        ("gre,tcp/443", "gre,tcp/443"),
        ("tcp/443,gre", "gre,tcp/443"),
    ],
)
def test_spans_are_read_in_one_order(text: str, shown: str) -> None:
    read = parse_spans(text)
    assert format_spans(read) == shown
    assert parse_spans(shown) == read


@given(spans())
def test_formatted_spans_are_read_back(drawn: tuple[Span, ...]) -> None:
    assert parse_spans(format_spans(drawn)) == drawn


def test_a_span_has_no_inside() -> None:
    with pytest.raises(Problem) as caught:
        parse_spans("80,81:82")
    assert (caught.value.code, caught.value.fact("why")) == (
        "bad-ports",
        "these ports lead nowhere; write no inside port",
    )


def test_spans_and_pairs_without_ports_are_told_by_their_protocol() -> None:
    assert (str(Span(GRE, WHOLE)), str(Span(UDP, PortRange(5, 6)))) == ("gre", "udp/5-6")
    assert str(PortPair(ESP, WHOLE, WHOLE)) == "esp"


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


@given(st.permutations(["tcp/53", "udp/53", "gre", "udp/70:71", "tcp/70:71"]))
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


@given(unix_paths())
def test_a_path_is_read_back(path: UnixPath) -> None:
    assert parse_on(str(path)) == parse_unix_path(str(path)) == path
    assert (path.version, path.is_unspecified) == (0, False)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/App.sock", "/run/App.sock"),  # the case of a path matters
        (" unix:/run//a.sock ", "/run/a.sock"),
        ("unix:/run/a b,c:80.sock", "/run/a b,c:80.sock"),
        ("unix:/" + "x" * 106, "/" + "x" * 106),
    ],
)
def test_paths_are_read(text: str, path: str) -> None:
    assert parse_unix_path(text) == UnixPath(path)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("unix:", "absolute path"),
        ("unix:app.sock", "absolute path"),
        ("unix:/", "absolute path"),
        ("unix:/run/", "absolute path"),
        ("unix:/run/../etc/a", "'..'"),
        ("unix:/run/./a", "'.'"),
        ("unix:/run/a\0b", "cannot be shown"),
        ("unix:/run/a\nb", "cannot be shown"),
        ("unix:/run/\udcff", "cannot be shown"),
        ("unix:/" + "x" * 107, "107 bytes"),
        ("unix:/" + "é" * 54, "107 bytes"),
    ],
)
def test_what_is_no_path_of_a_socket_is_refused(text: str, key: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_unix_path(text)
    assert key in caught.value.why["en"]
    with pytest.raises(Problem) as refused:
        parse_on(text)
    assert refused.value.code == "bad-address"


def test_a_path_outside_may_lead_to_a_port() -> None:
    unix = IpProtocol.UNIX
    (spec,) = parse_ports("unix:5432")
    assert spec == PortSpec((unix,), WHOLE, PortRange(5432, 5432))
    for text in ("unix", "unix:5432"):
        pairs = pair_ports(parse_ports(text), None, "db")
        assert (format_ports(pairs), str(pairs[0])) == (text, text)
    assert pair_ports(parse_ports("unix"), PortRange(80, 80), "db") == pair_ports(
        parse_ports("unix:80"), None, "db"
    )
    for ports, inside in (("unix", PortRange(80, 81)), ("unix", WHOLE)):
        with pytest.raises(Problem) as caught:
            pair_ports(parse_ports(ports), inside, "db")
        assert caught.value.code == "range-mismatch"
