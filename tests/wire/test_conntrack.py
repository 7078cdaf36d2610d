"""Conntrack entries: what the kernel writes is read, what is asked is what was meant; any bytes."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.conntrack import (
    ASSURED,
    IPV4,
    IPV6,
    SEEN_REPLY,
    Entry,
    Filter,
    Tuple,
    delete_request,
    dump_request,
    parse_untrusted,
)
from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import CONNTRACK, read_messages_untrusted, request
from sekimori.wire.nlattributes import attribute, be16, be32, be64, nested, u8

OURS, THEIRS = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 7])
OURS6, THEIRS6 = (ip_address(text).packed for text in ("2001:db8::1", "2001:db8::7"))
TCP = Entry(
    IPV4,
    6,
    Tuple(THEIRS, 40000, OURS, 8080),
    Tuple(bytes([192, 168, 1, 10]), 80, THEIRS, 40000),
    SEEN_REPLY | ASSURED,
    0x10000,
    1 << 7 | 1 << 70,
    431999,
    12,
    3400,
    9,
    1200,
    1_700_000_000_000_000_000,
    3,
    0xDEADBEEF,
    0,
)


def told(entry: Entry) -> bytes:
    """The kernel's message for a flow (ctnetlink_fill_info)."""
    return request(CONNTRACK, 0, entry.family, b"".join(_attributes(entry)))


def _attributes(entry: Entry):
    for at, way in ((1, entry.original), (2, entry.reply)):
        source, destination = (1, 2) if entry.family == IPV4 else (3, 4)
        ends = nested(1, attribute(source, way.source), attribute(destination, way.destination))
        yield nested(at, ends, nested(2, *_transport(entry, way)))
    yield be32(3, entry.status)
    if entry.timeout is not None:
        yield be32(7, entry.timeout)
    for at, packets, octets in (
        (9, entry.packets, entry.bytes),
        (10, entry.reply_packets, entry.reply_bytes),
    ):
        if packets is not None and octets is not None:
            yield nested(at, be64(1, packets), be64(2, octets))
    if entry.started is not None:
        yield nested(20, be64(1, entry.started))
    if entry.tcp_state is not None:
        yield nested(4, nested(1, u8(1, entry.tcp_state), u8(2, 7)))
    yield be32(8, entry.mark)
    yield attribute(22, struct.pack("=2Q", entry.labels & (2**64 - 1), entry.labels >> 64))
    yield be32(12, entry.id)
    if entry.zone:
        yield be16(18, entry.zone)


def _transport(entry: Entry, way: Tuple):
    yield u8(1, entry.protocol)
    if way.icmp is not None:
        kind, code, number = way.icmp
        first = 4 if entry.family == IPV4 else 7
        yield be16(first, number)
        yield u8(first + 1, kind)
        yield u8(first + 2, code)
    elif way.source_port is not None:
        assert way.destination_port is not None
        yield be16(2, way.source_port)
        yield be16(3, way.destination_port)


ports = st.integers(0, 65535)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)


def tuples(family: int, kind: str):
    address = st.binary(min_size=4, max_size=4) if family == IPV4 else st.binary(min_size=16, max_size=16)
    port = ports if kind == "ports" else st.none()
    icmp = st.tuples(st.integers(0, 255), st.integers(0, 255), ports) if kind == "icmp" else st.none()
    return st.builds(Tuple, address, port, address, port, icmp)


@st.composite
def entries(draw) -> Entry:
    family = draw(st.sampled_from([IPV4, IPV6]))
    kind = draw(st.sampled_from(["ports", "icmp", "none"]))
    counted = draw(st.booleans())
    figure = u64 if counted else st.none()
    return Entry(
        family,
        draw(st.integers(0, 255)),
        draw(tuples(family, kind)),
        draw(tuples(family, kind)),
        draw(u32),
        draw(u32),
        draw(st.integers(0, 2**128 - 1)),
        draw(st.none() | u32),
        draw(figure),
        draw(figure),
        draw(figure),
        draw(figure),
        draw(st.none() | u64),
        draw(st.none() | st.integers(0, 9)),
        draw(u32),
        draw(ports),
    )


@given(st.lists(entries(), max_size=6))
def test_what_the_kernel_tells_is_read(given_entries: list[Entry]) -> None:
    data = b"".join(map(told, given_entries))
    assert parse_untrusted(data + data) == given_entries * 2


def test_addresses_as_text() -> None:
    assert (TCP.original.source_text, TCP.original.destination_text) == ("198.51.100.7", "192.0.2.1")
    assert Tuple(OURS6, 1, THEIRS6, 2).destination_text == "2001:db8::7"


def test_a_question_for_all() -> None:
    assert dump_request(IPV6) == request(CONNTRACK, 1, IPV6, flags=0x300)
    assert dump_request(IPV4, Filter()) == dump_request(IPV4)
    assert dump_request(0) == request(CONNTRACK, 1, 0, flags=0x300)


def test_a_question_for_one_port() -> None:
    wanted = nested(1, nested(1, attribute(2, OURS)), nested(2, u8(1, 6), be16(3, 8080)))
    how = nested(25, attribute(1, struct.pack("=L", 2 | 8 | 32)))
    only = Filter(protocol=6, destination=OURS, destination_port=8080)
    assert dump_request(IPV4, only) == request(CONNTRACK, 1, IPV4, wanted + how, 0x300)


def test_of_ipv6_addresses_the_kernel_is_not_asked() -> None:
    wanted = nested(1, nested(1), nested(2, u8(1, 17), be16(2, 53)))
    how = nested(25, attribute(1, struct.pack("=L", 8 | 16)))
    assert dump_request(IPV6, Filter(17, THEIRS6, 53)) == request(CONNTRACK, 1, IPV6, wanted + how, 0x300)
    assert dump_request(IPV6, Filter(source=THEIRS6)) == dump_request(IPV6)


@pytest.mark.parametrize(
    ("family", "only"),
    [
        (0, Filter(6)),
        (IPV4, Filter(destination_port=80)),
        (IPV4, Filter(source=OURS6)),
        (IPV6, Filter(source=OURS)),
    ],
)
def test_questions_that_cannot_be_asked(family: int, only: Filter) -> None:
    with pytest.raises(ValueError):
        dump_request(family, only)


@pytest.mark.parametrize(
    ("only", "matches"),
    [
        (Filter(), True),
        (Filter(6, THEIRS, 40000, OURS, 8080), True),
        (Filter(17), False),
        (Filter(source=OURS), False),
        (Filter(6, source_port=1), False),
        (Filter(destination=THEIRS), False),
        (Filter(6, destination_port=80), False),
    ],
)
def test_filters(only: Filter, matches: bool) -> None:
    assert only.matches(TCP) is matches


@given(entries())
def test_deleting_names_the_original_direction_the_zone_and_the_flow_itself(entry: Entry) -> None:
    (message,) = read_messages_untrusted(delete_request(entry))
    assert (message.kind, message.flags) == (CONNTRACK << 8 | 2, 1)
    # The kernel reads the same attributes in a request as it writes in an answer.
    sent = message.payload[4:]
    reply = next(iter(_attributes(entry._replace(original=entry.reply))))
    reply = reply[:2] + struct.pack("=H", 0x8002) + reply[4:]
    (read,) = parse_untrusted(request(CONNTRACK, 0, entry.family, sent + reply))
    assert read[:3] == entry[:3]
    assert (read.id, read.zone) == (entry.id, entry.zone)


def test_labels_of_another_size_are_bad() -> None:
    original, reply, *_ = _attributes(TCP)
    with pytest.raises(BadPacket, match="128 bits"):
        parse_untrusted(request(CONNTRACK, 0, IPV4, original + reply + attribute(22, bytes(8))))


@pytest.mark.parametrize(
    "payload",
    [
        b"\2",
        b"\7\0\0\0",
        b"\2\0\0\0",
        told(TCP)[16:-1],
        b"\2\0\0\0" + b"".join([*_attributes(TCP)][1:]),
        b"\2\0\0\0" + nested(1, nested(1, attribute(1, OURS6))),
    ],
)
def test_bad_flows(payload: bytes) -> None:
    with pytest.raises(BadPacket):
        parse_untrusted(struct.pack("=LHHLL", 16 + len(payload), CONNTRACK << 8, 0, 0, 0) + payload)


@given(entries(), st.data())
def test_any_bytes_are_flows_or_bad(entry: Entry, data) -> None:
    whole = bytearray(told(entry))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(16, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        (found,) = parse_untrusted(bytes(whole))
    except BadPacket:
        return
    assert (
        len(found.original.source) == len(found.original.destination) == (4 if found.family == IPV4 else 16)
    )
