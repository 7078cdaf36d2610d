"""Netlink attributes: what is written is read, whatever layouts were met before; any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.nlattributes import (
    Reader,
    attribute,
    be16,
    be32,
    be64,
    nested,
    text,
    u8,
    walk_untrusted,
)

values = st.tuples(
    st.none() | st.binary(max_size=9),
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, 2**64 - 1),
    st.binary(max_size=5),
    st.sampled_from([b"counter\0", b"quota\0"]),
)


def write(value) -> bytes:
    raw, number, wide, other, name = value
    parts = [] if raw is None else [nested(1, attribute(7, raw))]
    parts += [attribute(9, other)]
    parts += [] if number is None else [be32(2, number)]
    parts += [] if wide is None else [nested(5, attribute(1, name), nested(2, be64(1, wide)))]
    return b"".join(parts)


def reader() -> Reader:
    return Reader({(1, 7): "", (2,): "I", (5, b"counter\0", 1): "Q"}, choices=[(5,)])


def test_bytes() -> None:
    assert u8(1, 5) == struct.pack("=HH", 5, 1) + b"\x05\0\0\0"
    assert be16(1, 0x1234) == struct.pack("=HH", 6, 1) + b"\x12\x34\0\0"
    assert be32(2, 1) == struct.pack("=HH", 8, 2) + b"\0\0\0\1"
    assert be64(3, 1) == struct.pack("=HH", 12, 3) + b"\0\0\0\0\0\0\0\1"
    assert text(4, "nat") == struct.pack("=HH", 8, 4) + b"nat\0"
    assert nested(1, u8(2, 3)) == struct.pack("=HH", 12, 0x8001) + u8(2, 3)


def test_what_does_not_fit_a_length_is_not_written() -> None:
    assert len(attribute(1, bytes(65531))) == 65536
    with pytest.raises(struct.error):
        attribute(1, bytes(65532))


@given(st.lists(values, min_size=1, max_size=12))
def test_one_reader_reads_every_layout_it_met_before_and_new_ones(given_values) -> None:
    many = reader()
    for value in given_values * 2:
        raw, number, wide, _other, name = value
        data = b"head" + write(value) + b"tail"
        read = many.read_untrusted(data, 4, len(data) - 4)
        assert read == (raw, number, wide if name == b"counter\0" else None)
        assert read == reader().read_untrusted(data, 4, len(data) - 4)


def test_a_name_of_the_same_length_is_another_layout() -> None:
    both = Reader({(5, b"aa\0", 1): "I", (5, b"bb\0", 1): "I"}, choices=[(5,)])
    for name, wanted in ((b"aa\0", (1, None)), (b"bb\0", (None, 1)), (b"cc\0", (None, None))):
        data = nested(5, attribute(1, name), nested(2, be32(1, 1)))
        assert both.read_untrusted(data, 0, len(data)) == wanted


def test_the_first_of_two_counts() -> None:
    data = be32(1, 5) + be32(1, 6)
    assert Reader({(1,): "I", (2,): "I"}).read_untrusted(data, 0, len(data)) == (5, None)


def test_more_lengths_than_are_remembered() -> None:
    wanted = Reader({(1,): "", (2,): ""})
    for _ in range(2):
        for size in range(0, 2000, 4):
            data = attribute(1, bytes(size))
            assert wanted.read_untrusted(data, 0, len(data)) == (bytes(size), None)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\0",
        struct.pack("=HH", 3, 1),
        struct.pack("=HH", 9, 1) + bytes(4),
        be32(1, 1) + b"\0",
        nested(5, attribute(2, b"x") + b"\x01\0"),
        be16(2, 1),
    ],
)
def test_bad_attributes(data: bytes) -> None:
    with pytest.raises(BadPacket):
        reader().read_untrusted(data, 0, len(data))


@given(st.binary() | st.lists(values, max_size=3).map(lambda each: b"".join(map(write, each))), st.binary())
def test_any_bytes_are_values_or_bad(start: bytes, rest: bytes) -> None:
    data = start + rest
    try:
        read = reader().read_untrusted(data, 0, len(data))
    except BadPacket:
        return
    assert len(read) == 3


@given(st.binary(max_size=64))
def test_walking_any_bytes_ends(data: bytes) -> None:
    try:
        found = list(walk_untrusted(data))
    except BadPacket:
        return
    assert all(4 <= begin <= end <= len(data) for _, begin, end in found)
