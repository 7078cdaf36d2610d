"""What the engine does by itself, beside what the gate has it do (tests/loop)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sekimori.model.actual import State
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.planes.memory import MemoryPlane
from sekimori.testing.contract_plane import wanted_for
from sekimori.testing.table import NOW, Table
from sekimori.testing.world import ALICE, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


async def test_a_deadline_set_by_another_pass_wakes_the_sleeping_loop(world: World) -> None:
    async with world.running():
        await world.until(lambda: not world.engine._wake.is_set())
        short = Table().open("80", name="short", for_="2s")
        assert world.clock.now() == NOW
        async with world.writer.turn:
            await world.writer.commit([Made(Verb.OPEN, None, short)], ALICE, NOW)
        # Whoever calls this tells the loop nothing: the pass itself must.
        await world.engine.ensure([short.id])
        assert world.held("short")
        world.clock.advance(2)
        await world.until(lambda: world.named("short") is None)


async def test_only_what_was_named_is_looked_at(world: World) -> None:
    one, two = await world.open("80"), await world.open("81")
    world.plane.held.clear()
    await world.engine.ensure([one.id])
    assert set(world.plane.held) == {one.id}
    await world.engine.ensure([two.id])
    assert set(world.plane.held) == {one.id, two.id}
    world.plane.applied.clear()
    await world.engine.ensure()
    assert world.plane.applied == []


async def test_since_is_when_the_state_began_and_checked_when_it_was_seen(world: World) -> None:
    await world.open("80", name="web")
    began = world.clock.now()
    world.clock.advance(10)
    world.engine.wake()
    await world.engine.settle()
    status = world.status("web")
    assert (status.since, status.checked_at) == (began, began + 10)


async def test_a_look_at_one_tells_of_one(world: World) -> None:
    one, two = await world.open("80", name="one"), await world.open("81", name="two")
    began = world.clock.now()
    world.engine.wake()
    await world.engine.settle()
    world.clock.advance(5)
    await world.engine.ensure([one.id])
    assert (world.status("one").checked_at, world.status("two").checked_at) == (began + 5, began)
    assert (world.status("one").since, world.engine.status(two.id).since) == (began, began)


async def test_deadlines_are_counted_anew_and_not_twice(world: World) -> None:
    for port in (80, 81, 82):
        await world.open(str(port), for_="1h")
    for _ in range(3):
        world.engine.wake()
        await world.engine.settle()
    assert sorted(key for _, key in world.engine._deadlines) == sorted(m.id for m in world.ledger.snapshot)
    await world.pass_time(3600)
    assert (list(world.ledger.snapshot), world.plane.held) == ([], {})


async def test_a_plane_that_could_not_be_asked_of_everything_is_asked_again_by_itself(world: World) -> None:
    world.plane.held["0ffff"] = wanted_for(9, 4000, world.plane)  # known to nobody
    world.plane.broken = Problem("unexpected", what="a test")
    await world.engine.settle()
    world.plane.broken = None
    await world.pass_time(2)
    assert world.plane.held == {}


async def test_a_state_is_published_when_it_changes_and_not_when_it_is_seen_again(world: World) -> None:
    web = await world.open("80", name="web")
    count = len(world.events)
    world.engine.wake()
    await world.engine.settle()
    assert len(world.events) == count
    world.plane.held.clear()
    world.plane.refuses[web.id] = Problem("unexpected", what="a test")
    world.engine.wake()
    await world.engine.settle()
    assert len(world.events) == count + 1


async def test_an_unknown_mapping_is_starting(world: World) -> None:
    status = world.engine.status("nobody")
    assert (status.state, status.since, world.engine.problem("nobody")) == (
        State.STARTING,
        world.clock.now(),
        None,
    )


async def test_a_pass_that_never_ends_is_an_error_and_not_a_hang(world: World) -> None:
    class Restless(MemoryPlane):
        async def observe(self):
            world.engine.wake()
            return await super().observe()

    world.engine._planes["relay"] = Restless()  # type: ignore[index]
    with pytest.raises(Problem, match="does not converge"):
        await world.engine.settle()


async def test_start_adopts_what_an_earlier_daemon_left(world: World) -> None:
    await world.open("80", name="web")
    world.plane.applied.clear()
    world.reopen()
    await world.engine.settle()
    assert world.plane.applied == []  # the fingerprint says that nothing need be done
    assert world.status("web").state is State.OPEN


async def test_what_ended_while_no_daemon_ran_is_ended_at_start(world: World) -> None:
    await world.open("80", name="web", for_="1m")
    world.clock.advance(3600)
    world.reopen()
    await world.engine.settle()
    assert (world.named("web"), world.plane.held) == (None, {})
    assert world.ledger.history()[0].rows[0].verb is Verb.EXPIRE
