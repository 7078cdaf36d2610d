"""Entries travel as JSON between versions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sekimori.planes.relay.entry import Entry, Listen, Rate, Socks
from sekimori.planes.relay.placement import home_of, shares

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
FAR = Entry("e3", (Listen("tcp", "", 8080, 80),), ("192.0.2.1",), arrivals="vps")
NAMING = Entry(
    "e4",
    (Listen("unix", "/run/in.sock", 0, 0),),
    (),
    carrier="@direct",
    socks=Socks((("alice", "scrypt$x"),), ("*:443",), ("192.0.2.0/24",)),
)


@pytest.mark.parametrize("entry", [FULL, BARE, FAR, NAMING])
def test_round_trip_through_text(entry: Entry) -> None:
    back = Entry.from_json(json.loads(json.dumps(entry.to_json())))
    assert back == entry
    assert back.digest == entry.digest


def test_members_of_a_newer_version_are_ignored() -> None:
    value = json.loads(json.dumps(FULL.to_json()))
    value["new"] = value["listens"][0]["new"] = value["rate_total"]["new"] = 1
    assert Entry.from_json(value) == FULL


def test_another_term_is_another_digest() -> None:
    others = [
        replace(FULL, idle=None),
        replace(FULL, carrier="vps"),
        replace(FULL, arrivals="vps"),
        replace(FULL, socks=Socks()),
        replace(FULL, socks=Socks(rules=("*",))),
        replace(FULL, shut=True),
    ]
    assert len({each.digest for each in (FULL, BARE, *others)}) == len(others) + 2


def test_what_an_older_daemon_says_has_no_carriers() -> None:
    value = FULL.to_json()
    for name in ("carrier", "arrivals", "socks", "shut"):
        del value[name]
    assert Entry.from_json(value) == FULL


def test_what_is_shut_or_listens_elsewhere_needs_no_sockets() -> None:
    assert FULL.sockets == FULL.listens
    assert replace(FULL, shut=True).sockets == ()
    assert FAR.sockets == ()


@pytest.mark.parametrize(
    "entry",
    [
        FAR,
        NAMING,
        replace(FULL, carrier="vps"),
        replace(FULL, socks=Socks()),
        replace(FULL, targets=("/run/app.sock",)),
        replace(FULL, listens=NAMING.listens),
    ],
)
def test_what_an_older_worker_would_not_understand(entry: Entry) -> None:
    assert entry.needs_carriers
    assert not FULL.needs_carriers
    assert not BARE.needs_carriers


@pytest.mark.parametrize("entry", [FAR, NAMING])
def test_what_only_one_can_serve_goes_to_its_home(entry: Entry) -> None:
    for workers in (1, 2, 3, 7):
        assert shares(entry, workers) == {home_of(entry.id, workers): entry}


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
