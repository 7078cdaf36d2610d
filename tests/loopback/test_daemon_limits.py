"""Limits that come and go while flows live in several workers, and workers that let go by themselves."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sekimori.planes.relay.control import Control
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, Talker, eventually
from sekimori.testing.ports import free_ports
from tests.conftest import Open

pytestmark = pytest.mark.loopback

GRACE = 2.0
"""Seconds, of the shared daemon."""


def spread(
    daemon: DaemonProcess, peers: Peers, view: dict[str, Any], port: int, sources: int = 1
) -> list[Talker]:
    """Connections from the first `sources` loopback addresses, of which each worker has some of each."""

    async def found(control: Control) -> set[str]:
        if view["id"] not in await control.state():
            return set()
        return {row["source"] for row in await control.flows(view["id"])}

    names = [f"127.0.0.{2 + number}" for number in range(sources)]
    talkers: list[Talker] = []
    while len(talkers) < 128:
        talkers += [peers.dial(port, source=name) for name in names for _ in range(3)]
        assert all(talker.says_back(b"here") for talker in talkers)
        if all(set(names) <= each for each in daemon.ask_workers(found)):
            return talkers
    raise AssertionError("the connections do not spread over the workers")


def test_a_cap_turns_away_newcomers_and_leaves_flows(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    early = spread(daemon, peers, view, port)

    daemon.client.edit(view["id"], {"max_connections": 1})
    assert not any(peers.accepts(port) for _ in range(20))
    until = time.monotonic() + GRACE * 1.3
    eventually(lambda: time.monotonic() > until)
    assert all(talker.says_back(b"still here") for talker in early)

    daemon.client.edit(view["id"], {"max_connections": "none"})
    assert all(talker.says_back(b"and now") for talker in early)
    spread(daemon, peers, view, port)  # every worker accepts again
    assert all(talker.says_back(b"and after") for talker in early)


def test_a_cap_is_counted_exactly(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "max_connections": 3})
    held = [peers.dial(port) for _ in range(3)]
    assert all(talker.says_back(b"in") for talker in held)
    for _ in range(10):
        assert not peers.accepts(port)
    held[0].close()
    eventually(lambda: peers.accepts(port))
    figures = daemon.client.get(view["id"])["counters"]
    assert figures["refused"]["limit"] >= 10


def test_a_rate_is_counted_per_source(daemon: DaemonProcess, peers: Peers, opened: Open) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "limit": "3/h"})
    for source in ("127.0.0.2", "127.0.0.3"):
        assert [peers.accepts(port, source=source) for _ in range(5)] == [True, True, True, False, False]
    assert daemon.client.get(view["id"])["counters"]["refused"]["rate"] == 4


def test_narrowing_reaches_flows_from_before_the_cap(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talkers = spread(daemon, peers, view, port, sources=2)
    daemon.client.edit(view["id"], {"max_connections": 500})
    daemon.client.edit(view["id"], {"from": "127.0.0.2"})
    for talker in talkers:
        if talker.sock.getsockname()[0] == "127.0.0.2":
            assert talker.says_back(b"admitted")
        else:
            talker.ended(within=GRACE / 2)


def test_closing_now_reaches_flows_from_before_the_cap(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    view = opened({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    talkers = spread(daemon, peers, view, port)
    daemon.client.edit(view["id"], {"limit": "500/s"})
    daemon.client.close(view["id"], now=True)
    answered = time.monotonic()
    for talker in talkers:
        talker.ended()
    assert time.monotonic() - answered < GRACE / 2


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_what_workers_let_go_of_by_themselves_is_given_back(
    daemon: DaemonProcess, peers: Peers, opened: Open, protocol: str
) -> None:
    """As when their clock says that the end has come a moment before an extension reaches them."""
    port, inside = free_ports(), free_ports()
    peers.tcp_echo("127.0.0.1", inside)
    peers.udp_echo("127.0.0.1", inside)
    view = opened({"ports": f"{protocol}/{port}:{inside}", "to": "127.0.0.1"})

    async def let_go(control: Control) -> None:
        held = (await control.state()).get(view["id"])
        if held is not None:
            listens = tuple(Listen(key[0], key[1], key[2], inside, key[3]) for key in held.listens)  # type: ignore[arg-type]
            await control.set([Entry(view["id"], listens, ("127.0.0.1",), accept_until=1.0)])

    daemon.ask_workers(let_go)
    assert not _serves(peers, protocol, port)
    extended = daemon.client.extend(view["id"], {"add": "1h"})["mappings"][0]
    assert extended["status"]["state"] == "open"
    for _ in range(8):
        assert _serves(peers, protocol, port)


def _serves(peers: Peers, protocol: str, port: int) -> bool:
    if protocol == "tcp":
        return peers.accepts(port)
    try:
        return peers.datagrams(port).ask(b"?", deadline=1.0) == b"?"
    except TimeoutError:
        return False
