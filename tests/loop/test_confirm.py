"""What could lock its asker out: applied, and taken back on its second unless they confirm it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.gate.confirm import Waiting
from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Armed, Confirmed, Reverted
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Owner
from sekimori.model.request import Caller, Close, Configure, Context, Define, PutBan, Renew
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.ports import Ground
from sekimori.testing.world import ALICE, FILE, World

HERE = ipaddress.ip_address("198.51.100.10")
WAN = ipaddress.ip_address("203.0.113.5")
BY_SSH = replace(ALICE, caller=Caller(HERE, 50_000, WAN, 22))
ANEW = replace(ALICE, caller=Caller(HERE, 50_001, WAN, 22))
BOB = Context(Owner.parse("person:bob"), "api", caller=ANEW.caller)
MYSELF = ipaddress.ip_network("198.51.100.10")
SOMEBODY = ipaddress.ip_network("192.0.2.1")
WALL = Configure(Gateway(owner=ALICE.actor, firewall=True))
NO_WALL = Configure(Gateway(owner=ALICE.actor))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def is_walled(world: World) -> bool:
    """Whether the plane really has the firewall."""
    return world.plane.ground.gateway is not None and world.plane.ground.gateway.firewall


def waits(world: World) -> list[int]:
    """What waits to be confirmed, by what the ledger has on its disk."""
    world.reopen()
    return sorted(world.ledger.pending)


async def pass_time(world: World, seconds: float) -> None:
    world.clock.advance(seconds)
    await world.gate.confirming.revert_overdue()


async def test_it_is_applied_and_taken_back_on_its_second(world: World) -> None:
    outcome = await world.ask(WALL, context=BY_SSH)
    assert outcome.pending is not None
    assert (outcome.pending.revision, outcome.pending.within, outcome.confirm_within) == (1, 30, 30)
    assert outcome.pending.deadline == world.clock.now() + 30
    await pass_time(world, 29.9)
    assert is_walled(world)
    await pass_time(world, 0.1)
    assert (is_walled(world), world.ledger.snapshot.gateway, world.ledger.pending) == (False, None, {})
    revision = world.ledger.revision_of(2)
    assert (revision.actor, revision.why) == (ALICE.actor, "not confirmed within 30 s")
    assert [row.verb for row in revision.rows] == [Verb.UNDO]
    armed, reverted = (each for each in world.events if isinstance(each, Armed | Reverted))
    assert isinstance(armed, Armed)
    assert isinstance(reverted, Reverted)
    assert (armed.pending, reverted.pending) == (outcome.pending, outcome.pending)
    assert (reverted.revision, reverted.left) == (2, ())
    assert world.gate.waiting.settled == (reverted,)
    await pass_time(world, 60)
    assert world.ledger.revision == 2


async def test_the_loop_itself_wakes_for_it(world: World) -> None:
    async with world.running():
        await world.ask(WALL, context=BY_SSH)
        world.clock.advance(30)
        await world.until(lambda: not is_walled(world) and world.ledger.revision == 2)
        # And once more: the loop goes on.
        await world.ask(PutBan(MYSELF, None), context=BY_SSH)
        world.clock.advance(30)
        await world.until(lambda: not world.plane.ground.bans and world.ledger.revision == 4)


async def test_a_clock_that_was_put_back_lengthens_no_wait(world: World) -> None:
    world.rules = replace(world.rules, confirm_within=1)
    world.gate.confirming._rules = world.rules
    async with world.running():
        await world.ask(WALL, context=BY_SSH)
        world.clock.advance(-3600)
        await world.until(lambda: not is_walled(world))


async def test_confirmed_by_a_new_connection_it_stays(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    (pending,) = await world.gate.confirm(ANEW)
    assert pending.revision == 1
    assert waits(world) == []
    await pass_time(world, 60)
    await world.engine.settle()
    assert is_walled(world)
    assert world.ledger.revision == 1
    (event,) = (each for each in world.events if isinstance(each, Confirmed))
    assert (event.pending, event.by) == (pending, ALICE.actor)


async def test_the_connection_it_came_by_confirms_nothing(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(BY_SSH)
    assert caught.value.code == "confirm-same-connection"
    assert waits(world) == [1]


async def test_no_connection_that_was_there_before_confirms(world: World) -> None:
    there = {(HERE, 50_000), (HERE, 50_001)}
    rules = replace(world.rules, connected=lambda port: frozenset(there if port == 22 else ()))
    world.gate.confirming._rules = rules
    await world.ask(WALL, context=BY_SSH)
    there.add((HERE, 50_002))
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(ANEW)
    assert caught.value.code == "confirm-same-connection"
    newest = replace(ALICE, caller=Caller(HERE, 50_002, WAN, 22))
    await world.gate.confirm(newest)
    assert waits(world) == []


async def test_who_sits_at_the_machine_may_confirm(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    await world.gate.confirm(ALICE)
    assert waits(world) == []


async def test_nobody_confirms_for_another(world: World) -> None:
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(ANEW)
    assert caught.value.code == "nothing-to-confirm"
    await world.ask(WALL, context=BY_SSH)
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(BOB)
    assert caught.value.code == "nothing-to-confirm"
    assert "1 (person:alice)" in caught.value.fix()
    assert waits(world) == [1]


async def test_what_a_file_asked_for_is_confirmed_by_a_person(world: World) -> None:
    await world.ask(WALL, context=replace(FILE, caller=BY_SSH.caller))
    with pytest.raises(Problem, match="only a new one shows"):
        await world.gate.confirm(BY_SSH)
    await world.gate.confirm(BOB)
    assert waits(world) == []


async def test_after_the_deadline_there_is_nothing_to_confirm(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    await pass_time(world, 30)
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(ANEW)
    assert caught.value.code == "nothing-to-confirm"


@pytest.mark.parametrize("asks", [[NO_WALL], [PutBan(SOMEBODY, None)], [Define("office", (MYSELF,))]])
async def test_what_cuts_nobody_off_stands_by_itself(world: World, asks: list[object]) -> None:
    outcome = await world.ask(*asks, context=BY_SSH)  # type: ignore[arg-type]
    assert (outcome.pending, outcome.confirm_within, waits(world)) == (None, None, [])


async def test_who_sits_at_the_machine_is_asked_nothing(world: World) -> None:
    outcome = await world.ask(WALL, PutBan(MYSELF, None))
    assert (outcome.pending, outcome.confirm_within, waits(world)) == (None, None, [])


async def test_a_plan_tells_that_it_would_have_to_be_confirmed(world: World) -> None:
    outcome = await world.gate.explain([WALL], BY_SSH)
    assert (outcome.planned, outcome.confirm_within, outcome.pending) == (True, 30, None)
    assert (world.ledger.revision, waits(world)) == (0, [])
    assert (await world.gate.explain([NO_WALL], BY_SSH)).confirm_within is None


async def test_what_changes_nothing_waits_for_nothing(world: World) -> None:
    await world.ask(WALL)
    outcome = await world.ask(WALL, context=BY_SSH)
    assert (outcome.changes, outcome.pending, outcome.confirm_within) == ((), None, None)


async def test_all_that_was_asked_together_is_taken_back_together(world: World) -> None:
    await world.open("8080", name="web")
    await world.ask(Close("web"), WALL, PutBan(SOMEBODY, None), context=BY_SSH)
    assert (world.held("web"), len(world.plane.ground.bans)) == (False, 1)
    await pass_time(world, 30)
    assert (world.held("web"), is_walled(world), world.plane.ground.bans) == (True, False, ())


async def test_an_undo_that_cuts_must_be_confirmed_too(world: World) -> None:
    await world.ask(WALL)
    await world.ask(Configure(None))
    outcome = await world.gate.undo(2, BY_SSH)
    assert outcome.pending is not None
    await pass_time(world, 30)
    assert not is_walled(world)


async def test_a_permit_that_is_closed_comes_back() -> None:
    world = World(plane=MemoryPlane("kernel"))
    await world.open("22", to="self", name="ssh", from_="198.51.100.0/24", permanent="admins")
    await world.ask(WALL)
    outcome = await world.ask(Close("ssh"), context=BY_SSH)
    assert outcome.pending is not None
    assert not world.held("ssh")
    await pass_time(world, 30)
    assert world.held("ssh")
    # Neither the closing nor its taking back is what a plain undo means now.
    await world.undo()
    assert not is_walled(world)
    world.close()


# -- several, and what happens meanwhile -----------------------------------------------------------


async def test_two_wait_and_are_confirmed_together(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    second = await world.ask(PutBan(MYSELF, None), context=BY_SSH)
    assert second.pending is not None, "while the first waits, the way is not known to be open"
    assert [each.revision for each in await world.gate.confirm(ANEW)] == [1, 2]
    await pass_time(world, 60)
    assert (is_walled(world), len(world.plane.ground.bans)) == (True, 1)


async def test_it_is_told_as_waiting_until_it_is_wholly_gone(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    lay, seen = world.plane.lay, list[Waiting]()

    async def watched(ground: Ground) -> Problem | None:
        await asyncio.sleep(0)
        seen.append(world.gate.waiting)
        return await lay(ground)

    world.plane.lay = watched  # type: ignore[method-assign]
    await pass_time(world, 30)
    assert [[each.revision for each in waiting.pending] for waiting in seen] == [[1]]
    assert [waiting.settled for waiting in seen] == [()]
    assert (world.gate.waiting.pending, len(world.gate.waiting.settled)) == ((), 1)


async def test_two_that_have_nothing_to_do_with_each_other_end_each_in_its_time(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    world.clock.advance(10)
    await world.ask(PutBan(MYSELF, None), context=BY_SSH)
    await pass_time(world, 20)
    assert (is_walled(world), len(world.plane.ground.bans)) == (False, 1)
    await pass_time(world, 10)
    assert world.plane.ground.bans == ()


async def test_what_was_built_on_what_is_taken_back_goes_first(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    world.clock.advance(10)
    changed = Configure(Gateway(owner=ALICE.actor, firewall=True, masquerade=False))
    assert (await world.ask(changed, context=BY_SSH)).pending is not None
    await pass_time(world, 20)
    assert (is_walled(world), world.ledger.snapshot.gateway, waits(world)) == (False, None, [])


async def test_what_was_changed_since_is_left_standing_and_told(world: World) -> None:
    await world.ask(WALL, PutBan(SOMEBODY, None), context=BY_SSH)
    await world.ask(Configure(Gateway(owner=ALICE.actor, firewall=False)))
    await pass_time(world, 30)
    assert world.ledger.snapshot.gateway is not None
    assert world.plane.ground.bans == ()
    (settled,) = world.gate.waiting.settled
    assert isinstance(settled, Reverted)
    assert (settled.left, settled.revision) == (("gateway",), 3)


async def test_of_what_was_all_changed_since_nothing_is_taken_back(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    await world.ask(Configure(None))
    await pass_time(world, 30)
    (settled,) = world.gate.waiting.settled
    assert isinstance(settled, Reverted)
    assert (settled.left, settled.revision, world.ledger.revision) == (("gateway",), None, 2)
    assert waits(world) == []


async def test_a_file_that_gets_more_time_is_not_in_the_way(world: World) -> None:
    await world.open("8080", name="web", for_="1h")
    await world.ask(WALL, context=BY_SSH)
    outcome = await world.ask(Renew("web", 60), context=BY_SSH)
    assert outcome.pending is not None
    await world.gate.confirm(ANEW)
    assert (await world.ask(Renew("web", 60), context=BY_SSH)).pending is None


async def test_what_cannot_be_applied_waits_for_nothing(world: World) -> None:
    world.plane.barren = Problem("disk-full", file="x")
    with pytest.raises(Problem, match="disk is full"):
        await world.ask(WALL, context=BY_SSH)
    assert waits(world) == []
    assert not [each for each in world.events if isinstance(each, Armed)]


async def test_a_confirmation_races_the_deadline_and_one_of_them_wins(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    world.clock.advance(30)
    done = await asyncio.gather(
        world.gate.confirming.revert_overdue(), world.gate.confirm(ANEW), return_exceptions=True
    )
    assert isinstance(done[1], Problem)
    assert not is_walled(world)
    assert len(world.gate.waiting.settled) == 1


# -- crashes, and disks that fail -------------------------------------------------------------------


@pytest.mark.parametrize("away", [0, 29, 31, 100_000])
async def test_a_crash_forgets_no_deadline(tmp_path: Path, away: int) -> None:
    world = World(tmp_path)
    try:
        await world.ask(WALL, PutBan(SOMEBODY, None), context=BY_SSH)
        world.clock.advance(away)
        world.reopen()
        async with world.running():
            await world.engine.ensure()
            if away < 30:
                assert world.ledger.pending[1].caller == BY_SSH.caller
                world.clock.advance(30 - away)
            await world.until(lambda: world.ledger.revision == 2)
            await world.until(lambda: world.plane.ground.gateway is None)
        assert (world.plane.ground.bans, world.ledger.pending) == ((), {})
        assert world.ledger.revision_of(2).why == "not confirmed within 30 s"
    finally:
        world.close()


async def test_after_a_crash_it_can_still_be_confirmed(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        await world.ask(WALL, context=BY_SSH)
        world.reopen()
        with pytest.raises(Problem, match="only a new one shows"):
            await world.gate.confirm(BY_SSH)
        await world.gate.confirm(ANEW)
        assert waits(world) == []
        await pass_time(world, 60)
        assert world.ledger.snapshot.gateway is not None
    finally:
        world.close()


async def test_a_clock_that_was_put_back_meanwhile_does_not_lengthen_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.rules = replace(world.rules, confirm_within=1)
        world.gate.confirming._rules = world.rules
        await world.ask(WALL, context=BY_SSH)
        world.clock.advance(-3600)
        world.reopen()
        async with world.running():
            await world.until(lambda: world.ledger.revision == 2)
    finally:
        world.close()


async def test_what_cannot_be_written_is_tried_again(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    write, tries = world.ledger.write, 0

    def failing(*given: object) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Problem("disk-full", file="x")
        return write(*given)  # type: ignore[arg-type]

    world.ledger.write = failing  # type: ignore[assignment,method-assign]
    async with world.running():
        world.clock.advance(30)
        await world.until(lambda: tries == 1)
        assert is_walled(world)
        await world.until(lambda: not is_walled(world))
    assert tries == 2


async def test_what_cannot_be_written_is_not_confirmed(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    world.ledger._database.close()
    with pytest.raises(Problem) as caught:
        await world.gate.confirm(ANEW)
    assert caught.value.code == "ledger-failed"
    assert list(world.ledger.pending) == [1]


async def test_a_stop_takes_everything_back(world: World) -> None:
    await world.ask(WALL, context=BY_SSH)
    await world.ask(PutBan(MYSELF, None), context=BY_SSH)
    await world.gate.confirming.revert_all("a stop")
    assert (is_walled(world), world.plane.ground.bans, waits(world)) == (False, (), [])
    assert [world.ledger.revision_of(number).why for number in (3, 4)] == ["a stop", "a stop"]


AS_FILE = replace(FILE, caller=BY_SSH.caller, text="aa")


async def test_the_text_of_a_file_that_was_taken_back_is_remembered(world: World) -> None:
    await world.ask(WALL, context=AS_FILE)
    await pass_time(world, 30)
    kept = world.ledger.unconfirmed[FILE.actor]
    assert (kept.text, kept.at) == ("aa", world.clock.now())
    world.reopen()
    assert world.ledger.unconfirmed == {FILE.actor: kept}
    # Said again, it waits anew; and then it comes to nothing anew.
    assert (await world.ask(WALL, context=AS_FILE)).pending is not None
    assert world.ledger.unconfirmed == {}
    await pass_time(world, 30)
    assert set(world.ledger.unconfirmed) == {FILE.actor}


async def test_a_text_that_changes_nothing_is_no_longer_refused(world: World) -> None:
    await world.ask(WALL, context=AS_FILE)
    await pass_time(world, 30)
    await world.gate.explain([], replace(AS_FILE, text="bb"))
    assert set(world.ledger.unconfirmed) == {FILE.actor}
    await world.ask(context=replace(AS_FILE, text="bb"))
    assert world.ledger.unconfirmed == {}


async def test_of_two_texts_the_last_is_remembered(world: World) -> None:
    await world.ask(WALL, context=AS_FILE)
    await world.ask(PutBan(MYSELF, None), context=replace(AS_FILE, text="bb"))
    await pass_time(world, 30)
    assert world.ledger.unconfirmed[FILE.actor].text == "bb"


async def test_a_file_that_was_confirmed_or_never_applied_is_not_refused(world: World) -> None:
    await world.ask(WALL, context=AS_FILE)
    await world.gate.confirm(ANEW)
    await pass_time(world, 60)
    assert world.ledger.unconfirmed == {}
