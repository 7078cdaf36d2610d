"""Elements of nf_tables' sets and maps, straight over netlink.

Layouts: linux/netfilter/nf_tables.h. A key of one field is as long as its type (a protocol 1
byte, a port 2); in a concatenation every field is padded with zeroes to 4 bytes. Ports and
addresses are in network order. Times are in milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import (
    CREATE,
    DUMP,
    EXCLUSIVE,
    MESSAGE_PREFIX,
    NFTABLES,
    PREFIX,
    read_messages_untrusted,
    request,
)
from sekimori.wire.nlattributes import Reader, attribute, be32, be64, nested, text, walk_untrusted

__all__ = [
    "Element",
    "Fields",
    "Seen",
    "add_elements",
    "address_port_data",
    "address_port_key",
    "delete_elements",
    "dump_elements",
    "flush_elements",
    "get_element",
    "join_intervals",
    "key_at",
    "parse_elements_untrusted",
    "port_data",
    "port_key",
    "proto_key",
    "read_address_port_data",
    "read_address_port_key",
    "read_port_key",
]

Packed = bytes
"""Bytes of a key or value, in a class where the word counts traffic."""
Fields = tuple[bytes, bytes | None, bytes | None, str | None, int | None]
"""An `Element`, or a plain tuple like one, which is made in a quarter of the time."""

_INET: Final = 1  # NFPROTO_INET
_GOTO: Final = -4 & 0xFFFFFFFF  # NFT_GOTO
_INTERVAL_END: Final = 1  # NFT_SET_ELEM_INTERVAL_END
_CHUNK: Final = 48 * 1024
"""Bytes of elements in one message: a list's length has 16 bits, and the last element has to fit too."""

_NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT, _DESTROY_ELEMENT = 12, 13, 14, 30

# NFTA_SET_ELEM_LIST_*, NFTA_LIST_ELEM
_TABLE, _SET, _ELEMENTS, _ONE = 1, 2, 3, 1
# NFTA_SET_ELEM_*
_KEY, _DATA, _FLAGS, _TIMEOUT, _EXPIRATION, _EXPR, _KEY_END, _EXPRESSIONS = 1, 2, 3, 4, 5, 7, 10, 11
# NFTA_DATA_*, NFTA_VERDICT_*
_VALUE, _VERDICT, _CODE, _CHAIN = 1, 2, 1, 2
_COUNTER: Final = b"counter\0"
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2

_PORT_KEY: Final = struct.Struct(">B3xH2x")
_PORT_TAIL: Final = struct.Struct(">H2x")
_HEADER: Final = struct.Struct("=HH")


class Element(NamedTuple):
    """An element of a set or map; `Element(key)` is enough for a plain set.

    `key_end` is the last key of a range, itself within it; `data` is a map's value, `chain`
    where a verdict map goes (`goto`); `timeout` None leaves it to the set.
    """

    key: bytes
    key_end: bytes | None = None
    data: bytes | None = None
    chain: str | None = None
    timeout: int | None = None


class Seen(NamedTuple):
    """An element as the kernel tells it.

    `chain` is None too for verdicts other than `goto`. `timeout_ms` and `expires_ms` (what is
    left) are None for an element that stays; `packets` and `bytes` without a counter.
    `interval_end` comes only from sets of ranges over one field: the key is the first one
    behind a range, and the element has no meaning alone (`join_intervals`).
    """

    key: Packed
    key_end: Packed | None
    data: Packed | None
    chain: str | None
    timeout_ms: int | None
    expires_ms: int | None
    packets: int | None
    bytes: int | None
    interval_end: bool


def proto_key(protocol: int) -> bytes:
    """`meta l4proto` alone."""
    return protocol.to_bytes(1, "big")


def port_key(protocol: int, port: int) -> bytes:
    """`meta l4proto . th dport`."""
    return _PORT_KEY.pack(protocol, port)


def address_port_key(protocol: int, address: bytes, port: int) -> bytes:
    """`meta l4proto . ip saddr . th sport`, or any address of either family between the two."""
    return protocol.to_bytes(1, "big") + b"\0\0\0" + address + _PORT_TAIL.pack(port)


def port_data(port: int) -> bytes:
    """A port alone."""
    return port.to_bytes(2, "big")


def address_port_data(address: bytes, port: int) -> bytes:
    """`ip daddr . th dport`, of either family. (An address alone is its packed bytes.)"""
    return address + _PORT_TAIL.pack(port)


def read_port_key(key: bytes) -> tuple[int, int]:
    """What `port_key` was made of: protocol, port.

    Raises:
        BadPacket: it is no such key.
    """
    protocol, rest, port = _proto_and_port(key, (8,))
    if rest:
        raise BadPacket("set key of more than a protocol and a port")
    return protocol, port


def read_address_port_key(key: bytes) -> tuple[int, bytes, int]:
    """What `address_port_key` was made of: protocol, packed address, port.

    Raises:
        BadPacket: it is no such key.
    """
    return _proto_and_port(key, (12, 24))


def read_address_port_data(data: bytes) -> tuple[bytes, int]:
    """What `address_port_data` was made of: packed address, port.

    Raises:
        BadPacket: it is no such value.
    """
    if len(data) not in (8, 20):
        raise BadPacket("map value that is no address and port")
    return data[:-4], int.from_bytes(data[-4:-2], "big")


def _proto_and_port(key: bytes, lengths: tuple[int, ...]) -> tuple[int, bytes, int]:
    if len(key) not in lengths:
        raise BadPacket("set key of another length")
    return key[0], key[4:-4], int.from_bytes(key[-4:-2], "big")


def add_elements(
    table: str,
    set_name: str,
    elements: Iterable[Fields],
    *,
    exclusive: bool = False,
    one_dimension: bool = False,
) -> Iterator[bytes]:
    """Messages that add elements to a set or map of an inet table, for one `batch`.

    The kernel gives each the set's own counter. An element that is there already with the same
    value is left as it is, with another value the batch fails (EEXIST).

    Args:
        table: of family inet.
        set_name: the set or map.
        elements: what to add.
        exclusive: fail (EEXIST) when one is there already.
        one_dimension: the set has `flags interval` and a key of one field; there the kernel
            wants a range as its first key and the first key behind it.
    """
    flags = CREATE | EXCLUSIVE if exclusive else CREATE
    yield from _messages(_NEW_ELEMENT, flags, table, set_name, elements, one_dimension)


def delete_elements(
    table: str,
    set_name: str,
    elements: Iterable[Element],
    *,
    missing_ok: bool = False,
    one_dimension: bool = False,
) -> Iterator[bytes]:
    """Messages that delete elements, by their keys, from a set or map, for one `batch`.

    An element that is not there, or has just expired, fails the batch (ENOENT), unless
    `missing_ok`, which the kernel knows from Linux 6.3 on (older ones fail with EINVAL).
    """
    command = _DESTROY_ELEMENT if missing_ok else _DELETE_ELEMENT
    keys = (Element(each.key, each.key_end) for each in elements)
    yield from _messages(command, 0, table, set_name, keys, one_dimension)


def flush_elements(table: str, set_name: str) -> bytes:
    """The message that deletes every element of a set or map, for a `batch`."""
    return request(NFTABLES, _DELETE_ELEMENT, _INET, _named(table, set_name))


def get_element(table: str, set_name: str, key: bytes, key_end: bytes | None = None) -> bytes:
    """The question for one element; the answer is ENOENT when it is not there."""
    asked = nested(_ELEMENTS, _encode(Element(key, key_end)))
    return request(NFTABLES, _GET_ELEMENT, _INET, _named(table, set_name) + asked)


def dump_elements(table: str, set_name: str) -> bytes:
    """The question for all elements of a set or map."""
    return request(NFTABLES, _GET_ELEMENT, _INET, _named(table, set_name), DUMP)


def parse_elements_untrusted(data: bytes) -> list[Seen]:
    """The elements in a datagram of an answer; messages of other kinds are passed over.

    Raises:
        BadPacket: it is cut off, or an element has no key.
    """
    found: list[Seen] = []
    for message in read_messages_untrusted(data):
        if message.kind == NFTABLES << 8 | _NEW_ELEMENT:
            payload = message.payload
            for kind, start, end in walk_untrusted(payload, PREFIX):
                if kind == _ELEMENTS:
                    found.extend(_seen(payload, *each) for each in walk_untrusted(payload, start, end))
    return found


def key_at(message: bytes, offset: int) -> bytes | None:
    """The key of the element that stands at an offset of a message of ours; None if there is none.

    With the offset that the kernel gives when it refuses, that is the element which it refused.
    """
    for kind, start, end in walk_untrusted(message, MESSAGE_PREFIX):
        if kind == _ELEMENTS:
            for _, begin, stop in walk_untrusted(message, start, end):
                if begin == offset + 4:
                    return _seen(message, 0, begin, stop).key
    return None


def join_intervals(seen: Iterable[Seen]) -> list[Seen]:
    """The ranges of a set over one field, each as one element from `key` to `key_end`, in order."""
    # An end and the beginning of the next range have the same key: the end comes first.
    marks = sorted(seen, key=lambda each: (each.key, not each.interval_end))
    joined: list[Seen] = []
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        if not mark.interval_end:
            last = b"\xff" * len(mark.key) if after is None else _neighbour(after.key, -1)
            joined.append(mark._replace(key_end=last))
    return joined


def _named(table: str, set_name: str) -> bytes:
    return text(_TABLE, table) + text(_SET, set_name)


def _messages(
    command: int, flags: int, table: str, set_name: str, elements: Iterable[Fields], one_dimension: bool
) -> Iterator[bytes]:
    start = _named(table, set_name)
    chunk: list[bytes] = []
    size = 0
    for encoded in map(_encode_range if one_dimension else _encode, elements):
        chunk.append(encoded)
        size += len(encoded)
        if size > _CHUNK:
            yield request(NFTABLES, command, _INET, start + nested(_ELEMENTS, *chunk), flags)
            chunk.clear()
            size = 0
    if chunk:
        yield request(NFTABLES, command, _INET, start + nested(_ELEMENTS, *chunk), flags)


def _encode(element: Fields) -> bytes:
    key, key_end, data, chain, timeout = element
    if key_end is None:  # nearly all that there are, so in a quarter of the time
        size = None if data is None else len(data)
        head, between, behind = _plain(len(key), size, chain, timeout is not None)
        ends = b"" if timeout is None else timeout.to_bytes(8, "big")
        return b"".join((head, key, between, data or b"", behind, ends))
    keys = nested(_KEY, attribute(_VALUE, key)), nested(_KEY_END, attribute(_VALUE, key_end))
    parts = [*keys, *_value(data, chain)]
    if timeout is not None:
        parts.append(be64(_TIMEOUT, timeout))
    return nested(_ONE, *parts)


@lru_cache(maxsize=4096)
def _plain(key: int, data: int | None, chain: str | None, ends: bool) -> tuple[bytes, bytes, bytes]:
    """What stands before an element's key, between it and the value, and behind that, by their sizes."""
    zeros = None if data is None else bytes(data)
    parts = [nested(_KEY, attribute(_VALUE, bytes(key))), *_value(zeros, chain)]
    if ends:
        parts.append(be64(_TIMEOUT, 0))
    whole = nested(_ONE, *parts)
    start = 3 * _HEADER.size  # the element, its key, the key's value
    value = _HEADER.size + len(parts[0]) + 2 * _HEADER.size if data is not None else start + key
    behind = value + (data or 0)
    return whole[:start], whole[start + key : value], whole[behind : len(whole) - (8 if ends else 0)]


def _value(data: bytes | None, chain: str | None) -> list[bytes]:
    if data is not None:
        return [nested(_DATA, attribute(_VALUE, data))]
    return [] if chain is None else [_verdict(chain)]


def _encode_range(element: Fields) -> bytes:
    key, key_end, data, chain, timeout = element
    start = _encode((key, None, data, chain, timeout))
    behind = _neighbour(key if key_end is None else key_end, 1)
    if not any(behind):  # up to the last key there is: such a range has no end
        return start
    return start + nested(_ONE, nested(_KEY, attribute(_VALUE, behind)), be32(_FLAGS, _INTERVAL_END))


def _neighbour(key: bytes, step: int) -> bytes:
    return ((int.from_bytes(key, "big") + step) % (1 << 8 * len(key))).to_bytes(len(key), "big")


@lru_cache(maxsize=4096)
def _verdict(chain: str) -> bytes:
    return nested(_DATA, nested(_VERDICT, be32(_CODE, _GOTO), text(_CHAIN, chain)))


def _counter(*where: int) -> dict[tuple[int | bytes, ...], str]:
    return {
        (*where, _COUNTER, _COUNTER_PACKETS): "Q",
        (*where, _COUNTER, _COUNTER_BYTES): "Q",
    }


_ELEMENT: Final = Reader(
    {
        (_KEY, _VALUE): "",
        (_KEY_END, _VALUE): "",
        (_DATA, _VALUE): "",
        (_DATA, _VERDICT, _CODE): "I",
        (_DATA, _VERDICT, _CHAIN): "",
        (_TIMEOUT,): "Q",
        (_EXPIRATION,): "Q",
        (_FLAGS,): "I",
        **_counter(_EXPR),  # when it is the only one
        **_counter(_EXPRESSIONS, _ONE),
    },
    choices=[(_EXPR,), (_EXPRESSIONS, _ONE)],
)


def _seen(data: bytes, _kind: int, start: int, end: int) -> Seen:
    (
        key,
        key_end,
        value,
        code,
        chain,
        timeout,
        expiration,
        flags,
        packets,
        octets,
        packets_among,
        octets_among,
    ) = _ELEMENT.read_untrusted(data, start, end)
    if key is None:
        raise BadPacket("set element without a key")
    return Seen(
        key,
        key_end,
        value,
        chain.rstrip(b"\0").decode(errors="replace") if chain is not None and code == _GOTO else None,
        timeout,
        expiration,
        packets if packets is not None else packets_among,
        octets if octets is not None else octets_among,
        flags is not None and flags & _INTERVAL_END != 0,
    )
