"""Entries travel as JSON between versions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sekimori.planes.relay.entry import Entry, Listen, Rate
from sekimori.planes.relay.placement import shares

FULL = Entry(
    "e1",
    (Listen("tcp", "::", 80, 8080, dual=True), Listen("udp", "0.0.0.0", 53, 53)),
    ("192.0.2.1", "2001:db8::1"),
    sources=("198.51.100.0/24",),
    accept_until=1.5,
    grace=2.0,
    rate_per_source=Rate(1, 2.0),
    rate_total=Rate(3, 4.0),
    max_connections=5,
    proxy_protocol=2,
    idle=6.0,
)
BARE = Entry("e2", (), ())


@pytest.mark.parametrize("entry", [FULL, BARE])
def test_round_trip_through_text(entry: Entry) -> None:
    back = Entry.from_json(json.loads(json.dumps(entry.to_json())))
    assert back == entry
    assert back.digest == entry.digest


def test_members_of_a_newer_version_are_ignored() -> None:
    value = json.loads(json.dumps(FULL.to_json()))
    value["new"] = value["listens"][0]["new"] = value["rate_total"]["new"] = 1
    assert Entry.from_json(value) == FULL


def test_another_term_is_another_digest() -> None:
    assert len({FULL.digest, BARE.digest, replace(FULL, idle=None).digest}) == 3


def test_no_field_is_left_out_of_the_json() -> None:
    assert list(FULL.to_json()) == list(Entry.__slots__)


def test_one_worker_gets_all() -> None:
    assert shares(FULL, 1) == {0: FULL}


def test_limits_stay_together_and_leave_the_flows_of_others() -> None:
    parts = shares(FULL, 4)
    assert [part for part in parts.values() if not part.shut] == [FULL]
    assert len(parts) == 4
    only_udp = replace(FULL, listens=FULL.listens[1:])
    assert list(shares(only_udp, 4).values()) == [only_udp]


def test_tcp_goes_everywhere_and_datagrams_to_one() -> None:
    free = replace(FULL, rate_per_source=None, rate_total=None, max_connections=None)
    parts = shares(free, 3)
    assert set(parts) == {0, 1, 2}
    protocols = sorted(tuple(listen.protocol for listen in part.listens) for part in parts.values())
    assert protocols == [("tcp",), ("tcp",), ("tcp", "udp")]
    only_udp = replace(free, listens=free.listens[1:])
    assert list(shares(only_udp, 3).values()) == [only_udp]
