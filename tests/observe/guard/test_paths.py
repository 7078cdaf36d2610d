"""Paths follow routers that come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop
from sekimori.observe.guard.paths import Paths
from sekimori.testing.world import FakeRouter, World

BOTH = (Hop("router"), Hop("relay"))


@pytest.fixture
def router() -> FakeRouter:
    made = FakeRouter()
    made.stands = False
    return made


@pytest.fixture
def world(router: FakeRouter) -> Iterator[World]:
    made = World(router=router)
    with contextlib.closing(made):
        yield made


def paths_of(world: World) -> Paths:
    return Paths(world.gate, lambda: world.ledger.snapshot, world.rules)


async def test_what_was_opened_before_the_router_was_found_is_opened_there_too(
    world: World, router: FakeRouter
) -> None:
    open_to_all = await world.open("8080", from_="anyone")
    await world.open("8081")
    await world.open("8082", from_="anyone", via="relay")
    paths = paths_of(world)
    await paths.look()
    assert world.ledger.revision == 3
    router.stands = True
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(paths.run())
        paths.wake()
        await world.until(lambda: bool(router.held))
        running.cancel()
    assert [*router.held] == [open_to_all.id]
    changed = world.ledger.snapshot.get(open_to_all.id)
    assert changed is not None
    assert changed.path == BOTH


async def test_one_that_the_router_refuses_does_not_keep_the_others(world: World, router: FakeRouter) -> None:
    first = await world.open("8080", from_="anyone")
    second = await world.open("8081", from_="anyone")
    router.stands = True
    router.refuses[first.id] = Problem("unexpected", what="no")
    await paths_of(world).look()
    assert [*router.held] == [second.id]
    assert {m.id: m.path for m in world.ledger.snapshot} == {first.id: (Hop("relay"),), second.id: BOTH}


async def test_a_router_that_falls_silent_keeps_its_hops(world: World, router: FakeRouter) -> None:
    router.stands = True
    mapping = await world.open("8080", from_="anyone")
    router.silent = True
    await paths_of(world).look()
    assert world.ledger.snapshot.get(mapping.id) == mapping
    router.silent, router.stands = False, False
    await paths_of(world).look()
    assert [m.path for m in world.ledger.snapshot] == [(Hop("relay"),)]
    assert not router.held
