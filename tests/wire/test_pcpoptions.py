"""Options of PCP: the figures of RFC 6887 §13 and RFC 7753, what is refused how, and any bytes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sekimori.wire.pcpfields import BadRequest, Result
from sekimori.wire.pcpoptions import (
    Filter,
    Option,
    OptionCode,
    PortSet,
    PreferFailure,
    ThirdParty,
    decode_options_untrusted,
    encode_options,
    filters_after,
)

ALL = tuple(OptionCode)
V4_ANY = "00000000 00000000 0000ffff 00000000"
V4 = "00000000 00000000 0000ffff c0000201"
V6 = "20010db8 00000000 00000000 00000001"

OPTIONS: list[tuple[str, Option]] = [
    (f"01 00 0010 {V4}", ThirdParty(IPv4Address("192.0.2.1"))),
    (f"01 00 0010 {V6}", ThirdParty(IPv6Address("2001:db8::1"))),
    ("02 00 0000", PreferFailure()),
    (f"03 00 0014 00 80 01bb {V6}", Filter(IPv6Address("2001:db8::1"), 128, 443)),
    (f"03 00 0014 00 78 0000 {V4}", Filter(IPv4Address("192.0.2.1"), 120, 0)),
    (f"03 00 0014 00 60 0000 {V4_ANY}", Filter(IPv4Address("0.0.0.0"), 96, 0)),
    ("03 00 0014 00 00 0000" + "00" * 16, Filter(IPv6Address("::"), 0, 0)),
    (f"03 00 0014 00 00 0000 {V4_ANY}", Filter(IPv4Address("0.0.0.0"), 0, 0)),
    ("82 00 0005 0010 1f90 80 000000", PortSet(16, 8080, parity=True)),
    ("82 00 0005 ffff 0001 00 000000", PortSet(65535, 1, parity=False)),
]

ports = st.integers(0, 65535)
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6).filter(lambda each: not str(each).startswith("::ffff:"))
options: SearchStrategy[Option] = st.one_of(
    st.builds(ThirdParty, v4 | v6),
    st.just(PreferFailure()),
    st.builds(Filter, v4, st.just(0) | st.integers(96, 128), ports),
    st.builds(Filter, v6, st.integers(0, 128), ports),
    st.builds(PortSet, st.integers(1, 65535), ports, st.booleans()),
)


def kind(option: Option) -> object:
    """Each but FILTER may be there once."""
    return option if isinstance(option, Filter) else type(option)


several = st.lists(options, max_size=8, unique_by=kind).map(tuple)


@pytest.mark.parametrize(("text", "option"), OPTIONS)
def test_options_are_the_bytes_of_the_figures(text: str, option: Option) -> None:
    assert encode_options([option]) == bytes.fromhex(text)
    assert decode_options_untrusted(bytes.fromhex(text), ALL) == (option,)


def test_order_is_kept() -> None:
    text = "82 00 0005 0010 1f90 00 000000" + "02 00 0000" + f"01 00 0010 {V4}"
    found = decode_options_untrusted(bytes.fromhex(text), ALL)
    assert [type(each) for each in found] == [PortSet, PreferFailure, ThirdParty]


def test_reserved_bytes_and_padding_say_nothing() -> None:
    text = "82 ff 0005 0010 1f90 7f ffffff" + f"03 ff 0014 ff 78 0000 {V4}"
    assert decode_options_untrusted(bytes.fromhex(text), ALL) == (
        PortSet(16, 8080, parity=False),
        Filter(IPv4Address("192.0.2.1"), 120, 0),
    )


@pytest.mark.parametrize(
    "text",
    [
        # The length runs over the end (miniupnpd read on behind its buffer here).
        "01 00 ffff" + "00" * 16,
        "01 00 0011" + "00" * 16,
        "03 00 0014 00 80 01bb",
        "02 00 0001",
        "02 00 fffd",
        "fe 00 0001",
        "02",
        "02 00 00",
        "02 00 0000 02 00",
        # not the length of its option
        "01 00 0000",
        "01 00 0004 c0000201",
        "01 00 0014" + "00" * 20,
        "02 00 0004 00000000",
        "03 00 0010" + "00" * 16,
        "03 00 0018" + "00" * 24,
        "82 00 0004 0010 1f90",
        "82 00 0006 0010 1f90 80 000000",
        # not its values
        f"03 00 0014 00 81 0000 {V6}",
        f"03 00 0014 00 ff 0000 {V6}",
        f"03 00 0014 00 5f 0000 {V4}",
        f"03 00 0014 00 18 0000 {V4}",
        f"03 00 0014 00 01 0000 {V4_ANY}",
        "82 00 0005 0000 1f90 00 000000",
        # more often than once
        "02 00 0000 02 00 0000",
        f"01 00 0010 {V4} 01 00 0010 {V6}",
        "82 00 0005 0010 1f90 80 000000" * 2,
        # what breaks the structure comes before what is not known
        "7f 00 0000 01 00 ffff",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_options_untrusted(bytes.fromhex(text), ALL)
    assert raised.value.result is Result.MALFORMED_OPTION


@pytest.mark.parametrize("text", ["04 00 0000", "00 00 0000", "7f 00 0003 00000000", "02 00 0000 05 00 0000"])
def test_an_unknown_mandatory_option_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decode_options_untrusted(bytes.fromhex(text), ALL)
    assert raised.value.result is Result.UNSUPP_OPTION


def test_unknown_optional_ones_are_passed_over_as_often_as_they_come() -> None:
    text = "80 00 0003 01020300" + "ff 00 0000" + "02 00 0000" + "80 00 0000"
    assert decode_options_untrusted(bytes.fromhex(text), ALL) == (PreferFailure(),)


def test_what_an_opcode_cannot_have() -> None:
    valid = [OptionCode.THIRD_PARTY]
    assert decode_options_untrusted(bytes.fromhex("82 00 0005 0010 1f90 80 000000"), valid) == ()
    with pytest.raises(BadRequest) as raised:
        decode_options_untrusted(bytes.fromhex("02 00 0000"), valid)
    assert raised.value.result is Result.UNSUPP_OPTION


def test_in_a_response_unknown_ones_are_passed_over() -> None:
    data = bytes.fromhex("7f 00 0000 02 00 0000")
    assert decode_options_untrusted(data, ALL, in_response=True) == (PreferFailure(),)


@pytest.mark.parametrize(
    ("address", "length", "network"),
    [
        ("192.0.2.77", 128, "192.0.2.77/32"),
        ("192.0.2.77", 120, "192.0.2.0/24"),
        ("192.0.2.77", 96, "0.0.0.0/0"),
        ("2001:db8::77", 128, "2001:db8::77/128"),
        ("2001:db8::77", 32, "2001:db8::/32"),
        ("2001:db8::77", 1, "::/1"),
    ],
)
def test_the_prefix_of_a_filter(address: str, length: int, network: str) -> None:
    option = Filter(ip_address(address), length, 7)
    assert option.network == ip_network(network)
    assert not option.clears
    assert Filter.of(ip_network(network), 7).prefix_length == length


def test_a_prefix_length_of_0_clears_and_is_no_prefix() -> None:
    assert Filter(ip_address("192.0.2.1"), 0, 0).clears
    with pytest.raises(ValueError, match="names no peers"):
        _ = Filter(ip_address("::"), 0, 0).network
    with pytest.raises(ValueError, match="clears"):
        Filter.of(ip_network("::/0"))


def test_filters_join_those_before_until_one_clears() -> None:
    one, two, three = (Filter.of(ip_network(f"192.0.{each}.0/24")) for each in range(3))
    clear = Filter(ip_address("::"), 0, 0)
    assert filters_after([one], [PreferFailure(), two, one]) == (one, two)
    assert filters_after([one], [clear, three]) == (three,)
    assert filters_after([one], [two, clear]) == ()
    assert filters_after([one], [clear, two, clear, three]) == (three,)
    assert filters_after([one], []) == (one,)


@given(several)
def test_options_come_back(wanted: tuple[Option, ...]) -> None:
    data = encode_options(wanted)
    assert len(data) % 4 == 0
    assert decode_options_untrusted(data, ALL) == wanted


@given(several, st.integers(0, 2000), st.booleans())
def test_options_cut_short_are_fewer_or_malformed(wanted: tuple[Option, ...], cut: int, answer: bool) -> None:
    data = encode_options(wanted)
    part = data[: cut % (len(data) + 1)]
    try:
        found = decode_options_untrusted(part, ALL, in_response=answer)
    except BadRequest as error:
        result = error.result
    else:
        assert found == wanted[: len(found)]
        assert encode_options(found) == part
        return
    assert result is Result.MALFORMED_OPTION


@given(st.one_of(st.binary(max_size=80), several.map(encode_options)), st.integers(0, 639))
def test_any_bytes_are_options_or_refused(data: bytes, bit: int) -> None:
    flipped = bytearray(data)
    if flipped:
        flipped[bit // 8 % len(flipped)] ^= 1 << bit % 8
    try:
        found = decode_options_untrusted(bytes(flipped), ALL)
    except BadRequest as error:
        result = error.result
    else:
        assert decode_options_untrusted(encode_options(found), ALL) == found
        for each in found:
            assert not isinstance(each, Filter) or each.clears or each.network.version in (4, 6)
        return
    assert result in (Result.MALFORMED_OPTION, Result.UNSUPP_OPTION)
