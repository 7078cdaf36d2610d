"""What a user sees of flows through a real daemon: bytes, counters, and how changes treat them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, Talker, eventually
from sekimori.testing.ports import free_ports
from tests.conftest import Open

pytestmark = pytest.mark.loopback

GRACE = 2.0
"""Seconds, of the shared daemon."""


def counters(daemon: DaemonProcess, view: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = daemon.client.get(view["id"])["counters"]
    return found


def is_carried(talker: Talker) -> bool:
    """Whether the connection still carries bytes, both ways."""
    return talker.says_back(b"still there?")


def test_counters_are_right_while_the_flow_lives(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo(tag=b"hello")
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    assert view["status"]["state"] == "open"
    talker = peers.dial(port)
    assert talker.exactly(5) == b"hello"
    assert talker.says_back(b"x" * 1000)

    figures = eventually(lambda: _if(counters(daemon, view), bytes_out=1005))
    assert (figures["bytes_in"], figures["flows_active"], figures["flows_total"]) == (1000, 1, 1)
    assert figures["last_flow_at"] is not None

    moved = peers.transfer(talker)
    eventually(lambda: moved.blocks >= 40)
    bulk = moved.finish()
    figures = eventually(lambda: _if(counters(daemon, view), bytes_out=1005 + bulk))
    assert (figures["bytes_in"], figures["flows_active"]) == (1000 + bulk, 1)

    talker.close()
    figures = eventually(lambda: _if(counters(daemon, view), flows_active=0))
    assert (figures["bytes_in"], figures["bytes_out"], figures["flows_total"]) == (
        1000 + bulk,
        1005 + bulk,
        1,
    )


def test_who_tells_each_flow_and_source(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talkers = [peers.dial(port, source=source) for source in ("127.0.0.2", "127.0.0.3", "127.0.0.3")]
    for talker in talkers:
        assert talker.says_back(b"12345")

    who = daemon.client.who(view["name"])
    assert sorted(flow["source"] for flow in who["flows"]) == sorted(
        "{}:{}".format(*talker.sock.getsockname()) for talker in talkers
    )
    assert {flow["target"] for flow in who["flows"]} == {f"127.0.0.1:{echo.port}"}
    by_source = {row["source"]: row for row in who["sources"]}
    assert by_source.keys() == {"127.0.0.2", "127.0.0.3"}
    assert by_source["127.0.0.3"]["flows_active"] == 2
    eventually(lambda: {row["bytes_in"] for row in daemon.client.who(view["name"])["flows"]} == {5})


def test_udp_is_counted_by_datagram(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.udp_echo()
    port = free_ports()
    view = opened({"ports": f"udp/{port}", "to": f"127.0.0.1:{echo.port}"})
    one, other = peers.datagrams(port), peers.datagrams(port)
    for payload in (b"a" * 10, b"", b"b" * 9000, b"c" * 65507):
        one.sock.send(payload)
        assert one.sock.recv(1 << 16) == payload
    other.sock.send(b"d")
    assert other.sock.recv(1 << 16) == b"d"

    figures = counters(daemon, view)
    assert (figures["packets_in"], figures["packets_out"], figures["flows_active"]) == (5, 5, 2)
    assert figures["bytes_in"] == figures["bytes_out"] == 10 + 9000 + 65507 + 1


def test_closing_ends_flows_after_the_grace(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talker = peers.dial(port)
    assert is_carried(talker)

    before = time.monotonic()
    daemon.client.close(view["id"])
    assert is_carried(talker)
    assert not peers.accepts(port)
    talker.ended()
    assert time.monotonic() - before >= GRACE * 0.9
    assert view["id"] not in {each["id"] for each in daemon.client.mappings()}


def test_closing_now_ends_flows_now(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talker = peers.dial(port)
    assert is_carried(talker)

    daemon.client.close(view["id"], now=True)
    answered = time.monotonic()
    talker.ended()
    assert time.monotonic() - answered < GRACE / 2


def test_a_closed_port_can_be_opened_again_at_once(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    port = free_ports()
    for protocol in ("tcp", "udp"):
        for tag in (b"one", b"two", b"three"):
            echo = peers.tcp_echo(tag=tag) if protocol == "tcp" else peers.udp_echo(tag=tag)
            view = opened({"ports": f"{protocol}/{port}", "to": f"127.0.0.1:{echo.port}"})
            if protocol == "tcp":
                assert peers.dial(port).exactly(len(tag)) == tag
            else:
                assert peers.datagrams(port).ask(b"?") == tag + b"?"
            daemon.client.close(view["id"])  # its flow lives on, for its grace


def test_pause_and_resume(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    assert peers.accepts(port)

    paused = daemon.client.edit(view["id"], paused=True)["mappings"][0]
    assert (paused["paused"], paused["status"]["state"]) == (True, "paused")
    assert not peers.accepts(port)

    resumed = daemon.client.edit(view["id"], paused=False)["mappings"][0]
    assert (resumed["paused"], resumed["status"]["state"]) == (False, "open")
    assert peers.accepts(port)


def test_flows_survive_a_pause_that_is_shorter_than_the_grace(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talker = peers.dial(port)
    daemon.client.edit(view["id"], paused=True)
    daemon.client.edit(view["id"], paused=False)
    assert is_carried(talker)
    until = time.monotonic() + GRACE * 1.3
    eventually(lambda: is_carried(talker) and time.monotonic() > until, every=0.1)


def test_a_new_target_takes_new_flows_and_old_ones_get_the_grace(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    old, new = peers.tcp_echo(tag=b"old"), peers.tcp_echo(tag=b"new")
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{old.port}"})
    early = peers.dial(port)
    assert early.exactly(3) == b"old"

    changed = time.monotonic()
    daemon.client.edit(view["id"], {"to": f"127.0.0.1:{new.port}"})
    assert peers.dial(port).exactly(3) == b"new"
    assert is_carried(early)
    early.ended()
    assert time.monotonic() - changed >= GRACE * 0.9
    assert len(old.seen) == 1


def test_a_new_udp_target_takes_the_next_flow(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    old, new = peers.udp_echo(tag=b"old"), peers.udp_echo(tag=b"new")
    port = free_ports()
    view = opened({"ports": f"udp/{port}", "to": f"127.0.0.1:{old.port}"})
    assert peers.datagrams(port).ask(b"?") == b"old?"
    daemon.client.edit(view["id"], {"to": f"127.0.0.1:{new.port}"})
    assert peers.datagrams(port).ask(b"?") == b"new?"


def test_narrowing_ends_only_the_flows_no_longer_admitted(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "from": "127.0.0.0/29"})
    stays, goes = peers.dial(port, source="127.0.0.2"), peers.dial(port, source="127.0.0.3")
    assert is_carried(stays)
    assert is_carried(goes)

    daemon.client.edit(view["id"], {"from": "127.0.0.2"})
    goes.ended(within=GRACE / 2)
    assert is_carried(stays)
    assert not peers.accepts(port, source="127.0.0.3")
    assert peers.accepts(port, source="127.0.0.2")


def test_a_refused_source_never_reaches_the_target(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    tcp, udp = peers.tcp_echo(), peers.udp_echo()
    port = free_ports()
    a = opened({"ports": f"tcp/{port}", "to": f"127.0.0.1:{tcp.port}", "from": "127.0.0.2"})
    b = opened({"ports": f"udp/{port}", "to": f"127.0.0.1:{udp.port}", "from": "127.0.0.2"})
    for _ in range(3):
        assert not peers.accepts(port, source="127.0.0.3")
        peers.datagrams(port, source="127.0.0.3").sock.send(b"?")
    # What was refused is counted before what was sent later is answered.
    assert peers.accepts(port, source="127.0.0.2")
    assert peers.datagrams(port, source="127.0.0.2").ask(b"!") == b"!"

    assert eventually(lambda: counters(daemon, a)["refused"].get("source") == 3)
    assert eventually(lambda: counters(daemon, b)["refused"].get("source") == 3)
    assert len(tcp.seen) == 1
    assert len(udp.seen) == 1


def test_changes_of_others_never_touch_a_flow(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo, elsewhere = peers.tcp_echo(), peers.tcp_echo()
    port, others = free_ports(), free_ports(20)
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "name": "kept"})
    moved = peers.transfer(peers.dial(port))
    eventually(lambda: moved.blocks > 0)
    changes = 0
    for number in range(20):
        other = opened({"ports": f"{others + number}", "to": f"127.0.0.1:{elsewhere.port}"})["id"]
        for fields in (
            {"from": "127.0.0.2"},
            {"max_connections": 5},
            {"from": "lan"},
            {"name": f"n{number}"},
        ):
            daemon.client.edit(other, fields)
        daemon.client.edit(other, paused=True)
        daemon.client.edit(other, paused=False)
        daemon.client.edit(other, {"to": f"127.0.0.1:{echo.port}"})
        daemon.client.extend(other, {"add": "1h"})
        daemon.client.close(other, now=number % 2 == 0)
        changes += 10
    assert changes == 200
    done = moved.blocks
    eventually(lambda: moved.blocks > done)  # it still moves
    total = moved.finish()
    figures = eventually(lambda: _if(counters(daemon, view), bytes_out=total))
    assert (figures["bytes_in"], figures["flows_active"], figures["flows_total"]) == (total, 1, 1)


def test_a_target_that_refuses_is_seen_as_a_reset_and_counted(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    port, nobody = free_ports(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{nobody}"})
    assert not peers.accepts(port)
    assert eventually(lambda: counters(daemon, view)["failed"].get("refused") == 1)


def _if(figures: dict[str, Any], **expected: int) -> dict[str, Any] | None:
    """The figures once they are as expected."""
    return figures if {key: figures[key] for key in expected} == expected else None
