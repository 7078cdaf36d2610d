"""Mappings of two hops: the router before this machine, and this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from sekimori.model.actual import HopStatus, State
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop
from sekimori.model.request import Reroute, Submit
from sekimori.testing.world import FakeRouter, World

_BROKEN = Problem("unexpected", what="the router says no")


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def world(router: FakeRouter) -> Iterator[World]:
    made = World(router=router)
    with contextlib.closing(made):
        yield made


async def test_both_hops_are_made_and_each_has_its_own_status(world: World, router: FakeRouter) -> None:
    mapping = await world.open("8080", from_="anyone")
    assert mapping.path == (Hop("router"), Hop("relay"))
    assert mapping.id in world.plane.held
    assert mapping.id in router.held
    status = world.status(mapping.name)
    assert status.state is State.OPEN
    assert status.hops == (HopStatus("router"), HopStatus("relay"))
    await world.shut(mapping.name)
    assert not world.plane.held
    assert not router.held


async def test_a_router_that_refuses_takes_the_whole_mapping_back(world: World, router: FakeRouter) -> None:
    router.refuses["00001"] = _BROKEN
    with pytest.raises(Problem, match="the router says no"):
        await world.open("8080", from_="anyone")
    assert not world.plane.held
    assert len(world.ledger.snapshot) == 0


async def test_what_this_machine_cannot_take_is_not_asked_of_the_router(
    world: World, router: FakeRouter
) -> None:
    world.plane.refuses["00001"] = _BROKEN
    with pytest.raises(Problem):
        await world.open("8080", from_="anyone")
    assert not router.held


async def test_a_router_that_fails_later_leaves_this_machines_hop_and_is_told(
    world: World, router: FakeRouter
) -> None:
    mapping = await world.open("8080", from_="anyone")
    router.held.clear()
    router.refuses[mapping.id] = _BROKEN
    world.engine.wake([mapping.id])
    await world.engine.ensure()
    status = world.status(mapping.name)
    assert (status.state, status.problem) == (State.FAILED, _BROKEN)
    assert status.hops == (HopStatus("router", _BROKEN), HopStatus("relay"))
    assert mapping.id in world.plane.held
    router.refuses.clear()
    await world.pass_time(31)
    assert world.status(mapping.name).hops == (HopStatus("router"), HopStatus("relay"))
    assert mapping.id in router.held


async def test_what_only_the_lan_may_use_is_not_opened_at_the_router(
    world: World, router: FakeRouter
) -> None:
    mapping = await world.open("8080")  # from the LAN, where nobody says
    assert mapping.path == (Hop("relay"),)
    await world.edit(mapping.name, from_="198.51.100.0/24")
    assert mapping.id in router.held
    await world.edit(mapping.name, from_="lan,192.168.7.0/24")
    assert mapping.id not in router.held
    assert mapping.id in world.plane.held


async def test_by_the_router_alone_where_it_can_lead_to_this_machine(
    world: World, router: FakeRouter
) -> None:
    alone = await world.open("8080", ":3000", from_="anyone", via="router")
    assert alone.path == (Hop("router"),)
    assert alone.id not in world.plane.held
    assert world.status(alone.name).hops == ()
    limited = await world.open("8081", ":3000", from_="198.51.100.0/24", via="router")
    assert limited.path == (Hop("router"), Hop("relay"))
    away = await world.open("8082", "192.168.1.7", from_="anyone", via="router")
    assert away.path == (Hop("router"), Hop("relay"))


async def test_via_overrides_and_what_a_router_cannot_make_is_said(world: World, router: FakeRouter) -> None:
    assert (await world.open("8080", from_="anyone", via="relay")).path == (Hop("relay"),)
    router.unfit = cause("no-such-plane")
    outcome = await world.ask(Submit(world.wish(ports="8081", to="192.168.1.5", from_="anyone")))
    assert "router-not-asked" in [notice.code for notice in outcome.notices]
    with pytest.raises(Problem) as refused:
        await world.open("8082", from_="anyone", via="router")
    assert refused.value.code == "no-plane"


async def test_a_router_that_comes_or_goes_changes_the_path(world: World, router: FakeRouter) -> None:
    router.stands = False
    mapping = await world.open("8080", from_="anyone")
    assert mapping.path == (Hop("relay"),)
    router.stands = True
    await world.ask(Reroute(mapping.id))
    assert mapping.id in router.held
    assert (await world.ask(Reroute(mapping.id))).changes == ()
    router.stands = False
    await world.ask(Reroute(mapping.id))
    assert mapping.id not in router.held
    assert mapping.id in world.plane.held
