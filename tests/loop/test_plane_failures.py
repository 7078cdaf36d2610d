"""Planes that fail, in part or altogether."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping as MappingABC
from dataclasses import replace

import pytest

from sekimori.model.actual import State
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop, Mapping
from sekimori.model.request import Change, Close, Define, Submit
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.world import ALICE, World

BROKEN = Problem("unexpected", what="a test broke it")


async def test_what_could_not_be_opened_is_taken_back_and_said(world: World) -> None:
    world.plane.refuses["00001"] = BROKEN
    with pytest.raises(Problem) as caught:
        await world.open("80", name="web")
    assert (caught.value.code, caught.value.exit_code) == ("not-applied", 5)
    assert "a test broke it" in caught.value.title()
    for language in ("en", "ja"):  # what helps is what helps against the cause
        assert BROKEN.fix(language) in caught.value.fix(language)
    assert (world.named("web"), world.plane.held) == (None, {})
    taken, opened = world.ledger.history()
    assert (opened.rows[0].verb, taken.rows[0].verb) == (Verb.OPEN, Verb.UNDO)
    assert taken.why.startswith("taken back: cannot open web")
    assert taken.rows[0].before == opened.rows[0].after


async def test_a_plain_undo_passes_over_what_was_taken_back(world: World) -> None:
    await world.open("80", name="web")
    world.plane.refuses["00002"] = BROKEN
    with pytest.raises(Problem):
        await world.open("81", name="other")
    await world.undo()
    assert len(world.ledger.snapshot) == 0
    await world.undo()
    assert world.held("web")


async def test_a_failed_edit_leaves_what_was_there(world: World) -> None:
    web = await world.open("80", name="web")
    world.plane.refuses[web.id] = BROKEN
    with pytest.raises(Problem, match="cannot open web"):
        await world.edit("web", ports="81")
    del world.plane.refuses[web.id]
    await world.pass_time(1)
    stands = world.named("web")
    assert stands is not None
    assert stands.ports == web.ports
    assert world.plane.held[web.id].mapping == stands


async def test_a_batch_is_taken_back_whole(world: World) -> None:
    await world.open("80", name="a")
    await world.open("81", name="b")
    world.plane.refuses["00003"] = BROKEN
    new = Submit(world.wish(ports="80", to="192.168.1.9", name="new"))
    swap = Change("b", world.wish(name="a", ports="90"))
    with pytest.raises(Problem, match="cannot open new"):
        await world.ask(Close("a"), swap, new, Define("office", ()))
    assert {m.name: str(m.ports[0]) for m in world.ledger.snapshot} == {"a": "tcp/80", "b": "tcp/81"}
    assert world.ledger.snapshot.lists == {}
    assert (world.held("a"), world.held("b"), world.held("new")) == (True, True, False)


async def test_taking_back_does_not_undo_what_others_did_meanwhile() -> None:
    class Slow(MemoryPlane):
        """Refuses the second mapping, after others had their say."""

        async def apply(self, changes: Changes) -> MappingABC[str, Problem]:
            failed = await super().apply(changes)
            if any(wanted.mapping.name == "bad" for wanted in changes.put):
                meanwhile.set()
                await go_on.wait()
            return failed

    meanwhile, go_on = asyncio.Event(), asyncio.Event()
    world = World(plane=Slow())
    try:
        await world.open("80", name="old")
        world.plane.refuses["00002"] = BROKEN
        bad = Submit(world.wish(ports="81", to="192.168.1.5", name="bad"))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(_outcome(world, Close("old"), bad))
            await meanwhile.wait()
            # The port that was given up goes to somebody else, before the failure is known.
            taker = Submit(world.wish(ports="80", to="192.168.1.6", name="taker"))
            second = group.create_task(_outcome(world, taker))
            await world.until(lambda: world.named("taker") is not None)
            go_on.set()
        assert (first.result(), second.result()) == ("not-applied", None)
        assert [m.name for m in world.ledger.snapshot] == ["taker"]
        await world.engine.settle()
        assert [wanted.mapping.name for wanted in world.plane.held.values()] == ["taker"]
    finally:
        world.close()


async def _outcome(world: World, *asks: Submit | Close | Change) -> str | None:
    try:
        await world.ask(*asks)
    except Problem as problem:
        return problem.code
    return None


async def test_a_failed_mapping_is_tried_again_ever_less_often(world: World) -> None:
    web = await world.open("80", name="web", permanent="x")
    world.plane.held.clear()
    world.plane.refuses[web.id] = BROKEN
    world.engine.wake()
    await world.engine.settle()
    assert world.status("web").state is State.FAILED
    tries: list[float] = []
    for second in range(1, 130):
        before = len(world.plane.applied)
        await world.pass_time(1)
        if len(world.plane.applied) > before:
            tries.append(second)
    assert tries == [1, 3, 7, 15, 31, 61, 91, 121]
    del world.plane.refuses[web.id]
    await world.pass_time(30)
    assert world.status("web").state is State.OPEN
    # Once it succeeded, the next failure is tried again soon.
    world.plane.held.clear()
    world.plane.refuses[web.id] = BROKEN
    world.engine.wake()
    await world.engine.settle()
    del world.plane.refuses[web.id]
    await world.pass_time(1)
    assert world.held("web")


async def test_more_time_can_be_had_while_the_plane_fails(world: World) -> None:
    web = await world.open("80", name="web")
    world.plane.refuses[web.id] = BROKEN
    outcome = await world.extend("web", add=60)
    assert outcome.committed is not None
    await world.pause("web")
    assert world.named("web") is not None


async def test_what_could_not_be_taken_away_is_told_and_tried_again(world: World) -> None:
    web = await world.open("80", name="web")
    world.plane.refuses[web.id] = BROKEN
    outcome = await world.shut("web", now=True)
    (notice,) = outcome.notices
    assert notice.code == "still-there"
    assert "a test broke it" in notice.text()
    assert world.held("web")
    assert world.engine.problem(web.id) is BROKEN
    del world.plane.refuses[web.id]
    await world.pass_time(1)
    assert not world.held("web")
    assert world.plane.graces[web.id] == 0.0  # as was asked at the time
    assert world.engine.problem(web.id) is None


async def test_a_paused_mapping_that_still_accepts_is_not_called_paused(world: World) -> None:
    web = await world.open("80", name="web")
    world.plane.refuses[web.id] = BROKEN
    outcome = await world.pause("web")
    assert [notice.code for notice in outcome.notices] == ["still-there"]
    assert world.status("web").state is State.FAILED
    assert world.held("web")
    del world.plane.refuses[web.id]
    await world.pass_time(1)
    assert world.status("web").state is State.PAUSED


async def test_a_plane_that_cannot_be_asked_fails_what_it_should_hold_and_heals(world: World) -> None:
    async with world.running():
        await world.open("80", name="web")
        world.plane.broken = BROKEN
        world.engine.wake()
        await world.until(lambda: world.status("web").state is State.FAILED)
        with pytest.raises(Problem, match="cannot open other"):
            await world.open("81", name="other")
        closing = await world.shut("web")
        assert [notice.code for notice in closing.notices] == ["still-there"]
        world.plane.broken = None
        world.clock.advance(30)
        await world.until(lambda: not world.plane.held)
        await world.open("81", name="other")


async def test_a_plane_that_is_gone_is_no_open_port(world: World) -> None:
    web = await world.open("80", name="web")
    away = Made(Verb.CHANGE, world.named("web"), _via(world, "kernel"))
    async with world.writer.turn:
        await world.writer.commit([away], ALICE, world.clock.now())
    world.engine.wake([web.id])
    await world.engine.settle()
    status = world.status("web")
    assert status.state is State.FAILED
    assert status.problem is not None
    assert (status.problem.code, world.plane.held) == ("no-plane", {})


def _via(world: World, plane: str) -> Mapping:
    mapping = world.named("web")
    assert mapping is not None
    return replace(mapping, path=(Hop(plane),))
