"""The names of chains and sets, and the places of rules, straight over netlink (linux/netfilter/nf_tables.h).

A listing through nft reads every rule, and writes rules that its JSON has no words for to standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import DUMP, NFTABLES, PREFIX, read_messages_untrusted, request
from sekimori.wire.nlattributes import Reader, text

__all__ = [
    "dump_chains",
    "dump_rules",
    "dump_sets",
    "parse_chains_untrusted",
    "parse_rules_untrusted",
    "parse_sets_untrusted",
]

_INET: Final = 1  # NFPROTO_INET
_NEW_CHAIN, _GET_CHAIN, _NEW_RULE, _GET_RULE, _NEW_SET, _GET_SET = 3, 4, 6, 7, 9, 10
# NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME; NFTA_RULE_TABLE, NFTA_RULE_CHAIN; NFTA_SET_TABLE, NFTA_SET_NAME
_CHAIN: Final = Reader({(1,): "", (3,): ""})
_RULE: Final = Reader({(1,): "", (2,): ""})
_SET: Final = Reader({(1,): "", (2,): ""})


def dump_chains() -> bytes:
    """The question for the chains of all inet tables."""
    return request(NFTABLES, _GET_CHAIN, _INET, flags=DUMP)


def dump_sets(table: str) -> bytes:
    """The question for the sets and maps of an inet table."""
    return request(NFTABLES, _GET_SET, _INET, text(1, table), flags=DUMP)


def parse_chains_untrusted(data: bytes, table: str) -> list[str]:
    """The names of a table's chains in a datagram of the answer.

    Raises:
        BadPacket: it is cut off, or a chain has no name.
    """
    return list(_names(data, _NEW_CHAIN, _CHAIN, table))


def parse_sets_untrusted(data: bytes, table: str) -> list[str]:
    """The names of a table's sets and maps in a datagram of the answer.

    Raises:
        BadPacket: it is cut off, or a set has no name.
    """
    return list(_names(data, _NEW_SET, _SET, table))


def dump_rules(table: str) -> bytes:
    """The question for the rules of an inet table."""
    return request(NFTABLES, _GET_RULE, _INET, text(1, table), flags=DUMP)


def parse_rules_untrusted(data: bytes, table: str) -> list[str]:
    """The names of the chains that rules in a datagram of the answer stand in, one for every rule.

    Raises:
        BadPacket: it is cut off, or a rule has no chain.
    """
    return list(_names(data, _NEW_RULE, _RULE, table))


def _names(data: bytes, kind: int, reader: Reader, table: str) -> Iterator[str]:
    for message in read_messages_untrusted(data):
        if message.kind != NFTABLES << 8 | kind:
            continue
        if len(message.payload) < PREFIX:
            raise BadPacket("netfilter message without its header")
        of, name = reader.read_untrusted(message.payload, PREFIX, len(message.payload))
        if of is None or name is None:
            raise BadPacket("chain, rule or set without a name")
        if _text(of) == table:
            yield _text(name)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
