"""Datagrams through a real worker process: figures, cuts, expiry, a daemon that is gone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.control import connect
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen
from tests.loopback.relay_rig import Relay, eventually, running

pytestmark = pytest.mark.loopback


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(the target, a client), on loopback."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for sock in (target, client):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        yield target, client


async def serve(relay: Relay, target: socket.socket, **terms: Any) -> Entry:
    listen = Listen("udp", "127.0.0.1", 0, target.getsockname()[1])
    sock = open_listen(listen)
    listen = replace(listen, port=sock.getsockname()[1])
    entry = Entry("udp", (listen,), ("127.0.0.1",), **terms)
    answer = await relay.control.set([entry], {(entry.id, listen): sock})
    assert (answer.missing, answer.bad) == ((), {})
    return entry


async def receive(sock: socket.socket) -> tuple[bytes, Any]:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recvfrom(sock, 70_000)


async def passes(entry: Entry, target: socket.socket, client: socket.socket, text: bytes) -> None:
    client.sendto(text, ("127.0.0.1", entry.listens[0].port))
    seen, peer = await receive(target)
    assert seen == text
    target.sendto(text[::-1], peer)
    assert (await receive(client))[0] == text[::-1]


async def test_figures_are_true_while_flows_live(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    target, client = ends
    async with running(tmp_path / "relay") as relay:
        entry = await serve(relay, target)
        for turn in range(5):
            await passes(entry, target, client, b"%d" % turn * 200)
        figures = await relay.stats(entry)
        assert (figures["packets_in"], figures["packets_out"]) == (5, 5)
        assert (figures["bytes_in"], figures["bytes_out"]) == (1000, 1000)
        (flow,) = await relay.control.flows(entry.id)
        assert (flow["protocol"], flow["source"]) == ("udp", "127.0.0.1")
        assert flow["source_port"] == client.getsockname()[1]
        (row,) = await relay.control.sources(entry.id)
        assert (row["active"], row["bytes_in"]) == (1, 1000)

        assert await relay.control.cut(entry.id, "127.0.0.1/32") == 1
        assert await relay.control.flows(entry.id) == []
        assert (await relay.stats(entry))["bytes_in"] == 1000
        await passes(entry, target, client, b"again, as a new flow")
        assert (await relay.stats(entry))["flows_total"] == 2


async def test_flows_outlive_the_daemon_and_are_found_by_the_next(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    target, client = ends
    async with running(tmp_path / "relay") as relay:
        entry = await serve(relay, target)
        await passes(entry, target, client, b"with a daemon")
        relay.control.close()
        await passes(entry, target, client, b"without one")
        relay.control = await connect(tmp_path / "relay")
        held = (await relay.control.state())[entry.id]
        assert (held.digest, held.flows) == (entry.digest, 1)
        assert (await relay.stats(entry))["packets_in"] == 2


async def test_a_mapping_ends_on_time_with_no_daemon(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    target, client = ends
    async with running(tmp_path / "relay") as relay:
        until = time.time() + 0.5
        entry = await serve(relay, target, accept_until=until, grace=0.2)
        await passes(entry, target, client, b"in time")
        relay.control.close()
        port = entry.listens[0].port

        def gone() -> bool:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
                try:
                    late.bind(("127.0.0.1", port))
                except OSError:
                    return False
            return time.time() >= until

        await eventually(gone)
        assert time.time() < until + 5
        relay.control = await connect(tmp_path / "relay")
        figures = await relay.stats(entry)
        assert (figures["flows_active"], figures["packets_in"]) == (0, 1)
