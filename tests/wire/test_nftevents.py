"""Events of nf_tables: whose transaction, which table; elements are passed over; any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import NFTABLES, request
from sekimori.wire.nftelements import Element, add_elements
from sekimori.wire.nftevents import (
    Generation,
    Table,
    TableGone,
    TableMade,
    dump_tables,
    get_generation,
    parse_events_untrusted,
    parse_tables_untrusted,
)
from sekimori.wire.nlattributes import be32, be64, text


def event(command: int, family: int, attributes: bytes, port: int = 77) -> bytes:
    data = bytearray(request(NFTABLES, command, family, attributes))
    struct.pack_into("=L", data, 12, port)
    return bytes(data)


GENERATION = event(15, 0, be32(1, 9) + be32(2, 4242) + text(3, "nft"))


def test_events_in_order_and_elements_passed_over() -> None:
    (elements,) = add_elements("t", "s", [Element(b"k")])
    data = event(0, 1, text(1, "ours") + be32(2, 0)) + elements + event(2, 2, text(1, "nat")) + GENERATION
    assert parse_events_untrusted(data) == [
        TableMade(1, "ours", 77),
        TableGone(2, "nat", 77),
        Generation(9, 4242, "nft", 77),
    ]


def test_a_generation_without_a_process() -> None:
    assert parse_events_untrusted(event(15, 0, be32(1, 9))) == [Generation(9, 0, "", 77)]


def test_the_questions() -> None:
    assert get_generation() == request(NFTABLES, 16, 0)
    assert dump_tables() == request(NFTABLES, 1, 0, flags=0x300)


def test_tables() -> None:
    plain, owned = (
        event(0, 1, text(1, "a") + be64(4, 7)),
        event(0, 10, text(1, "b") + be32(2, 6) + be64(4, 8)),
    )
    assert parse_tables_untrusted(plain + GENERATION + owned) == [Table(1, "a", 0, 7), Table(10, "b", 6, 8)]
    with pytest.raises(BadPacket):
        parse_tables_untrusted(event(0, 1, be64(4, 7)))


@pytest.mark.parametrize(
    "data",
    [
        event(15, 0, be32(2, 1)),
        event(2, 1, be32(2, 1)),
        GENERATION[:-1],
        struct.pack("=LHHLL", 18, 10 << 8 | 15, 0, 0, 0) + b"\0\0",
    ],
)
def test_bad_events(data: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_events_untrusted(data)


@given(st.sampled_from([0, 2, 15, 12]), st.binary())
def test_any_bytes_are_events_or_bad(command: int, attributes: bytes) -> None:
    try:
        found = parse_events_untrusted(event(command, 1, attributes))
    except BadPacket:
        return
    assert len(found) == (command != 12)
