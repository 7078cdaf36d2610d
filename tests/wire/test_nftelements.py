"""Elements of nf_tables sets: bytes, chunks, round trips, ranges, any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import NFTABLES, read_messages_untrusted, request
from sekimori.wire.nftelements import (
    Element,
    Seen,
    add_elements,
    address_port_data,
    address_port_key,
    delete_elements,
    dump_elements,
    flush_elements,
    get_element,
    join_intervals,
    key_at,
    parse_elements_untrusted,
    port_data,
    port_key,
    proto_key,
    read_address_port_data,
    read_address_port_key,
    read_port_key,
)
from sekimori.wire.nlattributes import attribute, be32, be64, nested, text

ADDRESS = bytes([192, 0, 2, 1])
keys = st.binary(min_size=1, max_size=24)
elements = st.builds(
    Element,
    keys,
    st.none() | keys,
    st.none() | st.binary(min_size=1, max_size=20),
    st.none() | st.text("abc_0", min_size=1, max_size=12),
    st.none() | st.integers(0, 2**64 - 1),
)


def seen(element: Element) -> Seen:
    """What comes back of an element that was just written."""
    chain = element.chain if element.data is None else None
    return Seen(
        element.key,
        element.key_end,
        element.data,
        chain,
        element.timeout,
        None,
        None,
        None,
        interval_end=False,
    )


def test_keys_and_data() -> None:
    assert proto_key(47) == b"\x2f"
    assert port_key(6, 8080) == bytes.fromhex("06000000 1f900000")
    assert address_port_key(17, ADDRESS, 53) == bytes.fromhex("11000000 c0000201 00350000")
    assert port_data(3074) == bytes.fromhex("0c02")
    assert address_port_data(ADDRESS, 80) == bytes.fromhex("c0000201 00500000")
    assert len(address_port_key(6, bytes(16), 1)) == 24


@given(
    st.integers(0, 255),
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16),
    st.integers(0, 65535),
)
def test_keys_round_trip(protocol: int, address: bytes, port: int) -> None:
    assert read_port_key(port_key(protocol, port)) == (protocol, port)
    assert read_address_port_key(address_port_key(protocol, address, port)) == (protocol, address, port)
    assert read_address_port_data(address_port_data(address, port)) == (address, port)


@pytest.mark.parametrize("size", [0, 7, 9, 12])
def test_bytes_of_another_length_are_no_key(size: int) -> None:
    with pytest.raises(BadPacket):
        read_port_key(bytes(size))
    with pytest.raises(BadPacket):
        read_address_port_key(bytes(size + 1))
    with pytest.raises(BadPacket):
        read_address_port_data(bytes(size))


def test_the_bytes_of_one_element() -> None:
    element = Element(port_key(6, 80), port_key(6, 90), ADDRESS, None, 5000)
    (message,) = add_elements("t", "s", [element])
    inner = nested(
        1,
        nested(1, attribute(1, element.key)),
        nested(10, attribute(1, port_key(6, 90))),
        nested(2, attribute(1, ADDRESS)),
        be64(4, 5000),
    )
    assert message == request(NFTABLES, 12, 1, text(1, "t") + text(2, "s") + nested(3, inner), 0x400)


def test_a_verdict_is_a_goto() -> None:
    (message,) = add_elements("t", "s", [Element(b"k", chain="src_1")])
    assert nested(2, nested(2, be32(1, 0xFFFFFFFC), text(2, "src_1"))) in message


@given(st.lists(elements, max_size=20))
def test_what_is_added_is_read(given_elements: list[Element]) -> None:
    data = b"".join(add_elements("table", "set", given_elements))
    assert parse_elements_untrusted(data) == [seen(each) for each in given_elements]


def test_deleting_names_keys_only() -> None:
    given_elements = [Element(b"a", b"b", b"data", None, 1), Element(b"c", chain="x")]
    (message,) = delete_elements("t", "s", given_elements)
    (bare,) = add_elements("t", "s", [Element(b"a", b"b"), Element(b"c")])
    assert message[20:] == bare[20:]
    (read,) = read_messages_untrusted(message)
    assert (read.kind, read.flags) == (NFTABLES << 8 | 14, 1)
    (lenient,) = delete_elements("t", "s", given_elements, missing_ok=True)
    assert next(read_messages_untrusted(lenient)).kind == NFTABLES << 8 | 30
    assert flush_elements("t", "s")[20:] == text(1, "t") + text(2, "s")
    assert list(delete_elements("t", "s", [])) == []


def test_exclusive_is_a_flag() -> None:
    (message,) = add_elements("t", "s", [Element(b"a")], exclusive=True)
    assert next(read_messages_untrusted(message)).flags == 0x601


def test_many_elements_are_many_messages_of_less_than_64_kibibytes() -> None:
    given_elements = [Element(port_key(6, port), chain="c" * 100) for port in range(3000)]
    messages = list(add_elements("t", "s", given_elements))
    assert len(messages) > 5
    assert all(len(each) < 50 * 1024 for each in messages)
    assert parse_elements_untrusted(b"".join(messages)) == [seen(each) for each in given_elements]


def test_questions() -> None:
    assert next(read_messages_untrusted(dump_elements("t", "s"))).flags == 0x301
    asked = get_element("t", "s", b"k", b"l")
    (added,) = add_elements("t", "s", [Element(b"k", b"l")])
    assert asked[20:] == added[20:]


def test_a_counter_alone_or_among_other_expressions() -> None:
    def expression(name: str, *attributes: bytes) -> tuple[bytes, bytes]:
        return text(1, name), nested(2, *attributes)

    counter = expression("counter", be64(1, 1500), be64(2, 3))
    quota = expression("quota", be64(1, 9), be64(2, 9))
    limit = expression("limit", be64(1, 8), be64(2, 8))
    wanted = [(nested(7, *counter), (3, 1500)), (nested(7, *quota), (None, None))]
    wanted.append((nested(11, nested(1, *limit), nested(1, *counter)), (3, 1500)))
    wanted.append((nested(11, nested(1, *limit), nested(1, *quota)), (None, None)))
    for expressions, figures in wanted * 2:
        element = nested(1, nested(1, attribute(1, b"k")), be64(5, 250), expressions)
        data = request(NFTABLES, 12, 1, nested(3, element))
        (read,) = parse_elements_untrusted(data)
        assert (read.packets, read.bytes, read.expires_ms) == (*figures, 250)


def test_other_verdicts_than_goto_are_no_chain() -> None:
    jump = nested(2, nested(2, be32(1, 0xFFFFFFFD), text(2, "src_1")))
    data = request(NFTABLES, 12, 1, nested(3, nested(1, nested(1, attribute(1, b"k")), jump)))
    assert parse_elements_untrusted(data)[0].chain is None


def test_which_element_stands_at_an_offset() -> None:
    (message,) = add_elements("t", "s", [Element(b"aaaa"), Element(b"bbbb"), Element(b"cc")])
    offset = message.index(b"bbbb") - 12
    assert key_at(message, offset) == b"bbbb"
    assert key_at(message, offset + 4) is None
    assert key_at(message, 0) is None


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=20, unique=True).map(sorted),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_ranges_of_one_field_round_trip(ends: list[int], adjacent: bool, random) -> None:
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    if adjacent and pairs[-1][1] < 2**32 - 1:
        pairs.append((pairs[-1][1] + 1, 2**32 - 1))
    ranges = [Element(first.to_bytes(4, "big"), last.to_bytes(4, "big")) for first, last in pairs]
    marks = parse_elements_untrusted(b"".join(add_elements("t", "s", ranges, one_dimension=True)))
    random.shuffle(marks)
    assert join_intervals(marks) == [seen(each) for each in ranges]


def test_one_address_is_a_range_too() -> None:
    marks = parse_elements_untrusted(b"".join(add_elements("t", "s", [Element(ADDRESS)], one_dimension=True)))
    assert [(mark.key, mark.interval_end) for mark in marks] == [(ADDRESS, False), (b"\xc0\0\2\2", True)]
    assert join_intervals(marks) == [seen(Element(ADDRESS, ADDRESS))]


@given(st.lists(elements, min_size=1, max_size=3), st.data())
def test_any_bytes_are_elements_or_bad(given_elements: list[Element], data) -> None:
    whole = bytearray(next(add_elements("table", "set", given_elements)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(16, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_elements_untrusted(bytes(whole))
    except BadPacket:
        return
    assert all(isinstance(each.key, bytes) for each in found)


def test_an_element_without_a_key_is_bad() -> None:
    with pytest.raises(BadPacket, match="without a key"):
        parse_elements_untrusted(request(NFTABLES, 12, 1, nested(3, nested(1, be64(4, 1)))))
