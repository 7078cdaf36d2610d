"""What time alone brings about: expiry, hours, and wakes on time."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sekimori.model.actual import State
from sekimori.model.decision import Verb
from sekimori.model.request import Submit
from sekimori.model.words import Reading, parse_wish
from sekimori.reconcile.engine import RESYNC
from sekimori.testing.clock import FakeClock
from sekimori.testing.world import ALICE, World


async def test_a_mapping_ends_at_its_second_with_a_row_in_the_journal(world: World) -> None:
    mapping = await world.open(name="web", for_="1h")
    await world.pass_time(3599)
    assert world.held("web")
    await world.pass_time(1)
    assert not world.held("web")
    assert world.named("web") is None
    revision = world.ledger.history()[0]
    (row,) = revision.rows
    assert (row.verb, row.before, row.after) == (Verb.EXPIRE, mapping.to_document(), None)
    assert (str(revision.actor), revision.door) == ("trigger:clock", "expiry")
    assert world.plane.graces == {mapping.id: 10.0}


async def test_those_that_end_together_are_one_revision(world: World) -> None:
    for port in (80, 81, 82):
        await world.open(str(port), for_="1h")
    await world.open("83", for_="2h")
    await world.pass_time(3600)
    assert len(world.ledger.history()[0].rows) == 3
    assert len(world.ledger.snapshot) == 1


async def test_what_is_paused_or_outside_its_hours_expires_too(world: World) -> None:
    await world.open("80", name="still", for_="1h")
    await world.pause("still")
    await world.open("81", name="later", for_="1h", hours="mon/00:00-00:01")
    assert world.status("later").state is State.OUTSIDE_HOURS
    await world.pass_time(3600)
    assert len(world.ledger.snapshot) == 0


async def test_hours_open_and_close_it(world: World) -> None:
    # The clock stands at Sunday 2025-06-15 15:06:40 UTC.
    mapping = await world.open(name="web", hours="daily/15:00-16:00", permanent="always")
    closes = datetime(2025, 6, 15, 16, tzinfo=ZoneInfo("UTC")).timestamp()
    assert world.plane.held[mapping.id].accept_until == closes
    await world.pass_time(closes - world.clock.now() - 1)
    assert world.held("web")
    await world.pass_time(1)
    assert not world.held("web")
    assert world.status("web").state is State.OUTSIDE_HOURS
    await world.pass_time(23 * 3600 - 1)
    assert not world.held("web")
    await world.pass_time(1)
    assert world.held("web")
    assert world.status("web").since == closes + 23 * 3600
    assert world.ledger.revision == 1  # hours are terms, not changes


async def test_hours_follow_the_wall_clock_over_a_change_of_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, 12, tzinfo=berlin).timestamp()
    world = World(clock=FakeClock(start))
    try:
        reading = Reading(start, "Europe/Berlin", lambda _name: None)
        words = {
            "ports": "80",
            "to": "self:8080",
            "hours": "daily/09:00-18:00",
            "permanent": "x",
            "name": "web",
        }
        await world.gate.enact([Submit(parse_wish(words, reading))], ALICE)
        opens = datetime(2026, 3, 29, 9, tzinfo=berlin).timestamp()
        assert opens - datetime(2026, 3, 28, 18, tzinfo=berlin).timestamp() == 14 * 3600
        await world.pass_time(6 * 3600)
        assert not world.held("web")
        await world.pass_time(14 * 3600 - 1)
        assert not world.held("web")
        await world.pass_time(1)
        assert world.held("web")
    finally:
        world.close()


async def test_the_running_engine_wakes_for_what_was_opened_while_it_slept(world: World) -> None:
    async with world.running():
        await world.until(lambda: world.engine._wake.is_set() is False)
        await world.open("80", name="short", for_="2s")
        await world.open("81", name="soon", hours="daily/15:06-15:07", for_="1h")  # closes in 20 s
        # Far less than a resync: only its own deadline can bring this about.
        world.clock.advance(2)
        await world.until(lambda: world.named("short") is None and not world.held("short"))
        world.clock.advance(18)
        await world.until(lambda: not world.held("soon"))
        assert world.status("soon").state is State.OUTSIDE_HOURS


async def test_what_was_taken_away_behind_our_back_comes_back_by_the_slow_resync(world: World) -> None:
    async with world.running():
        await world.open("80", name="web")
        await world.until(lambda: not world.engine._wake.is_set())
        world.plane.held.clear()
        # Other wakes in between do not put the resync off.
        for _ in range(4):
            world.clock.advance(RESYNC / 4)
            world.engine.wake(["nothing"])
            await world.until(lambda: not world.engine._wake.is_set() and not world.engine._dirty)
        await world.until(lambda: world.held("web"))


async def test_a_wake_brings_it_back_at_once_and_removes_what_nobody_asked_for(world: World) -> None:
    mapping = await world.open("80", name="web")
    stranger = world.plane.held.pop(mapping.id)
    world.plane.held["stranger"] = stranger
    world.engine.wake()
    await world.engine.settle()
    assert set(world.plane.held) == {mapping.id}
    assert world.plane.graces["stranger"] == 10.0


async def test_deadlines_do_not_pile_up(world: World) -> None:
    await world.open("80", name="web")
    for _ in range(50):
        world.clock.advance(RESYNC)
        world.engine.wake()
        await world.engine.settle()
    assert len(world.engine._deadlines) <= 2
