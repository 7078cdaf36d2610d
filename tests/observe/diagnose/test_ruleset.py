"""Listings of nft, read; addresses of strangers; whose chain it is."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.observe.diagnose.owners import Owner, recognise
from sekimori.observe.diagnose.passage import Place
from sekimori.observe.diagnose.ruleset import RulesetUnreadable, read_ruleset
from sekimori.observe.diagnose.strangers import Stranger, address_span, holds
from sekimori.observe.diagnose.text import rule_text
from sekimori.observe.diagnose.truth import Truth

from .listing import ACCEPT, listing, match, meta, on, payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["table", "chain", "rule", "set", "family", "name", "expr"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_is_listed_is_read_or_refused(document: Any) -> None:
    try:
        read_ruleset({"nftables": document})
    except RulesetUnreadable:
        return


def test_a_set_without_elements_is_empty_or_unknown() -> None:
    named = {"set": {"family": "inet", "table": "other", "name": "s", "type": "ipv4_addr"}}
    document = listing(("c", on("forward"), []), more=[named])
    for terse, expected in ((False, ()), (True, None)):
        table = read_ruleset(document, terse=terse).table("inet", "other")
        assert table is not None
        assert table.sets["s"].elements == expected


def test_elements_that_are_learnt_later() -> None:
    named = {"set": {"family": "inet", "table": "other", "name": "s", "type": "ipv4_addr"}}
    ruleset = read_ruleset(listing(more=[named]), terse=True).with_elements(
        "inet", "other", "s", ["10.0.0.1"]
    )
    table = ruleset.table("inet", "other")
    assert table is not None
    assert table.sets["s"].elements == ("10.0.0.1",)


def test_rules_are_written_as_nft_writes_them() -> None:
    expressions = [
        match(meta("iifname"), "wan"),
        match(payload("ip", "saddr"), {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="),
        match(payload("tcp", "dport"), {"set": [80, {"range": [90, 99]}]}),
        match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False),
        {"dnat": {"family": "ip6", "addr": "2001:db8::1", "port": 80}},
    ]
    assert rule_text(next(iter(each.items())) for each in expressions) == (
        'iifname "wan" ip saddr != 10.0.0.0/8 tcp dport { 80, 90-99 } fib saddr . iif oif missing '
        "dnat ip6 to [2001:db8::1]:80"
    )


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (["0.0.0.0/0"], Truth.YES),
        ([{"prefix": {"addr": "0.0.0.0", "len": 1}}, {"prefix": {"addr": "128.0.0.0", "len": 1}}], Truth.YES),
        (["10.0.0.0/8", "192.168.0.0/16"], Truth.NO),
        (["198.51.100.0/24"], Truth.NO),
        ([f"{first}.0.0.0/8" for first in range(20, 60)], Truth.MAYBE),
        (["2001:db8::/32"], Truth.NO),
    ],
)
def test_a_stranger_is_in_nearly_all_and_not_in_next_to_none(elements: list[Any], expected: Truth) -> None:
    spans = [span for each in elements if (span := address_span(each)) is not None]
    assert len(spans) == len(elements)
    assert holds(spans, Stranger(4)) is expected


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_address_is_in_a_range_that_holds_it(one: Any, two: Any, who: Any) -> None:
    first, last = sorted((one, two))
    span = address_span({"range": [str(first), str(last)]})
    assert span is not None
    assert holds([span], who) is Truth.of(first <= who <= last)
    assert holds([span], ipaddress.ip_address("::1")) is Truth.NO


@pytest.mark.parametrize(
    ("family", "table", "chains", "place", "owner"),
    [
        ("ip", "filter", ["FORWARD"], ("FORWARD", 0), Owner.IPTABLES),
        ("ip", "filter", ["FORWARD", "DOCKER-USER"], ("FORWARD", 0), Owner.DOCKER),
        ("ip", "filter", ["FORWARD", "DOCKER-USER"], ("FORWARD", 5), Owner.IPTABLES),
        ("ip", "filter", ["FORWARD", "DOCKER-USER", "ufw-before-forward"], ("FORWARD", 0), Owner.UFW),
        ("ip", "filter", ["INPUT", "DOCKER-USER"], ("INPUT", 0), Owner.IPTABLES),
        ("ip6", "filter", ["INPUT", "ufw6-before-input"], ("INPUT", 0), Owner.UFW),
        ("ip", "filter", ["DOCKER-ISOLATION-STAGE-2"], ("DOCKER-ISOLATION-STAGE-2", 4), Owner.DOCKER),
        ("ip", "filter", ["LIBVIRT_FWI"], ("LIBVIRT_FWI", 4), Owner.LIBVIRT),
        ("ip", "libvirt_network", ["guest_input"], ("guest_input", 4), Owner.LIBVIRT),
        ("inet", "netavark", ["FORWARD"], ("FORWARD", 4), Owner.NETAVARK),
        ("ip", "filter", ["NETAVARK_FORWARD"], ("NETAVARK_FORWARD", 4), Owner.NETAVARK),
        ("inet", "firewalld", ["filter_FORWARD"], ("filter_FORWARD", 4), Owner.FIREWALLD),
        ("inet", "fw4", ["handle_reject"], ("handle_reject", 4), Owner.FW4),
        ("inet", "filter", ["forward"], ("forward", 0), Owner.NFT),
    ],
)
def test_whose_chain_it_is(
    family: str, table: str, chains: list[str], place: tuple[str, int], owner: Owner
) -> None:
    shapes = [(name, on("forward") if name in ("FORWARD", "INPUT") else None, [[ACCEPT]]) for name in chains]
    ruleset = read_ruleset(listing(*shapes, family=family, table=table))
    chain, handle = place
    assert recognise(ruleset, Place(family, table, chain, handle, "", chain, "forward", 0)) is owner
