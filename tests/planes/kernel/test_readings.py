"""What people are told of flows and counters."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.model.actual import Counters, Flow
from sekimori.planes.kernel.readings import (
    DEFAULT_TIMEOUTS,
    is_live,
    read_counters,
    read_flow,
    read_sources,
    timeout_name,
)
from sekimori.wire.conntrack import ASSURED, SEEN_REPLY, Entry
from sekimori.wire.nftelements import Seen

from .tracked import ESP, GRE, ICMP, NOW, SCTP, STRANGER, TCP, UDP, VISITOR, VISITOR6, WAN, flow

ICMPV6, OSPF = 58, 89
TCP_STATES = (
    *("none", "syn_sent", "syn_recv", "established", "fin_wait"),
    *("close_wait", "last_ack", "time_wait", "close", "syn_sent2"),
)
WEB = flow(TCP, f"{VISITOR} 40000", f"{WAN} 443", to="192.168.1.10 8443", timeout=432000 - 7)


def seen(packets: int | None, octets: int | None) -> Seen:
    return Seen(b"", None, None, None, None, None, packets, octets, False)


def test_a_flow_is_told_from_outside_to_its_target() -> None:
    assert read_flow(WEB, NOW) == Flow(
        protocol="tcp",
        source="198.51.100.10:40000",
        target="192.168.1.10:8443",
        bytes_in=500,
        bytes_out=4000,
        packets_in=5,
        packets_out=4,
        age=60.0,
        idle=7.0,
        state="established",
    )


@pytest.mark.parametrize(
    ("entry", "protocol", "source", "target"),
    [
        (flow(TCP, f"{VISITOR6} 1", "2001:db8:3::10 2"), "tcp", f"[{VISITOR6}]:1", "[2001:db8:3::10]:2"),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", to="192.168.1.10 3"), "udp", f"{VISITOR}:1", "192.168.1.10:3"),
        (flow(SCTP, f"{VISITOR} 1", f"{WAN} 2"), "sctp", f"{VISITOR}:1", f"{WAN}:2"),
        (flow(GRE, f"{VISITOR} 7", f"{WAN} 9", to="192.168.1.10 9"), "gre", VISITOR, "192.168.1.10"),
        (flow(ESP, VISITOR, WAN, to="192.168.1.10"), "esp", VISITOR, "192.168.1.10"),
        (flow(41, VISITOR, WAN, to="192.168.1.10"), "6in4", VISITOR, "192.168.1.10"),
        (flow(ESP, VISITOR6, "2001:db8:3::10"), "esp", VISITOR6, "2001:db8:3::10"),
        (flow(ICMP, VISITOR, WAN), "icmp", VISITOR, WAN),
        (flow(OSPF, VISITOR, WAN), "89", VISITOR, WAN),
    ],
    ids=lambda value: None if isinstance(value, Entry) else value,
)
def test_ends_have_ports_where_there_are_any(entry: Entry, protocol: str, source: str, target: str) -> None:
    told = read_flow(entry, NOW)
    assert (told.protocol, told.source, told.target) == (protocol, source, target)


@pytest.mark.parametrize(
    ("fields", "state", "live"),
    [
        *(({"state": number}, state, number not in (7, 8)) for number, state in enumerate(TCP_STATES)),
        ({"state": 42}, "42", True),
    ],
)
def test_tcp_states_are_conntracks_words(fields: dict[str, Any], state: str, live: bool) -> None:
    entry = flow(TCP, f"{VISITOR} 1", f"{WAN} 2", **fields)
    assert (read_flow(entry, NOW).state, is_live(entry)) == (state, live)
    assert timeout_name(entry) in DEFAULT_TIMEOUTS


@pytest.mark.parametrize(
    ("status", "state"), [(0, "unreplied"), (SEEN_REPLY, "replied"), (SEEN_REPLY | ASSURED, "assured")]
)
@pytest.mark.parametrize("protocol", [UDP, SCTP, GRE])
def test_other_protocols_have_been_answered_or_not(protocol: int, status: int, state: str) -> None:
    entry = flow(protocol, f"{VISITOR} 1", f"{WAN} 2", status=status)
    assert (read_flow(entry, NOW).state, is_live(entry)) == (state, True)


@pytest.mark.parametrize(
    ("entry", "name", "idle"),
    [
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", timeout=431_990), "tcp_timeout_established", 10),
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", timeout=301), "tcp_timeout_established", 431_699),
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", timeout=298), "tcp_timeout_unacknowledged", 2),
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", state=1, timeout=100), "tcp_timeout_syn_sent", 20),
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", state=9, timeout=100), "tcp_timeout_syn_sent", 20),
        (flow(TCP, f"{VISITOR} 1", f"{WAN} 2", state=7, timeout=100), "tcp_timeout_time_wait", 20),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=100), "udp_timeout_stream", 20),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=25, status=0), "udp_timeout", 5),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=25, status=SEEN_REPLY), "udp_timeout", 5),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=999), "udp_timeout_stream", 0),
        (flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=None), "udp_timeout_stream", 0),
        (flow(GRE, f"{VISITOR} 1", f"{WAN} 2", timeout=170), "gre_timeout_stream", 10),
        (flow(GRE, f"{VISITOR} 1", f"{WAN} 2", timeout=20, status=0), "gre_timeout", 10),
        (flow(SCTP, f"{VISITOR} 1", f"{WAN} 2", timeout=200), "sctp_timeout_established", 10),
        (flow(SCTP, f"{VISITOR} 1", f"{WAN} 2", timeout=1, status=0), "sctp_timeout_cookie_wait", 2),
        (flow(ICMP, VISITOR, WAN, timeout=20), "icmp_timeout", 10),
        (flow(ICMPV6, VISITOR6, "2001:db8:3::10", timeout=20), "icmpv6_timeout", 10),
        (flow(ESP, VISITOR, WAN, timeout=590), "generic_timeout", 10),
    ],
    ids=lambda value: None if isinstance(value, Entry) else str(value),
)
def test_idle_is_what_has_gone_of_the_timeout(entry: Entry, name: str, idle: float) -> None:
    assert (timeout_name(entry), read_flow(entry, NOW).idle) == (name, idle)


def test_timeouts_are_this_machines() -> None:
    entry = flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=100)
    assert read_flow(entry, NOW, {"udp_timeout_stream": 150}).idle == 50
    assert read_flow(entry, NOW, {"udp_timeout": 150}).idle == 20


def test_what_was_not_counted_reads_as_nothing() -> None:
    bare = flow(UDP, f"{VISITOR} 1", f"{WAN} 2", packets=None, bytes=None, reply_packets=None)
    told = read_flow(bare._replace(reply_bytes=None, started=None), NOW)
    assert (told.packets_in, told.bytes_in, told.packets_out, told.bytes_out, told.age) == (0, 0, 0, 0, 0.0)
    assert read_flow(WEB, NOW - 3600).age == 0.0, "a clock that was set back"


def test_sources_add_up_and_the_latest_comes_first() -> None:
    entries = [
        flow(UDP, f"{STRANGER} 1", f"{WAN} 2", timeout=90, started=(NOW - 500) * 10**9),
        flow(UDP, f"{VISITOR} 1", f"{WAN} 2", timeout=50, started=(NOW - 300) * 10**9),
        flow(UDP, f"{VISITOR} 2", f"{WAN} 2", timeout=115, started=(NOW - 20) * 10**9),
        flow(TCP, f"{VISITOR} 3", f"{WAN} 2", state=7, timeout=100),
        flow(UDP, f"{VISITOR6} 1", "2001:db8:3::10 2", timeout=60, started=None),
    ]
    visitor, stranger, six = read_sources(entries, NOW)
    assert (visitor.source, stranger.source, six.source) == (VISITOR, STRANGER, VISITOR6)
    assert (visitor.flows_active, visitor.flows_total) == (2, 3)
    assert (visitor.bytes_in, visitor.bytes_out) == (1500, 12000)
    assert (visitor.packets_in, visitor.packets_out) == (15, 12)
    assert (visitor.first_seen, visitor.last_seen) == (NOW - 300, NOW - 5)
    assert (stranger.first_seen, stranger.last_seen) == (NOW - 500, NOW - 30)
    assert (six.first_seen, six.last_seen, six.refused) == (NOW, NOW - 60, 0)
    assert read_sources([], NOW) == []


def test_counters_are_those_of_all_elements() -> None:
    ended = flow(TCP, f"{VISITOR} 3", f"{WAN} 443", state=8, started=(NOW - 9) * 10**9)
    found = read_counters(
        {
            "in": [seen(10, 1000), seen(5, 50)],
            "out": [seen(7, 7000)],
            "new": [seen(3, 180), seen(1, 60)],
            "asked": [seen(9, 540)],
        },
        [WEB, ended],
    )
    assert found == Counters(
        flows_active=1,
        flows_total=4,
        bytes_in=1050,
        bytes_out=7000,
        packets_in=15,
        packets_out=7,
        refused={"source": 5},
        last_flow_at=NOW - 9,
    )


@pytest.mark.parametrize(
    ("ways", "refused"),
    [
        ({"new": [seen(3, 0)], "asked": [seen(3, 0)]}, {}),
        ({"new": [seen(3, 0)], "asked": [seen(1, 0)]}, {}),  # read at different moments
        ({"new": [seen(3, 0)]}, {}),
        ({"asked": [seen(3, 0)]}, {}),  # how many were admitted is not known
        ({"new": [seen(0, 0)], "asked": [seen(3, 0)]}, {"limit": 3}),
        ({"new": [seen(None, None)], "asked": [seen(2, 0)]}, {"limit": 2}),
        ({}, {}),
    ],
)
def test_refused_are_those_who_asked_and_were_not_admitted(
    ways: dict[str, list[Seen]], refused: dict[str, int]
) -> None:
    assert read_counters(ways, refused_as="limit").refused == refused


def test_nothing_was_counted_yet() -> None:
    assert read_counters({}) == Counters()
