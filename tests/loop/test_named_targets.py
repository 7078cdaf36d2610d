"""Targets with names, followed by their TTL."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sekimori.model.actual import State
from sekimori.model.errors import Problem
from sekimori.model.request import Submit
from sekimori.testing.world import ALICE, World


async def test_a_named_target_is_resolved_before_it_is_granted(world: World) -> None:
    with pytest.raises(Problem) as caught:
        await world.open("80", to="kids-pc", name="web")
    assert (caught.value.code, world.ledger.revision) == ("no-such-host", 0)
    world.resolver.hosts["kids-pc"] = ("192.168.1.7",)
    web = await world.open("80", to="kids-pc", name="web")
    assert world.plane.held[web.id].targets == ("192.168.1.7",)


async def test_a_name_is_followed_by_its_ttl(world: World) -> None:
    world.resolver.hosts["kids-pc"] = ("192.168.1.7",)
    web = await world.open("80", to="kids-pc", name="web")
    async with world.running():
        world.resolver.hosts["kids-pc"] = ("192.168.1.8", "192.168.1.9")
        world.clock.advance(60)
        await world.until(lambda: world.plane.held[web.id].targets == ("192.168.1.8", "192.168.1.9"))
        # A name server that fails takes nothing away.
        del world.resolver.hosts["kids-pc"]
        asked = len(world.resolver.asked)
        world.clock.advance(60)
        await world.until(lambda: len(world.resolver.asked) > asked)
        await world.engine.settle()
        assert world.plane.held[web.id].targets == ("192.168.1.8", "192.168.1.9")
        assert world.status("web").state is State.OPEN
    assert world.ledger.revision == 1


async def test_names_of_plans_and_refusals_are_not_followed_for_ever(world: World) -> None:
    world.resolver.hosts |= {"a": ("192.168.1.7",), "b": ("192.168.1.8",)}
    await world.gate.explain([Submit(world.wish(ports="80", to="a"))], ALICE)
    await world.open("80")
    with pytest.raises(Problem):
        await world.open("80", to="b")
    assert (world.names.addresses("a"), world.names.addresses("b")) == ((), ())


async def test_a_name_learned_for_one_is_not_forgotten_by_the_end_of_another(world: World) -> None:
    world.resolver.hosts |= {f"h{n}": (f"192.168.1.{n}",) for n in range(1, 9)}
    async with asyncio.TaskGroup() as group:
        for n in range(1, 9):
            group.create_task(world.open(str(80 + n), to=f"h{n}", name=f"n{n}"))
    for n in range(1, 9):
        assert world.status(f"n{n}").state is State.OPEN


async def test_after_a_crash_a_name_that_cannot_be_found_waits_for_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.resolver.hosts["kids-pc"] = ("192.168.1.7",)
        await world.open("80", to="kids-pc", name="web")
        resolver = world.resolver
        world.reopen()
        known, resolver.hosts = resolver.hosts, {}
        async with world.running():
            await world.until(lambda: world.status("web").state is State.FAILED)
            problem = world.status("web").problem
            assert problem is not None
            assert problem.code == "no-such-host"
            resolver.hosts = known
            world.clock.advance(15)
            await world.until(lambda: world.status("web").state is State.OPEN)
    finally:
        world.close()
