"""Names of chains and sets: what the kernel tells is tried in tests/netns; here, what is not whole."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.errors import BadPacket
from sekimori.wire.nfnetlink import NFTABLES, request
from sekimori.wire.nftnames import parse_chains_untrusted, parse_rules_untrusted, parse_sets_untrusted
from sekimori.wire.nlattributes import text


def _answer(kind: int, *attributes: bytes) -> bytes:
    return request(NFTABLES, kind, 1, b"".join(attributes))


def test_names_of_one_table_are_told() -> None:
    chains = b"".join(
        _answer(3, text(1, table), text(3, name))
        for table, name in (("ours", "one"), ("theirs", "two"), ("ours", "three"))
    )
    assert parse_chains_untrusted(chains, "ours") == ["one", "three"]
    assert parse_sets_untrusted(chains, "ours") == []
    sets = _answer(9, text(1, "ours"), text(2, "a"))
    assert parse_sets_untrusted(sets, "ours") == ["a"]
    rules = b"".join(_answer(6, text(1, "ours"), text(2, chain)) for chain in ("one", "one", "three"))
    assert parse_rules_untrusted(rules, "ours") == ["one", "one", "three"]


def test_a_chain_without_a_name_is_refused() -> None:
    with pytest.raises(BadPacket):
        parse_chains_untrusted(_answer(3, text(1, "ours")), "ours")
    with pytest.raises(BadPacket):
        parse_sets_untrusted(struct.pack("=IHHII", 16, NFTABLES << 8 | 9, 0, 0, 0), "ours")


@given(st.binary(max_size=200))
def test_any_bytes_are_names_or_a_bad_packet(data: bytes) -> None:
    for parse in (parse_chains_untrusted, parse_rules_untrusted, parse_sets_untrusted):
        try:
            assert all(isinstance(name, str) for name in parse(data, "ours"))
        except BadPacket:
            continue
