"""Clients that go away in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from typing import Any

from sekimori.model.decision import Made
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.request import Change, Close, Context, Submit
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.world import World


async def _outcome(world: World, *asks: Submit | Close | Change) -> str | None:
    try:
        await world.ask(*asks)
    except Problem as problem:
        return problem.code
    return None


async def test_a_commit_whose_client_went_away_stands_and_is_told_and_applied() -> None:
    world = World()
    writing, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    commit = world.ledger.write

    def slow(changes: Sequence[Made], context: Context, at: float, *terms: Any) -> Committed:
        loop.call_soon_threadsafe(writing.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(5)
        return commit(changes, context, at, *terms)

    world.ledger.write = slow  # type: ignore[assignment,method-assign]
    try:
        async with asyncio.TaskGroup() as group:
            client = group.create_task(world.open("80", name="web"))
            await writing.wait()
            client.cancel()
            # The next one decides only after the first was written, and sees it.
            second = group.create_task(_outcome(world, Submit(world.wish(ports="80", to="192.168.1.9"))))
            await asyncio.sleep(0)
            assert world.writer.turn.locked()
            go_on.set()
        assert client.cancelled()
        assert second.result() == "port-taken"
        assert [committed.revision for committed in world.commits] == [1]
        await world.engine.settle()
        assert world.held("web")
    finally:
        world.close()


async def test_a_pass_whose_client_went_away_is_made_again() -> None:
    class Stuck(MemoryPlane):
        async def apply(self, changes: Changes) -> MappingABC[str, Problem]:
            if not go_on.is_set():
                applying.set()
                await go_on.wait()
            return await super().apply(changes)

    applying, go_on = asyncio.Event(), asyncio.Event()
    world = World(plane=Stuck())
    try:
        async with asyncio.TaskGroup() as group:
            client = group.create_task(world.open("80", name="web", for_="1m"))
            await applying.wait()
            client.cancel()
        go_on.set()
        await world.engine.settle()
        assert world.held("web")
        await world.pass_time(60)
        assert world.named("web") is None
    finally:
        world.close()
