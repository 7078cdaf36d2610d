"""The gateway and bans through the whole deciding half: asked, written, laid, ended, undone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.request import Ask, Close, Configure, LiftBan, PutBan
from sekimori.reconcile.ports import Ground
from sekimori.testing.world import ALICE, FILE, World

SCANS = ipaddress.ip_network("198.51.100.0/24")
SPAM = ipaddress.ip_network("2001:db8::/32")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def gateway(*, firewall: bool = False) -> Configure:
    return Configure(Gateway(owner=ALICE.actor, firewall=firewall))


def banned(world: World) -> set[str]:
    """Who the plane really keeps out."""
    return {str(ban.prefix) for ban in world.plane.ground.bans}


async def test_what_is_asked_is_laid_before_it_is_answered(world: World) -> None:
    await world.ask(gateway(), PutBan(SCANS, None))
    assert world.plane.ground == Ground(world.ledger.snapshot.gateway, (world.ledger.snapshot.bans[SCANS],))
    await world.ask(Configure(None), LiftBan(SCANS))
    assert world.plane.ground == Ground()
    assert world.ledger.revision == 2


async def test_a_dry_run_lays_and_writes_nothing(world: World) -> None:
    outcome = await world.gate.explain([gateway(), PutBan(SCANS, None)], ALICE)
    assert [change.verb for change in outcome.changes] == [Verb.GATEWAY, Verb.BAN]
    assert (world.plane.ground, world.ledger.revision) == (Ground(), 0)


async def test_what_changes_nothing_is_no_revision(world: World) -> None:
    await world.ask(gateway(), PutBan(SCANS, None))
    outcome = await world.ask(gateway(), PutBan(SCANS, None))
    assert (outcome.committed, outcome.changes, world.ledger.revision) == (None, (), 1)


async def test_a_ban_ends_on_its_second_and_the_others_stay(world: World) -> None:
    now = int(world.clock.now())
    await world.ask(
        PutBan(SCANS, now + 60), PutBan(SPAM, now + 120), PutBan(ipaddress.ip_network("192.0.2.1"), None)
    )
    await world.pass_time(59.5)
    assert banned(world) == {str(SCANS), str(SPAM), "192.0.2.1/32"}
    await world.pass_time(0.5)
    assert banned(world) == {str(SPAM), "192.0.2.1/32"}
    assert list(map(str, world.ledger.snapshot.bans)) == [str(SPAM), "192.0.2.1/32"]
    (row,) = world.ledger.revision_of(world.ledger.revision).rows
    assert (row.verb, row.subject, row.name) == (Verb.EXPIRE, "ban", str(SCANS))
    await world.pass_time(60)
    assert banned(world) == {"192.0.2.1/32"}


async def test_the_loop_itself_wakes_for_the_end_of_a_ban(world: World) -> None:
    async with world.running():
        await world.ask(PutBan(SCANS, int(world.clock.now()) + 10))
        assert banned(world) == {str(SCANS)}
        world.clock.advance(10)
        await world.until(lambda: banned(world) == set() and world.ledger.revision == 2)


async def test_a_ban_given_more_time_does_not_end_at_its_old_one(world: World) -> None:
    now = int(world.clock.now())
    await world.ask(PutBan(SCANS, now + 60))
    await world.ask(PutBan(SCANS, now + 90))
    await world.pass_time(60)
    assert banned(world) == {str(SCANS)}
    await world.pass_time(30)
    assert banned(world) == set()


async def test_a_ban_whose_end_cannot_be_written_ends_all_the_same(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        await world.ask(PutBan(SCANS, int(world.clock.now()) + 60))
        world.ledger._database.close()  # the disk is gone, as far as a commit can tell
        world.clock.advance(60)
        await world.engine.ensure()
        assert banned(world) == set()
        assert SCANS in world.ledger.snapshot.bans
        found = world.engine.problem("/")
        assert found is not None
        assert found.code == "ledger-failed"
    finally:
        world.close()


async def test_after_a_crash_it_is_laid_again_and_what_ended_meanwhile_is_not(world: World) -> None:
    await world.ask(gateway(firewall=True), PutBan(SCANS, int(world.clock.now()) + 60), PutBan(SPAM, None))
    stood = world.ledger.snapshot.gateway
    world.plane.ground = Ground()
    world.clock.advance(60)
    world.reopen()
    await world.engine.settle()
    assert (world.plane.ground.gateway, banned(world)) == (stood, {str(SPAM)})
    assert list(world.ledger.snapshot.bans) == [SPAM]


async def test_what_cannot_be_laid_is_taken_back(world: World) -> None:
    world.plane.barren = Problem("disk-full", file="x")
    for ask in (gateway(), PutBan(SCANS, None)):
        with pytest.raises(Problem) as caught:
            await world.ask(ask)
        assert caught.value.code == "not-applied"
    assert (world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)) == (None, {})
    assert world.ledger.revision == 4  # each, and its taking back
    assert [row.verb for row in world.ledger.revision_of(4).rows] == [Verb.UNDO]
    world.plane.barren = None
    await world.ask(gateway(), PutBan(SCANS, None))
    assert world.plane.ground.gateway is not None


async def test_what_cannot_be_taken_away_is_said_and_tried_again(world: World) -> None:
    await world.ask(gateway())
    world.plane.barren = Problem("disk-full", file="x")
    (notice,) = (await world.ask(Configure(None))).notices
    assert notice.code == "still-there"
    assert world.plane.ground.gateway is not None
    world.plane.barren = None
    await world.pass_time(60)
    assert world.plane.ground == Ground()
    assert world.engine.problem("/") is None


async def test_ground_that_was_lost_is_laid_again_by_the_resync(world: World) -> None:
    async with world.running():
        await world.ask(PutBan(SCANS, None))
        world.plane.ground = Ground()  # as a foreign flush would leave it
        world.clock.advance(30)
        await world.until(lambda: banned(world) == {str(SCANS)})


async def test_a_machine_that_cannot_be_one_is_told_before_anything_is_written(world: World) -> None:
    world.machine.problem = Problem("needs-net-admin", why="a test")
    with pytest.raises(Problem, match="a test"):
        await world.ask(gateway(), PutBan(SCANS, None))
    assert (world.ledger.revision, world.plane.ground) == (0, Ground())


# -- undo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asks",
    [
        [gateway(firewall=True)],
        [PutBan(SPAM, None, "spam")],
        [Configure(None)],
        [LiftBan(SCANS)],
        [PutBan(SCANS, None, "for good")],
        [Configure(None), LiftBan(SCANS), PutBan(SPAM, None)],
    ],
)
async def test_a_revision_is_taken_back(world: World, asks: list[Ask]) -> None:
    await world.ask(gateway(), PutBan(SCANS, int(world.clock.now()) + 600, "scans"))
    stood = world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)
    await world.ask(*asks)
    assert (world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)) != stood
    await world.undo()
    assert (world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)) == stood
    assert world.plane.ground == Ground(stood[0], tuple(stood[1].values()))
    await world.undo()
    await world.undo()
    assert (world.ledger.snapshot.gateway, dict(world.ledger.snapshot.bans)) == stood


async def test_undo_gives_a_file_back_what_was_its(world: World) -> None:
    await world.ask(gateway(), PutBan(SCANS, None), context=FILE)
    await world.ask(Configure(None), LiftBan(SCANS), context=FILE)
    await world.undo()
    assert world.ledger.snapshot.gateway is not None
    assert world.ledger.snapshot.gateway.owner == FILE.actor
    assert world.ledger.snapshot.bans[SCANS].owner == FILE.actor


async def test_undo_does_not_overwrite_what_came_later(world: World) -> None:
    await world.ask(gateway(), PutBan(SCANS, None))
    await world.ask(gateway(firewall=True))
    with pytest.raises(Problem) as caught:
        await world.undo(1)
    assert (caught.value.code, caught.value.facts["later"]) == ("changed-since", 2)


async def test_a_ban_that_would_have_ended_is_not_put_back(world: World) -> None:
    await world.ask(PutBan(SCANS, int(world.clock.now()) + 60))
    await world.ask(LiftBan(SCANS))
    await world.pass_time(60)
    with pytest.raises(Problem) as caught:
        await world.undo()
    assert caught.value.code == "ban-ended"


async def test_bans_and_mappings_go_together_or_not_at_all(world: World) -> None:
    await world.open(name="web")
    with pytest.raises(Problem):
        await world.ask(PutBan(SCANS, None), Close("nobody"))
    assert dict(world.ledger.snapshot.bans) == {}
    await world.ask(PutBan(SCANS, None), Close("web"))
    assert isinstance(world.ledger.snapshot.bans[SCANS], Ban)
    assert world.named("web") is None
    await world.undo()
    assert world.named("web") is not None
    assert (banned(world), world.held("web")) == (set(), True)
