"""PROXY protocol: the specification's examples, round trips, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.proxyproto import LONGEST_V1, SIGNATURE, Header, decode_untrusted, encode, encode_unknown

ports = st.integers(0, 65535)
v4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
v6 = st.tuples(st.ip_addresses(v=6).map(str), ports)
pairs = st.one_of(st.tuples(v4, v4), st.tuples(v6, v6))


def test_version_1_is_the_line_of_the_specification() -> None:
    line = encode(1, "tcp", ("192.168.0.1", 56324), ("192.168.0.11", 443))
    assert line == b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"


def test_version_2_bytes() -> None:
    header = encode(2, "udp", ("192.0.2.1", 1), ("192.0.2.2", 0x1234))
    assert header == SIGNATURE + bytes.fromhex("2112000c c0000201 c0000202 0001 1234")
    header = encode(2, "tcp", ("2001:db8::1", 2), ("2001:db8::2", 3))
    assert header[12:16] == bytes.fromhex("21210024")


def test_two_families_are_both_written_as_ipv6() -> None:
    header = decode_untrusted(encode(2, "tcp", ("192.0.2.1", 1), ("2001:db8::2", 2)))
    assert header is not None
    assert header.source == ("::ffff:c000:201", 1)


def test_what_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="TCP only"):
        encode(1, "udp", ("192.0.2.1", 1), ("192.0.2.2", 2))
    with pytest.raises(ValueError, match="no PROXY protocol version"):
        encode(3, "tcp", ("192.0.2.1", 1), ("192.0.2.2", 2))
    with pytest.raises(ValueError):
        encode(2, "tcp", ("gateway", 1), ("192.0.2.2", 2))


@given(pairs, st.sampled_from([(1, "tcp"), (2, "tcp"), (2, "udp")]), st.binary(max_size=40))
def test_round_trip_whole_and_byte_by_byte(pair, kind, rest):
    (source, destination), (version, transport) = pair, kind
    data = encode(version, transport, source, destination)
    wanted = Header(version, transport, source, destination, len(data))
    assert decode_untrusted(data + rest) == wanted
    for end in range(len(data)):
        assert decode_untrusted(data[:end]) is None


@given(st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\x21\x11", b"PROXY "]), st.binary())
def test_any_bytes_are_a_header_the_beginning_of_one_or_bad(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        header = decode_untrusted(data)
    except BadPacket:
        return
    if header is not None:
        assert header.size <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1_0 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY \r\n",
        b"PROXY " + b"x" * LONGEST_V1,
        SIGNATURE + bytes.fromhex("1111000c") + bytes(12),
        SIGNATURE + bytes.fromhex("2211000c") + bytes(12),
        SIGNATURE + bytes.fromhex("2141000c") + bytes(12),
        SIGNATURE + bytes.fromhex("2113000c") + bytes(12),
        SIGNATURE + bytes.fromhex("2111000b") + bytes(11),
    ],
)
def test_bad_headers(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_untrusted(data)


def test_headers_that_say_nothing() -> None:
    assert decode_untrusted(b"PROXY UNKNOWN\r\n") == Header(1, None, None, None, 15)
    assert decode_untrusted(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n") == Header(1, None, None, None, 35)
    local = SIGNATURE + bytes.fromhex("20000000")
    assert decode_untrusted(local) == Header(2, None, None, None, 16)
    unix = SIGNATURE + bytes.fromhex("213100d8") + bytes(216)
    assert decode_untrusted(unix) == Header(2, None, None, None, 232)


def test_tlvs_are_kept() -> None:
    data = SIGNATURE + bytes.fromhex("2111000f c0000201 c0000202 0001 0002 040000")
    header = decode_untrusted(data)
    assert header is not None
    assert header.tlvs == bytes.fromhex("040000")
    assert header.size == len(data)


def test_ends_without_addresses_are_told_as_unknown() -> None:
    for version in (1, 2):
        data = encode_unknown(version)
        header = decode_untrusted(data + b"GET")
        assert header is not None
        assert (header.version, header.source, header.destination, header.size) == (
            version,
            None,
            None,
            len(data),
        )
    with pytest.raises(ValueError, match="version 3"):
        encode_unknown(3)
