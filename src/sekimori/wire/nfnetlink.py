"""Netfilter's netlink: messages, transactions, and what the kernel answers.

Numbers in the header of a message are in host order (linux/netlink.h, struct nlmsghdr); the
resource in netfilter's own header in network order (linux/netfilter/nfnetlink.h, struct nfgenmsg).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sekimori.wire.errors import BadPacket
from sekimori.wire.nlattributes import be32, walk_untrusted

__all__ = [
    "ACK",
    "CONNTRACK",
    "CREATE",
    "DUMP",
    "DUMP_INTERRUPTED",
    "EXCLUSIVE",
    "MESSAGE_PREFIX",
    "NFTABLES",
    "NFT_EVENTS",
    "PREFIX",
    "Message",
    "Reply",
    "asks_for_dump",
    "batch",
    "generation_mark",
    "numbered",
    "read_messages_untrusted",
    "read_reply_untrusted",
    "request",
]

CONNTRACK: Final = 1
"""NFNL_SUBSYS_CTNETLINK."""
NFTABLES: Final = 10
"""NFNL_SUBSYS_NFTABLES."""
NFT_EVENTS: Final = 7
"""NFNLGRP_NFTABLES, the multicast group of nf_tables' events."""

ACK: Final = 0x4
DUMP_INTERRUPTED: Final = 0x10
DUMP: Final = 0x300
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
_REQUEST: Final = 0x1
_CAPPED: Final = 0x100
_ACK_TLVS: Final = 0x200

_ERROR: Final = 0x2
_DONE: Final = 0x3
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_BATCH_GENERATION: Final = 1  # NFNL_BATCH_GENID
_REPLY_TEXT: Final = 1  # NLMSGERR_ATTR_MSG
_REPLY_OFFSET: Final = 2  # NLMSGERR_ATTR_OFFS

_HEADER: Final = struct.Struct("=LHHLL")
_NETFILTER: Final = struct.Struct(">BBH")
_ERROR_CODE: Final = struct.Struct("=i")
_FLAGS_AND_SEQUENCE: Final = struct.Struct("=HL")
_OFFSET: Final = struct.Struct("=L")

PREFIX: Final = _NETFILTER.size
"""Bytes of netfilter's own header at the start of a message's payload; its first is the family."""

MESSAGE_PREFIX: Final = _HEADER.size + PREFIX
"""Bytes before the attributes of a whole message to or from netfilter."""


class Message(NamedTuple):
    """One netlink message.

    `kind` is nlmsg_type (for netfilter `subsystem << 8 | command`). `port` is the netlink port
    of the socket that it answers; in an event, of the socket that made the change.
    """

    kind: int
    flags: int
    sequence: int
    port: int
    payload: bytes


class Reply(NamedTuple):
    """How a request ended: `errno` is 0 when it was done.

    `text` is the kernel's own explanation if it gave one, else empty; `offset` is where in the
    request the attribute stands that it did not take, None if it did not say.
    """

    errno: int
    sequence: int
    text: str
    offset: int | None


def request(
    subsystem: int, command: int, family: int, attributes: bytes = b"", flags: int = 0, resource: int = 0
) -> bytes:
    """A message to netfilter; its sequence number is set when it is sent (`batch`, `numbered`)."""
    length = _HEADER.size + _NETFILTER.size + len(attributes)
    header = _HEADER.pack(length, subsystem << 8 | command, flags | _REQUEST, 0, 0)
    return header + _NETFILTER.pack(family, 0, resource) + attributes


def numbered(message: bytes, sequence: int, flags: int = 0) -> bytes:
    """A message with its sequence number, and with more flags."""
    data = bytearray(message)
    _number(data, 0, sequence, flags)
    return bytes(data)


def batch(messages: Sequence[bytes], sequence: int, generation: int | None = None) -> bytes:
    """One transaction of nf_tables, to be sent as one datagram.

    Its begin has the number `sequence`, message i `sequence + 1 + i`. The last message asks for
    an acknowledgement: errors are reported unasked, and by it success is told from silence.
    With `generation`, the kernel refuses (ERESTART) unless that is the ruleset's generation.
    """
    expected = b"" if generation is None else be32(_BATCH_GENERATION, generation)
    data = bytearray().join(
        (_boundary(_BATCH_BEGIN, expected), *messages, _boundary(_BATCH_END)),
    )
    at = 0
    for number in range(len(messages) + 2):
        last = number == len(messages) > 0
        _number(data, at, sequence + number, ACK if last else 0)
        at += _OFFSET.unpack_from(data, at)[0]
    return bytes(data)


def asks_for_dump(message: bytes) -> bool:
    """Whether a question is answered by several messages and an end."""
    flags: int = _HEADER.unpack_from(message)[2]
    return flags & DUMP == DUMP


def read_messages_untrusted(data: bytes) -> Iterator[Message]:
    """The messages of a datagram.

    Raises:
        BadPacket: one is cut off.
    """
    at, end = 0, len(data)
    while at < end:
        if end - at < _HEADER.size:
            raise BadPacket("netlink message without a whole header")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > end:
            raise BadPacket("netlink message longer than its datagram, or shorter than its header")
        yield Message(kind, flags, sequence, port, data[at + _HEADER.size : at + length])
        at += length + 3 & ~3


def generation_mark(message: Message) -> bytes:
    """The low half of the ruleset's generation at which nf_tables wrote a message; else empty.

    The messages of a dump of one moment have the same. (The kernel flags other interrupted
    dumps with NLM_F_DUMP_INTR, but not those of set elements: seen on Linux 6.18.)
    """
    return message.payload[2:PREFIX] if message.kind >> 8 == NFTABLES else b""


def read_reply_untrusted(message: Message) -> Reply | None:
    """How a request ended, if this message says so (NLMSG_ERROR, NLMSG_DONE).

    Raises:
        BadPacket: it is cut off.
    """
    if message.kind not in (_ERROR, _DONE):
        return None
    if len(message.payload) < _ERROR_CODE.size:
        raise BadPacket("netlink answer without its code")
    code = -_ERROR_CODE.unpack_from(message.payload)[0]
    said = dict[int, bytes]()
    if message.flags & _ACK_TLVS:
        payload = message.payload
        for kind, begin, end in walk_untrusted(payload, _explanation_start(message)):
            said.setdefault(kind, payload[begin:end])
    offset = said.get(_REPLY_OFFSET)
    return Reply(
        code,
        message.sequence,
        said.get(_REPLY_TEXT, b"").rstrip(b"\0").decode(errors="replace"),
        _OFFSET.unpack(offset)[0] if offset and len(offset) == _OFFSET.size else None,
    )


def _explanation_start(message: Message) -> int:
    """Where the attributes of an extended answer begin: behind the request that it repeats."""
    start = _ERROR_CODE.size
    if message.kind == _DONE:
        return start
    if len(message.payload) < start + _HEADER.size:
        raise BadPacket("netlink error without the request's header")
    repeated: int = _HEADER.unpack_from(message.payload, start)[0]
    if message.flags & _CAPPED:
        repeated = _HEADER.size
    if repeated < _HEADER.size or start + repeated > len(message.payload):
        raise BadPacket("netlink error that repeats more than it holds")
    return start + (repeated + 3 & ~3)


def _boundary(kind: int, attributes: bytes = b"") -> bytes:
    length = _HEADER.size + _NETFILTER.size + len(attributes)
    return _HEADER.pack(length, kind, _REQUEST, 0, 0) + _NETFILTER.pack(0, 0, NFTABLES) + attributes


def _number(data: bytearray, at: int, sequence: int, flags: int) -> None:
    already: int = _FLAGS_AND_SEQUENCE.unpack_from(data, at + 6)[0]
    _FLAGS_AND_SEQUENCE.pack_into(data, at + 6, already | flags, sequence & 0xFFFFFFFF)
