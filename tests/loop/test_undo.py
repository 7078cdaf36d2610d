"""Taking revisions back."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from sekimori.model.decision import NamedList
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Change, Close, Context, Define, Submit, Wish
from sekimori.model.target import Resolution, TargetKind
from sekimori.presets.load import load_presets
from sekimori.testing.world import ALICE, FILE, FakeResolver, World

DEVICE = Context(Owner(OwnerKind.DEVICE, "aa:bb"), "igd")
OFFICE = (ipaddress.ip_network("192.0.2.0/24"),)


def state(world: World) -> tuple[object, ...]:
    """What stands, the bookkeeping of revisions left out."""
    mappings = sorted((replace(m, revision=0) for m in world.ledger.snapshot), key=lambda m: m.id)
    return (mappings, sorted(world.ledger.snapshot.named_lists, key=lambda named: named.name))


Step = Callable[[World], Awaitable[object]]

STEPS: dict[str, Step] = {
    "open": lambda w: w.open("90", name="new"),
    "open a preset's port with a list": lambda w: w.open("91", from_="office"),
    "close": lambda w: w.shut("web"),
    "close at once": lambda w: w.shut("web", now=True),
    "close what is paused": lambda w: w.shut("still"),
    "pause": lambda w: w.pause("web"),
    "resume": lambda w: w.pause("still", False),
    "extend": lambda w: w.extend("web", add=60),
    "new lifetime": lambda w: w.edit("web", permanent="for good"),
    "rename": lambda w: w.edit("web", name="www"),
    "move": lambda w: w.edit("web", ports="8081"),
    "retarget": lambda w: w.edit("web", to="192.168.1.9:81"),
    "widen": lambda w: w.edit("web", from_="anyone"),
    "hours": lambda w: w.edit("web", hours="daily/09:00-18:00"),
    "no hours": lambda w: w.edit("full", hours="none"),
    "limits": lambda w: w.edit("web", limit="5/s", limit_total="9/s", max_connections="7"),
    "no limits": lambda w: w.edit("full", limit="none", limit_total="none", max_connections="none"),
    "address": lambda w: w.edit("web", on="192.0.2.1"),
    "no address": lambda w: w.edit("full", on="none"),
    "idle and proxy": lambda w: w.edit("web", idle="5m", proxy_protocol=2),
    "accepted risk": lambda w: w.edit("web", accept_risk="exposed-admin"),
    "edit and pause": lambda w: w.ask(Change("web", w.wish(idle="5m"), True)),
    "define": lambda w: w.ask(Define("home", OFFICE)),
    "redefine": lambda w: w.ask(Define("office", ())),
    "swap": lambda w: w.ask(Change("web", w.wish(ports="81")), Change("still", w.wish(ports="80"))),
    "close and take the place": lambda w: w.ask(
        Close("web"), Submit(w.wish(ports="80", to="192.168.1.7", name="web"))
    ),
    "open and pause": lambda w: w.ask(
        Submit(w.wish(ports="90", to="192.168.1.7", name="new")), Change("new", Wish(), True)
    ),
    "edit twice": lambda w: w.ask(
        Change("web", w.wish(idle="5m", ports="85")), Change("web", w.wish(idle="6m", name="www"))
    ),
    "open and close": lambda w: w.ask(
        Submit(w.wish(ports="90", to="192.168.1.7", name="new")),
        Close("new"),
        Change("web", w.wish(idle="1m")),
    ),
    "close and rename to its name": lambda w: w.ask(Close("still"), Change("web", w.wish(name="still"))),
    "list with its user": lambda w: w.ask(
        Define("home", OFFICE), Submit(w.wish(ports="90", to="192.168.1.7", from_="home"))
    ),
}


async def furnish(world: World) -> None:
    await world.ask(Define("office", OFFICE), context=FILE)
    await world.open("80", to="192.168.1.5:8080", name="web", for_="2h")
    await world.open("81", name="still")
    await world.pause("still")
    await world.open(
        "82", name="full", hours="daily/00:00-12:00", limit="1/s", limit_total="2/s", max_connections="3",
        on="192.0.2.9", accept_risk="open-proxy",
    )  # fmt: skip


@pytest.mark.parametrize("step", [pytest.param(step, id=name) for name, step in STEPS.items()])
async def test_undo_restores_and_undoing_that_does_it_again(world: World, step: Step) -> None:
    await furnish(world)
    if step is STEPS["redefine"]:
        step = lambda w: w.ask(Define("office", ()), context=FILE)  # noqa: E731 - only its owner may
    before = state(world)
    await step(world)
    after = state(world)
    assert after != before
    world.clock.advance(30)
    await world.undo()
    assert state(world) == before
    await world.engine.settle()
    assert {key for key, wanted in world.plane.held.items()} == {
        m.id for m in world.ledger.snapshot if m.wants_open(world.clock.now())
    }
    await world.undo()
    assert state(world) == after


async def test_undo_is_a_revision_like_any(world: World) -> None:
    await world.open(name="web")
    outcome = await world.undo()
    assert outcome.committed is not None
    assert (outcome.committed.revision, len(world.ledger.history())) == (2, 2)
    assert not world.held("web")


async def test_an_undo_says_which_revision_it_takes_back_unless_something_was_said(world: World) -> None:
    await world.open(name="web")
    await world.shut("web")
    closed = world.ledger.revision
    await world.gate.undo(closed, replace(ALICE, why=""))
    assert world.ledger.history(limit=1)[0].why == f"undo of revision {closed}"
    await world.gate.undo(None, replace(ALICE, why="too early"))
    assert world.ledger.history(limit=1)[0].why == "too early"


async def test_undo_can_be_planned(world: World) -> None:
    await world.open(name="web")
    outcome = await world.gate.undo(None, ALICE, plan=True)
    assert outcome.planned
    assert outcome.changes[0].after is None
    assert world.held("web")


async def test_an_older_revision_is_undone_where_nothing_touched_it_since(world: World) -> None:
    await world.open("80", name="web", idle="1m", limit="1/s")
    await world.edit("web", idle="2m")
    await world.edit("web", limit="2/s")
    await world.undo(2)
    web = world.named("web")
    assert web is not None
    assert (web.idle, str(web.limits.per_source)) == (60, "2/s")


async def test_what_was_changed_again_is_not_overwritten(world: World) -> None:
    await world.open("80", name="web", idle="1m")
    await world.edit("web", idle="2m", limit="1/s")
    await world.edit("web", idle="3m")
    with pytest.raises(Problem) as caught:
        await world.undo(2)
    assert caught.value.code == "changed-since"
    assert (caught.value.facts["later"], caught.value.facts["fields"]) == (3, "idle")
    web = world.named("web")
    assert web is not None
    assert web.idle == 180


async def test_a_list_that_was_changed_again_is_not_overwritten(world: World) -> None:
    await world.ask(Define("office", OFFICE))
    await world.ask(Define("office", ()))
    with pytest.raises(Problem) as caught:
        await world.undo(1)
    assert (caught.value.code, caught.value.facts["later"]) == ("changed-since", 2)
    assert world.ledger.snapshot.lists == {"office": ()}


async def test_a_files_list_comes_back_to_the_file(world: World) -> None:
    await world.ask(Define("office", OFFICE), context=FILE)
    await world.ask(Define("office", None), context=FILE)
    await world.undo()
    assert world.ledger.snapshot.named_lists == (NamedList("office", FILE.actor, OFFICE),)


async def test_what_is_closed_cannot_be_unmade(world: World) -> None:
    await world.open(name="web")
    await world.edit("web", idle="2m")
    await world.shut("web")
    for revision in (1, 2):
        with pytest.raises(Problem) as caught:
            await world.undo(revision)
        assert caught.value.code == "already-closed"
    await world.undo(3)
    with pytest.raises(Problem) as caught:
        await world.undo(3)
    assert caught.value.code == "changed-since"


async def test_what_came_back_is_the_same_one_with_its_owner_and_age(world: World) -> None:
    world.lan.meet("aa:bb", "192.168.1.5")
    await world.ask(Submit(world.wish(ports="80", to="192.168.1.5", name="web")), context=DEVICE)
    old = world.named("web")
    assert old is not None
    world.clock.advance(60)
    await world.shut("web")
    await world.undo()
    web = world.named("web")
    assert web is not None
    assert (web.id, web.owner, web.created_at, web.lifetime) == (
        old.id,
        old.owner,
        old.created_at,
        old.lifetime,
    )


async def test_a_name_or_a_port_that_was_taken_meanwhile_is_not_taken_back(world: World) -> None:
    await world.open("80", name="web")
    await world.shut("web")
    await world.open("81", name="web")
    with pytest.raises(Problem) as caught:
        await world.undo(2)
    assert caught.value.code == "name-taken"
    await world.edit("web", name="other", ports="80")
    with pytest.raises(Problem) as caught:
        await world.undo(2)
    assert caught.value.code == "port-taken"


async def test_what_expired_comes_back_only_with_new_time(world: World) -> None:
    await world.open("80", name="web", for_="1h")
    await world.pass_time(3600)
    assert world.named("web") is None
    # The clock's own revision is nobody's to undo in passing: the newest of a person is the opening.
    with pytest.raises(Problem) as caught:
        await world.undo()
    assert caught.value.code == "already-closed"
    with pytest.raises(Problem) as caught:
        await world.undo(2)
    assert caught.value.code == "already-expired"
    assert "undo 2 --for" in caught.value.fix()
    await world.undo(2, Lifetime.lasting(600, world.clock.now()))
    assert world.held("web")


async def test_undoing_an_extension_does_not_end_what_is_open(world: World) -> None:
    await world.open("80", name="web", for_="1h")
    await world.extend("web", add=7200)
    await world.pass_time(5400)
    with pytest.raises(Problem) as caught:
        await world.undo()
    assert caught.value.code == "already-expired"
    assert world.held("web")
    await world.undo(2, Lifetime.lasting(60, world.clock.now()))
    await world.pass_time(60)
    assert world.named("web") is None


async def test_there_may_be_nothing_to_undo(world: World) -> None:
    for revision in (None, 7):
        with pytest.raises(Problem) as caught:
            await world.undo(revision)
        assert caught.value.code == "no-such-revision"


async def test_the_newest_is_found_behind_many_expiries(world: World) -> None:
    await world.open("1", name="web", permanent="stays")
    await world.ask(
        *(Submit(world.wish(ports=str(n), to="192.168.1.5", for_=f"{n}m")) for n in range(2, 105))
    )
    await world.edit("web", idle="5m")
    for _ in range(2, 105):
        await world.pass_time(60)
    await world.pass_time(60)
    assert world.ledger.revision == 3 + 103
    await world.undo()
    (web,) = world.ledger.snapshot
    assert web.idle is None


async def test_policy_of_today_holds_for_what_comes_back() -> None:
    world = World(presets=load_presets())
    try:
        await world.open("22", name="ssh", from_="anyone", accept_risk="exposed-admin")
        await world.edit("ssh", from_="lan")
        await world.undo()  # the risk was accepted with that revision
        ssh = world.named("ssh")
        assert isinstance(ssh, Mapping)
        assert ssh.sources.anyone
        assert ssh.target.kind is TargetKind.ADDRESS
        await world.open("minecraft", name="mc")
        await world.edit("mc", idle="5m")
        await world.undo()
        mc = world.named("mc")
        assert mc is not None
        assert (mc.preset, mc.idle) == ("minecraft", None)
    finally:
        world.close()


async def test_an_undo_is_held_against_what_was_changed_while_it_looked_up_names(world: World) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(FakeResolver):
        async def resolve(self, host: str) -> Resolution:
            if self.asked:  # the first look-up is for the opening
                asked.set()
                await answer.wait()
            return await super().resolve(host)

    world.names._resolver = slow = Slow()
    slow.hosts["kids-pc"] = ("192.168.1.7",)
    await world.open("80", to="kids-pc", name="web", idle="1m")
    await world.edit("web", idle="2m")
    world.clock.advance(slow.ttl)
    async with asyncio.TaskGroup() as group:
        undoing = group.create_task(_code(world.undo()))
        await asked.wait()
        await world.edit("web", idle="3m")
        answer.set()
    assert undoing.result() == "changed-since"
    web = world.named("web")
    assert web is not None
    assert web.idle == 180


async def _code(asking: Awaitable[object]) -> str | None:
    try:
        await asking
    except Problem as problem:
        return problem.code
    return None
