"""The end of a mapping's time in a real daemon: at its second, with the grace, and what brings it back."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports
from tests.conftest import Open

pytestmark = pytest.mark.loopback

GRACE = 2.0
"""Seconds, of the shared daemon."""


def test_it_ends_at_its_second_and_flows_after_the_grace(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "for": "2s", "name": "brief"})
    end = datetime.fromisoformat(view["expires_at"]).timestamp()
    talker = peers.dial(port)
    assert talker.says_back(b"in time")

    refused = 0.0
    while not refused:
        before = time.time()
        if peers.accepts(port):
            assert before < end, "a newcomer was let in after the end"
        else:
            refused = time.time()
    assert refused >= end, "it ended before its time"
    assert talker.says_back(b"in grace")
    talker.ended()
    assert time.time() >= end + GRACE * 0.9

    assert view["id"] not in {each["id"] for each in daemon.client.mappings()}
    newest = daemon.client.history(subject=view["id"])[0]
    assert (newest["door"], newest["rows"][0]["verb"]) == ("expiry", "expire")
    assert abs(datetime.fromisoformat(newest["at"]).timestamp() - end) < 1.5


def test_udp_ends_at_its_second_too(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.udp_echo()
    port = free_ports()
    view = opened({"ports": f"udp/{port}", "to": f"127.0.0.1:{echo.port}", "for": "1s"})
    end = datetime.fromisoformat(view["expires_at"]).timestamp()
    eventually(lambda: time.time() >= end + 0.05)
    with pytest.raises(TimeoutError):
        peers.datagrams(port).ask(b"late", deadline=0.6)


def test_extending_in_time_keeps_it_open(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "for": "2s"})
    end = datetime.fromisoformat(view["expires_at"]).timestamp()
    longer = daemon.client.extend(view["id"], {"add": "1h"})["mappings"][0]
    assert datetime.fromisoformat(longer["expires_at"]).timestamp() == end + 3600
    eventually(lambda: time.time() > end + 0.2)
    assert peers.accepts(port)
    assert daemon.client.get(view["id"])["status"]["state"] == "open"


def test_undo_brings_back_what_expired(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo = peers.tcp_echo()
    port = free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "for": "1s"})
    eventually(lambda: view["id"] not in {each["id"] for each in daemon.client.mappings()})
    revision = daemon.client.history(subject=view["id"])[0]["number"]
    with pytest.raises(Problem) as told:
        daemon.client.undo(revision)
    assert told.value.exit_code != 0
    back = daemon.client.undo(revision, for_="1h")["mappings"][0]
    assert (back["id"], back["status"]["state"]) == (view["id"], "open")
    assert peers.accepts(port)
