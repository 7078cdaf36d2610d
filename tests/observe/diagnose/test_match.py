"""Matches, each in the form nft 1.0.6 lists it, against one forwarded packet after NAT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sekimori.observe.diagnose.match import matches
from sekimori.observe.diagnose.probe import Packet, Probe
from sekimori.observe.diagnose.ruleset import NamedSet, Statement
from sekimori.observe.diagnose.truth import Truth

from .listing import FORWARD, PINHOLE, ct, match, meta, payload

YES, NO, MAYBE = Truth.YES, Truth.NO, Truth.MAYBE
SETS = {
    "servers": NamedSet("servers", ({"range": ["192.168.1.5", "192.168.1.20"]},)),
    "unlisted": NamedSet("unlisted", None),
    "timed": NamedSet("timed", ({"elem": {"val": 80, "timeout": 5}},)),
    "empty": NamedSet("empty", ()),
}
SADDR, DADDR, DPORT = payload("ip", "saddr"), payload("ip", "daddr"), payload("tcp", "dport")


def packet_of(probe: Probe) -> Packet:
    packet = Packet.arriving(probe)
    packet.oif = probe.oif
    if probe.nat is not None:
        packet.translate(probe.nat)
    return packet


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (match(meta("iifname"), "wan"), YES),
        (match(meta("iifname"), "w*"), YES),
        (match(meta("iifname"), "wan", "!="), NO),
        (match(meta("oifname"), {"set": ["eth0", "lan"]}), YES),
        (match(meta("l4proto"), {"set": ["tcp", "udp"]}), YES),
        (match(meta("l4proto"), 6), YES),
        (match(meta("l4proto"), 17), NO),
        (match(meta("nfproto"), "ipv6"), NO),
        (match(meta("mark"), 0), YES),
        (match({"&": [meta("mark"), 255]}, 1), NO),
        (match(meta("hour"), {"range": ["01:00", "02:00"]}), MAYBE),
        (match(DPORT, 80), YES),
        (match(DPORT, 8080), NO),
        (match(DPORT, {"range": [79, 81]}), YES),
        (match(DPORT, 1024, ">="), NO),
        (match(DPORT, "@timed"), YES),
        (match(DPORT, "@empty"), NO),
        (match(DPORT, "@unlisted"), MAYBE),
        (match(payload("udp", "dport"), 80), NO),
        (match(payload("udp", "dport"), 80, "!="), NO),  # there is none, so the rule ends
        (match(payload("th", "dport"), 80), YES),
        (match(payload("tcp", "sport"), 5000), NO),  # a client chose it
        (match(payload("tcp", "sport"), {"range": [1024, 40000]}), MAYBE),
        (match(payload("ip6", "daddr"), "::1", "!="), NO),
        (match(DADDR, "192.168.1.10"), YES),
        (match(DADDR, {"prefix": {"addr": "192.168.1.0", "len": 24}}), YES),
        (match({"&": [DADDR, "255.255.255.0"]}, "192.168.1.0"), YES),
        (match(DADDR, "@servers"), YES),
        (match({"concat": [DADDR, DPORT]}, {"set": [{"concat": ["192.168.1.10", 80]}]}), YES),
        (match({"concat": [DADDR, DPORT]}, {"set": [{"concat": ["192.168.1.10", {"range": [81, 90]}]}]}), NO),
        (match(SADDR, "198.51.100.7"), NO),
        (match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="), YES),
        (match(SADDR, {"prefix": {"addr": "0.0.0.0", "len": 0}}), YES),
        (match(SADDR, {"set": [{"range": ["1.0.0.0", "60.0.0.0"]}]}), MAYBE),
        (match(ct("state"), ["established", "related"], "in"), NO),
        (match(ct("state"), "new", "in"), YES),
        (match(ct("state"), "established", "!="), YES),
        (match(ct("state"), {"set": ["established", "new"]}), YES),
        (match(ct("status"), "dnat", "in"), YES),
        (match({"&": [ct("status"), "dnat"]}, "dnat"), YES),
        (match(ct("direction"), "original"), YES),
        (match(ct("ip daddr", dir="original"), "203.0.113.2"), YES),
        (match(ct("proto-dst", dir="original"), 8080), YES),
        (match(ct("ip saddr", dir="reply"), "192.168.1.10"), YES),
        (match(ct("label"), 7, "in"), MAYBE),
        (match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), NO),
        (match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False), NO),
        (match({"&": [payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]]}, "syn"), YES),
        (match({"&": [payload("ip", "frag-off"), 8191]}, 0, "!="), NO),
        (match({"payload": {"base": "th", "offset": 0, "len": 16}}, 1), MAYBE),
        ({"limit": {"rate": 3, "per": "minute"}}, YES),
        ({"limit": {"rate": 3, "per": "minute", "inv": True}}, NO),
        ({"ct count": {"val": 5, "inv": True}}, NO),
        ({"set": {"op": "update", "elem": SADDR, "set": "@x", "stmt": [{"limit": {"inv": True}}]}}, NO),
        ({"set": {"op": "add", "elem": SADDR, "set": "@x"}}, YES),
        ({"counter": {"packets": 0, "bytes": 0}}, YES),
        ({"xt": {"type": "match", "name": "conntrack"}}, MAYBE),
        ({"xt": {"type": "match", "name": "comment"}}, YES),
        ({"something new": {}}, MAYBE),
    ],
)
def test_a_forwarded_packet(statement: dict[str, Any], expected: Truth) -> None:
    ((kind, body),) = statement.items()
    assert matches(Statement(kind, body), packet_of(FORWARD), SETS) is expected


def test_ipv6_addresses_by_their_suffix() -> None:
    left = {"&": [payload("ip6", "daddr"), "::ffff:ffff:ffff:ffff"]}
    statement = Statement("match", match(left, "::10")["match"])
    assert matches(statement, packet_of(PINHOLE), {}) is YES


@pytest.mark.parametrize(("port", "expected"), [(22, NO), ({"range": [1024, 65535]}, YES), (40000, NO)])
def test_a_clients_port_is_one_of_many(port: Any, expected: Truth) -> None:
    back = Packet.arriving(replace(FORWARD, reply=True))
    assert matches(Statement("match", match(DPORT, port)["match"]), back, {}) is expected
