"""Mappings through a link and at its far end: two hops, and names that are looked up over there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from sekimori.model.actual import HopStatus, State
from sekimori.model.errors import Problem
from sekimori.model.link import AddLink, Link, SshPlace
from sekimori.model.mapping import Hop, Mapping
from sekimori.model.request import Submit
from sekimori.testing.world import ALICE, World

DOWN = Problem("link-down", link="vps", why="nobody answers there")
TAKEN = Problem("unexpected", what="that port is taken over there")


def link_named(name: str) -> Link:
    return Link(name=name, owner=ALICE.actor, place=SshPlace.parse(f"ssh://alice@{name}.example"))


@pytest.fixture
def bare() -> Iterator[World]:
    made = World()
    with contextlib.closing(made):
        yield made


@pytest.fixture
async def world(bare: World) -> World:
    await bare.ask(AddLink(link_named("vps")))
    return bare


async def test_both_hops_are_made_and_a_name_is_left_to_the_far_end(world: World) -> None:
    mapping = await world.open("5432", "db:5432", via="vps")
    assert mapping.path == (Hop("relay"), Hop("link", "vps"))
    assert world.resolver.asked == []
    assert world.plane.held[mapping.id].targets == ("db",)
    assert world.links.held[mapping.id].targets == ("db",)
    status = world.status(mapping.name)
    assert (status.state, status.targets) == (State.OPEN, ("db",))
    assert status.hops == (HopStatus("relay"), HopStatus("link"))
    await world.shut(mapping.name)
    assert not world.plane.held
    assert not world.links.held


async def test_at_the_far_end_the_relay_is_ready_before_anybody_can_come(world: World) -> None:
    order: list[str] = []
    for plane in (world.plane, world.links):
        apply = plane.apply

        async def note(changes, name=plane.name, apply=apply):
            order.append(name)
            return await apply(changes)

        plane.apply = note  # type: ignore[method-assign]
    mapping = await world.open("8080", "127.0.0.1:3000", at="vps", from_="anyone")
    assert mapping.path == (Hop("link", "vps"), Hop("relay"))
    assert order == ["relay", "link"]
    assert world.status(mapping.name).hops == (HopStatus("link"), HopStatus("relay"))


async def test_this_machine_through_a_link_is_the_far_one(world: World) -> None:
    mapping = await world.open("8080", ":3000", via="vps")
    assert world.plane.held[mapping.id].targets == ("localhost",)


async def test_a_mapping_at_the_far_end_leads_to_a_name_of_this_side(world: World) -> None:
    world.resolver.hosts["nas"] = ("192.168.1.9",)
    mapping = await world.open("8080", "nas:80", at="vps", from_="anyone")
    assert world.plane.held[mapping.id].targets == ("192.168.1.9",)


async def test_what_a_link_that_is_down_is_needed_for_stands_and_says_so(world: World) -> None:
    world.links.refuses["00001"] = DOWN
    outcome = await world.ask(Submit(world.wish(ports="5432", to="db:5432", via="vps", name="db")))
    notices = {notice.code: notice for notice in outcome.notices}
    assert "nobody answers there" in notices["not-open-yet"].en
    status = world.status("db")
    assert (status.state, status.problem) == (State.FAILED, DOWN)
    assert status.hops == (HopStatus("relay"), HopStatus("link", DOWN))
    assert "00001" in world.plane.held  # it listens, and turns newcomers away until the link is there
    del world.links.refuses["00001"]
    world.engine.wake(["00001"])
    await world.engine.ensure()
    assert world.status("db").state is State.OPEN


async def test_what_a_far_end_refuses_is_taken_back(world: World) -> None:
    world.links.refuses["00001"] = TAKEN
    with pytest.raises(Problem, match="taken over there"):
        await world.open("8080", "127.0.0.1:3000", at="vps", from_="anyone")
    assert not world.plane.held
    assert len(world.ledger.snapshot) == 0


async def test_what_the_relay_cannot_take_is_not_listened_for_at_the_far_end(world: World) -> None:
    world.plane.refuses["00001"] = TAKEN
    with pytest.raises(Problem):
        await world.open("8080", "127.0.0.1:3000", at="vps", from_="anyone")
    assert not world.links.held


async def test_a_link_and_what_goes_through_it_in_one_revision(bare: World) -> None:
    wish = bare.wish(ports="5432", to="db:5432", via="vps", name="db")
    await bare.ask(AddLink(link_named("vps")), Submit(wish))
    assert bare.resolver.asked == []
    assert bare.status("db").state is State.OPEN


async def test_a_mapping_that_is_led_through_a_link_later_is_resolved_here_no_more(world: World) -> None:
    world.resolver.hosts["db"] = ("192.168.1.9",)
    mapping = await world.open("5432", "db:5432")
    assert world.plane.held[mapping.id].targets == ("192.168.1.9",)
    await world.edit(mapping.name, via="vps")
    assert world.plane.held[mapping.id].targets == ("db",)
    assert world.names.addresses("db") == ()
    asked = len(world.resolver.asked)
    await world.edit(mapping.name, to="other:5432")
    assert len(world.resolver.asked) == asked
    await world.edit(mapping.name, via="auto", to="db:5432")
    assert world.plane.held[mapping.id].targets == ("192.168.1.9",)
    assert mapping.id not in world.links.held


async def test_after_a_restart_no_name_beyond_a_link_is_looked_up(world: World) -> None:
    world.resolver.hosts["nas"] = ("192.168.1.9",)
    await world.open("5432", "db:5432", via="vps")
    at: Mapping = await world.open("8080", "nas:80", at="vps", from_="anyone")
    world.reopen()
    async with world.running():
        await world.until(lambda: world.status(at.name).state is State.OPEN)
    assert set(world.resolver.asked) == {"nas"}
