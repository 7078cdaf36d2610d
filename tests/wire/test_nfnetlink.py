"""Netfilter's netlink: headers byte by byte, transactions, answers, and any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import (
    ACK,
    CONNTRACK,
    DUMP,
    NFTABLES,
    Message,
    Reply,
    asks_for_dump,
    batch,
    generation_mark,
    numbered,
    read_messages_untrusted,
    read_reply_untrusted,
    request,
)
from sekimori.wire.nlattributes import be32, text

ERROR, DONE = 2, 3
CAPPED, TLVS = 0x100, 0x200


def datagram(kind: int, payload: bytes, flags: int = 0, sequence: int = 7) -> Message:
    header = struct.pack("=LHHLL", 16 + len(payload), kind, flags, sequence, 99)
    (message,) = read_messages_untrusted(header + payload)
    return message


def test_a_request() -> None:
    data = request(NFTABLES, 12, 1, be32(2, 3), 0x400)
    assert data == struct.pack("=LHHLL", 28, 10 << 8 | 12, 0x401, 0, 0) + b"\1\0\0\0" + be32(2, 3)
    assert numbered(data, 5, ACK) == struct.pack("=LHHLL", 28, 10 << 8 | 12, 0x405, 5, 0) + data[16:]


def test_only_both_flags_of_a_dump_ask_for_one() -> None:
    assert asks_for_dump(request(CONNTRACK, 1, 2, flags=DUMP))
    assert not asks_for_dump(request(CONNTRACK, 1, 2, flags=0x100))


def test_a_batch_is_framed_numbered_and_acknowledged_at_its_end() -> None:
    inner = [request(NFTABLES, 12, 1, text(1, "x" * size)) for size in (1, 2, 3)]
    begin, *messages, end = read_messages_untrusted(batch(inner, 0xFFFFFFFE))
    assert (begin.kind, begin.flags, begin.payload) == (0x10, 1, b"\0\0\0\x0a")
    assert (end.kind, end.flags, end.payload) == (0x11, 1, b"\0\0\0\x0a")
    assert [each.sequence for each in (begin, *messages, end)] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1, 2]
    assert [each.flags for each in messages] == [1, 1, 1 | ACK]
    assert [each.payload for each in messages] == [each[16:] for each in inner]


def test_a_batch_for_one_generation() -> None:
    begin, _end = read_messages_untrusted(batch([], 1, generation=77))
    assert begin.payload == b"\0\0\0\x0a" + be32(1, 77)


def test_answers() -> None:
    repeated = struct.pack("=LHHLL", 40, 0xA0C, 1, 7, 0)
    done = struct.pack("=i", 0)
    assert read_reply_untrusted(datagram(ERROR, done + repeated, CAPPED)) == Reply(0, 7, "", None)
    assert read_reply_untrusted(datagram(DONE, done)) == Reply(0, 7, "", None)
    assert read_reply_untrusted(datagram(0xA0C, done)) is None
    refused = struct.pack("=i", -17) + repeated
    tlvs = text(1, "set is busy") + struct.pack("=HHL", 8, 2, 52)
    wanted = Reply(17, 7, "set is busy", 52)
    assert read_reply_untrusted(datagram(ERROR, refused + tlvs, CAPPED | TLVS)) == wanted
    assert read_reply_untrusted(datagram(ERROR, refused + bytes(24) + tlvs, TLVS)) == wanted
    assert read_reply_untrusted(datagram(DONE, struct.pack("=i", -17) + tlvs, TLVS)) == wanted


def test_the_mark_of_a_generation() -> None:
    assert generation_mark(datagram(NFTABLES << 8 | 12, b"\1\0\x12\x34" + be32(1, 1))) == b"\x12\x34"
    assert generation_mark(datagram(CONNTRACK << 8, b"\1\0\x12\x34")) == b""
    assert generation_mark(datagram(DONE, bytes(4))) == b""


@pytest.mark.parametrize(
    "message",
    [
        Message(ERROR, 0, 7, 0, b"\0\0"),
        Message(ERROR, TLVS, 7, 0, bytes(4)),
        Message(ERROR, TLVS, 7, 0, bytes(4) + struct.pack("=LHHLL", 40, 0, 0, 0, 0)),
        Message(ERROR, TLVS | CAPPED, 7, 0, bytes(20) + b"\x09\0\1\0"),
    ],
)
def test_bad_answers(message: Message) -> None:
    with pytest.raises(BadPacket):
        read_reply_untrusted(message)


@pytest.mark.parametrize(
    "data", [b"\x10", struct.pack("=LHHLL", 15, 0, 0, 0, 0), struct.pack("=LHHLL", 17, 0, 0, 0, 0)]
)
def test_bad_messages(data: bytes) -> None:
    with pytest.raises(BadPacket):
        list(read_messages_untrusted(data))


@given(st.lists(st.binary(max_size=9), max_size=4))
def test_messages_round_trip(texts: list[bytes]) -> None:
    whole = [numbered(request(NFTABLES, 1, 1, text(1, each.hex())), at) for at, each in enumerate(texts)]
    read = list(read_messages_untrusted(b"".join(whole)))
    assert [each.payload for each in read] == [each[16:] for each in whole]
    assert [each.sequence for each in read] == list(range(len(texts)))


@given(st.sampled_from([ERROR, DONE, 0xA0C]), st.integers(0, 0xFFFF), st.binary())
def test_any_answer_is_one_or_bad(kind: int, flags: int, payload: bytes) -> None:
    try:
        reply = read_reply_untrusted(Message(kind, flags, 1, 0, payload))
    except BadPacket:
        return
    assert (reply is None) == (kind == 0xA0C)


@given(st.binary())
def test_any_bytes_are_messages_or_bad(data: bytes) -> None:
    try:
        found = list(read_messages_untrusted(data))
    except BadPacket:
        return
    assert sum(16 + len(each.payload) for each in found) <= len(data)
