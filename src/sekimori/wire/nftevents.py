"""The tables of nf_tables, and events: whose transaction was committed, which tables came and went.

Layouts: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import DUMP, NFTABLES, PREFIX, read_messages_untrusted, request
from sekimori.wire.nlattributes import Reader

__all__ = [
    "ELEMENT_KINDS",
    "Change",
    "Generation",
    "Table",
    "TableGone",
    "TableMade",
    "dump_tables",
    "get_generation",
    "parse_events_untrusted",
    "parse_tables_untrusted",
]

_NEW_TABLE, _GET_TABLE, _DELETE_TABLE = 0, 1, 2
_NEW_ELEMENT, _DELETE_ELEMENT = 12, 14
_NEW_GENERATION, _GET_GENERATION = 15, 16

ELEMENT_KINDS: Final = (NFTABLES << 8 | _NEW_ELEMENT, NFTABLES << 8 | _DELETE_ELEMENT)
"""nlmsg_type of the events that tell of elements: one for every element, so by far the most."""


class Generation(NamedTuple):
    """A transaction was committed, or the answer to `get_generation`.

    `id` is the ruleset's number from then on; `port` the netlink port of the socket that
    changed it; `pid` the id of its *thread* in the machine's first pid namespace, and `name`
    that thread's name. Only the port tells for certain whose change it was.
    """

    id: int
    pid: int
    name: str
    port: int


class TableMade(NamedTuple):
    """A table was made; family is NFPROTO_* (1 is inet), `port` as in `Generation`."""

    family: int
    name: str
    port: int


class TableGone(NamedTuple):
    """A table was deleted; family is NFPROTO_* (1 is inet), `port` as in `Generation`."""

    family: int
    name: str
    port: int


class Table(NamedTuple):
    """A table that is there; `flags` are NFT_TABLE_F_* (1 dormant, 2 owner, 4 persist)."""

    family: int
    name: str
    flags: int
    handle: int


Change = Generation | TableMade | TableGone


def get_generation() -> bytes:
    """The question for the ruleset's generation; `parse_events_untrusted` reads the answer."""
    return request(NFTABLES, _GET_GENERATION, 0)


def dump_tables() -> bytes:
    """The question for all tables."""
    return request(NFTABLES, _GET_TABLE, 0, flags=DUMP)


def parse_tables_untrusted(data: bytes) -> list[Table]:
    """The tables in a datagram of an answer.

    Raises:
        BadPacket: it is cut off, or a table has no name.
    """
    return [
        _table(message.payload)
        for message in read_messages_untrusted(data)
        if message.kind == NFTABLES << 8 | _NEW_TABLE
    ]


def parse_events_untrusted(data: bytes) -> list[Change]:
    """The transactions and tables in a datagram of events; everything else costs one look at its header.

    Raises:
        BadPacket: it is cut off, or lacks what such an event says.
    """
    found: list[Change] = []
    for message in read_messages_untrusted(data):
        read = _EVENTS.get(message.kind)
        if read is not None:
            found.append(read(message.payload, message.port))
    return found


# NFTA_GEN_*: id, process, its name
_GENERATION: Final = Reader({(1,): "I", (2,): "I", (3,): ""})
# NFTA_TABLE_NAME, NFTA_TABLE_FLAGS, NFTA_TABLE_HANDLE
_TABLE: Final = Reader({(1,): "", (2,): "I", (4,): "Q"})


def _generation(payload: bytes, port: int) -> Generation:
    number, pid, name = _GENERATION.read_untrusted(_body(payload), PREFIX, len(payload))
    if number is None:
        raise BadPacket("generation without its number")
    return Generation(number, pid or 0, (name or b"").rstrip(b"\0").decode(errors="replace"), port)


def _table(payload: bytes) -> Table:
    name, flags, handle = _TABLE.read_untrusted(_body(payload), PREFIX, len(payload))
    if name is None:
        raise BadPacket("table without a name")
    return Table(payload[0], name.rstrip(b"\0").decode(errors="replace"), flags or 0, handle or 0)


def _body(payload: bytes) -> bytes:
    if len(payload) < PREFIX:
        raise BadPacket("netfilter message without its header")
    return payload


def _made(payload: bytes, port: int) -> TableMade:
    table = _table(payload)
    return TableMade(table.family, table.name, port)


def _gone(payload: bytes, port: int) -> TableGone:
    table = _table(payload)
    return TableGone(table.family, table.name, port)


_EVENTS: Final[dict[int, Callable[[bytes, int], Change]]] = {
    NFTABLES << 8 | _NEW_GENERATION: _generation,
    NFTABLES << 8 | _NEW_TABLE: _made,
    NFTABLES << 8 | _DELETE_TABLE: _gone,
}
