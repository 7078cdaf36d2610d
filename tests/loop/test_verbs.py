"""Each verb from the gate to the plane."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from sekimori.model.actual import State
from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Committed, StatusChanged
from sekimori.model.mapping import Mapping
from sekimori.model.request import Change, Close, Define, Submit
from sekimori.testing.world import ALICE, FILE, World


async def test_open_is_applied_when_it_is_answered(world: World) -> None:
    mapping = await world.open("8080", to="192.168.1.5:80", name="web", from_="198.51.100.0/24")
    wanted = world.plane.held[mapping.id]
    assert wanted.mapping == mapping == world.named("web")
    assert (wanted.targets, wanted.sources) == (("192.168.1.5",), (ipaddress.ip_network("198.51.100.0/24"),))
    assert wanted.accept_until == mapping.lifetime.expires_at
    assert world.status("web").state is State.OPEN
    assert world.status("web").targets == ("192.168.1.5",)
    assert mapping.revision == 1
    committed, opened = world.events
    assert isinstance(committed, Committed)
    assert isinstance(opened, StatusChanged)
    assert (opened.name, opened.status.state) == ("web", State.OPEN)


async def test_the_journal_says_who_when_why_and_what(world: World) -> None:
    mapping = await world.open(name="web")
    (revision,) = world.ledger.history()
    (row,) = revision.rows
    assert (revision.number, revision.at, revision.actor) == (1, world.clock.now(), ALICE.actor)
    assert (revision.door, revision.why) == ("api", "a test")
    assert (row.verb, row.before, row.after) == (Verb.OPEN, None, mapping.to_document())


async def test_a_plan_tells_the_same_and_does_nothing(world: World) -> None:
    ask = Submit(world.wish(ports="80", to="self:8080", name="web"))
    planned = await world.gate.explain([ask], ALICE)
    assert planned.planned
    assert planned.committed is None
    assert (len(world.ledger.snapshot), world.ledger.revision, world.plane.applied) == (0, 0, [])
    done = await world.ask(ask)
    (plan,), (change,) = planned.changes, done.changes
    assert isinstance(plan.after, Mapping)
    assert isinstance(change.after, Mapping)
    assert replace(plan.after, id="", revision=0) == replace(change.after, id="", revision=0)
    assert planned.notices == done.notices


async def test_a_plan_raises_what_doing_it_would(world: World) -> None:
    await world.open("80")
    world.plane.busy[81] = "nginx (pid 7)"
    for ports, code in (("80", "port-taken"), ("81", "port-busy")):
        ask = Submit(world.wish(ports=ports, to="192.168.1.5"))
        for call in (world.gate.explain, world.gate.enact):
            with pytest.raises(Problem) as caught:
                await call([ask], ALICE)
            assert caught.value.code == code
    assert world.ledger.revision == 1


async def test_close_takes_it_away_with_grace_or_at_once(world: World) -> None:
    one, two = await world.open("80"), await world.open("81")
    await world.shut(one.name)
    await world.shut(two.name, now=True)
    assert world.plane.held == {}
    assert world.plane.graces == {one.id: 10.0, two.id: 0.0}
    assert world.engine.status(one.id).state is State.STARTING  # nothing is known of it any more
    assert [revision.rows[0].verb for revision in world.ledger.history()] == [
        Verb.CLOSE,
        Verb.CLOSE,
        Verb.OPEN,
        Verb.OPEN,
    ]


async def test_a_close_without_grace_is_not_remembered_for_the_next(world: World) -> None:
    mapping = await world.open("80", name="web")
    await world.pause("web")
    await world.shut("web", now=True)  # it was on no plane: nothing to cut
    await world.undo()
    await world.pause("web", False)
    await world.shut("web")
    assert world.plane.graces[mapping.id] == 10.0


async def test_pause_and_resume(world: World) -> None:
    mapping = await world.open(name="web")
    await world.pause("web")
    assert not world.held("web")
    assert world.status("web").state is State.PAUSED
    await world.pause("web", False)
    assert world.held("web")
    assert world.status("web").state is State.OPEN
    assert world.plane.graces == {mapping.id: 10.0}


async def test_edit_reaches_the_plane_and_leaves_others_alone(world: World) -> None:
    await world.open("80", name="web")
    other = await world.open("81", name="other")
    world.plane.applied.clear()
    await world.edit("web", ports="90", from_="anyone")
    (changes,) = world.plane.applied
    assert [wanted.mapping.name for wanted in changes.put] == ["web"]
    assert changes.remove == {}
    assert changes.put[0].sources is None
    assert world.plane.held[other.id].mapping == other


async def test_extend(world: World) -> None:
    mapping = await world.open(name="web", for_="1h")
    assert mapping.lifetime.expires_at is not None
    await world.extend("web", add=600)
    end = mapping.lifetime.expires_at + 600
    assert world.plane.held[mapping.id].accept_until == end
    assert world.ledger.history()[0].rows[0].verb is Verb.EXTEND
    await world.pass_time(3600)
    assert world.held("web")
    await world.pass_time(600)
    assert not world.held("web")


async def test_what_changes_nothing_writes_nothing(world: World) -> None:
    await world.open(name="web")
    outcome = await world.edit("web", name="web")
    assert (outcome.committed, outcome.changes, world.ledger.revision) == (None, (), 1)


async def test_a_batch_is_one_revision_or_none(world: World) -> None:
    asks = [Submit(world.wish(ports=str(port), to="192.168.1.5")) for port in (80, 81, 80)]
    with pytest.raises(Problem, match="tcp/80"):
        await world.ask(*asks)
    assert (world.ledger.revision, world.plane.held) == (0, {})
    await world.ask(*asks[:2])
    assert (world.ledger.revision, len(world.plane.held)) == (1, 2)


async def test_two_swap_their_ports(world: World) -> None:
    await world.open("80", name="a")
    await world.open("81", name="b")
    before = {wanted.mapping.name: wanted.mapping.ports for wanted in world.plane.held.values()}
    await world.ask(Change("a", world.wish(ports="81")), Change("b", world.wish(ports="80")))
    after = {wanted.mapping.name: wanted.mapping.ports for wanted in world.plane.held.values()}
    assert [str(pair.outside) for name in "ab" for pair in after[name]] == ["81", "80"]
    assert before != after


async def test_a_list_that_changes_reaches_all_who_use_it(world: World) -> None:
    await world.ask(Define("office", (ipaddress.ip_network("192.0.2.0/24"),)))
    mapping = await world.open("80", from_="office")
    plain = await world.open("81")
    world.plane.applied.clear()
    wider = (ipaddress.ip_network("192.0.2.0/23"),)
    await world.ask(Define("office", wider))
    assert world.plane.held[mapping.id].sources == wider
    assert [wanted.mapping.id for changes in world.plane.applied for wanted in changes.put] == [mapping.id]
    assert plain.id in world.plane.held


async def test_what_a_file_manages(world: World) -> None:
    await world.ask(Submit(world.wish(ports="80", to="self:8080", name="web")), context=FILE)
    with pytest.raises(Problem, match="managed by the file"):
        await world.shut("web")
    await world.pause("web")
    assert not world.held("web")


async def test_a_busy_port_is_refused_before_anything_happens(world: World) -> None:
    world.plane.busy[80] = "nginx (pid 7)"
    with pytest.raises(Problem) as caught:
        await world.open("80")
    assert (caught.value.code, caught.value.exit_code) == ("port-busy", 5)
    assert (world.ledger.revision, world.plane.applied, world.events) == (0, [], [])


async def test_a_busy_port_does_not_keep_anyone_from_pausing_closing_or_extending(world: World) -> None:
    await world.open("80", name="web")
    world.plane.busy[80] = "nginx (pid 7)"
    await world.extend("web", add=60)
    await world.pause("web")
    assert world.status("web").state is State.PAUSED
    with pytest.raises(Problem, match="nginx"):
        await world.pause("web", False)
    assert world.status("web").state is State.PAUSED
    await world.ask(Close("web"))
    assert len(world.ledger.snapshot) == 0
