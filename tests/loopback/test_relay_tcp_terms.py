"""The terms of an entry, kept by a real worker: who may come in, and what a change does to live flows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.entry import Entry, Rate

from .relay_rig import Relay, Target, dial, ended, eventually, pair, port_of, running, turned_away

pytestmark = pytest.mark.loopback


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


@pytest.mark.parametrize(
    ("terms", "cause"),
    [
        ({"sources": ("192.0.2.0/24",)}, "source"),
        ({"sources": ()}, "source"),
        ({"max_connections": 0}, "limit"),
    ],
)
async def test_refused_newcomers_see_a_reset_and_the_target_is_not_touched(
    relay: Relay, terms: dict[str, Any], cause: str
) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, **terms)
        assert await turned_away(port_of(entry))
        stats = await relay.stats(entry)
        assert stats["refused"][cause] == 1
        assert stats["flows_total"] == 0
        assert target.untouched()
        assert (await relay.control.sources(entry.id))[0]["refused"] == 1


async def test_rates_and_limits_count_what_they_say(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, rate_per_source=Rate(2, 3600), rate_total=Rate(3, 3600))
        admitted = []
        for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2"):
            admitted.append(await dial(port_of(entry), source=source))
            await target.accept()
        assert await turned_away(port_of(entry), "127.0.0.1")  # its own two are used up
        assert await turned_away(port_of(entry), "127.0.0.2")  # it has one left, but all three are used up
        stats = await relay.stats(entry)
        assert (stats["flows_total"], stats["refused"]["rate"]) == (3, 2)
        for client in admitted:
            client.close()


async def test_a_connection_that_ends_makes_room_under_the_limit(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, max_connections=1)
        _, client, _ = await pair(relay, target, entry)
        assert await turned_away(port_of(entry))
        client.reset()
        assert await eventually(lambda: ended(relay, entry))
        _, third, server = await pair(relay, target, entry)
        await third.send(b"in")
        assert await server.receive() == b"in"
        third.close()


async def test_narrowing_ends_exactly_the_flows_no_longer_admitted(relay: Relay) -> None:
    with Target() as target:
        entry, other_entry = await relay.serve(target.port), await relay.serve(target.port)
        stays = await dial(port_of(entry), source="127.0.0.1")
        goes = await dial(port_of(entry), source="127.0.0.2")
        elsewhere = await dial(port_of(other_entry), source="127.0.0.2")
        servers = [await target.accept() for _ in range(3)]
        await relay.control.set([replace(entry, sources=("127.0.0.1/32",))])
        assert await goes.was_reset()
        for peer in (stays, elsewhere):
            await peer.send(b"still here")
        heard = await asyncio.gather(*[one.receive() for one in servers], return_exceptions=True)
        assert sorted(str(type(one).__name__) for one in heard) == ["ConnectionResetError", "bytes", "bytes"]
        for peer in (stays, goes, elsewhere):
            peer.close()


async def test_an_update_keeps_the_socket_and_its_queue(relay: Relay) -> None:
    with Target() as target:
        entry, client, server = await pair(relay, target)
        waiting = [await dial(port_of(entry)) for _ in range(20)]
        answer = await relay.control.set([replace(entry, idle=500.0, max_connections=100)])
        assert answer.missing == ()
        for peer in waiting:
            await peer.send(b"x")
            assert await (await target.accept()).receive() == b"x"
            peer.close()
        await client.send(b"old flow")
        assert await server.receive() == b"old flow"
        client.close()


async def test_a_new_target_port_keeps_the_socket_and_ends_old_flows_after_the_grace(relay: Relay) -> None:
    with Target() as old, Target() as new:
        entry = await relay.serve(old.port, grace=0.5)
        _, client, server = await pair(relay, old, entry)
        moved = replace(entry, listens=(replace(entry.listens[0], target_port=new.port),))
        begun = time.monotonic()
        assert (await relay.control.set([moved])).missing == ()
        newcomer = await dial(port_of(entry))
        fresh = await new.accept()
        await client.send(b"meanwhile")
        assert await server.receive() == b"meanwhile"
        assert await client.was_reset()
        assert time.monotonic() - begun >= 0.45
        await newcomer.send(b"new")
        assert await fresh.receive() == b"new"
        client.close()
        newcomer.close()


@pytest.mark.parametrize("grace", [0.0, 0.4])
async def test_removal_refuses_newcomers_at_once_and_ends_flows_after_the_grace(
    relay: Relay, grace: float
) -> None:
    with Target() as target:
        entry, client, _ = await pair(relay, target)
        begun = time.monotonic()
        await relay.control.set(remove={entry.id: grace})
        with pytest.raises(ConnectionRefusedError):
            await dial(port_of(entry))
        assert await client.was_reset()
        assert grace * 0.9 <= time.monotonic() - begun < grace + 2
        assert await eventually(lambda: forgotten(relay, entry))
        client.close()


async def forgotten(relay: Relay, entry: Entry) -> bool:
    return entry.id not in await relay.control.state()


async def test_setting_an_entry_again_within_its_grace_keeps_its_flows(relay: Relay) -> None:
    with Target() as target:
        entry, client, server = await pair(relay, target)
        await relay.control.set(remove={entry.id: 0.3})
        answer = await relay.control.set([entry])
        assert [row[0] for row in answer.missing] == [entry.id]  # the socket was closed, as it must be
        other = await relay.serve(target.port, idle=1.0)  # its idle end is later than the grace was
        marker = await dial(port_of(other))
        await target.accept()
        assert await marker.was_reset()
        await client.send(b"alive")
        assert await server.receive() == b"alive"
        client.close()
        marker.close()


async def test_cut_ends_the_flows_of_a_source_and_leaves_the_rest(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        ours = await dial(port_of(entry), source="127.0.0.1")
        theirs = [await dial(port_of(entry), source=f"127.0.1.{n}") for n in (1, 2)]
        for _ in range(3):
            await target.accept()
        assert await relay.control.cut(entry.id, "127.0.1.0/24") == 2
        for peer in theirs:
            assert await peer.was_reset()
            peer.close()
        assert [flow["source"] for flow in await relay.control.flows(entry.id)] == ["127.0.0.1"]
        assert await relay.control.cut(entry.id) == 1
        assert await ours.was_reset()
        ours.close()


async def test_live_bytes_are_in_the_figures(relay: Relay) -> None:
    with Target() as target:
        entry, client, server = await pair(relay, target)
        await client.send(b"12345")
        await server.exactly(5)
        await server.send(b"123")
        await client.exactly(3)
        stats = await relay.stats(entry)
        assert (stats["bytes_in"], stats["bytes_out"], stats["flows_active"]) == (5, 3, 1)
        assert abs(stats["last_flow_at"] - time.time()) < 5
        (row,) = await relay.control.sources(entry.id)
        assert (row["address"], row["active"], row["bytes_in"], row["bytes_out"]) == ("127.0.0.1", 1, 5, 3)
        (flow,) = await relay.control.flows(entry.id)
        assert (flow["source_port"], flow["bytes_in"]) == (client.sock.getsockname()[1], 5)
        client.close()
