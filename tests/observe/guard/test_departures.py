"""Leases end when their device is gone, and last while it is there if they were asked for so."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

import pytest

from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.lease import Asker, LeaseProtocol, LeaseTerms, Obtain
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.observe.guard.departures import EVERY, GONE_AFTER, Departures
from sekimori.testing.inside import FakeInside
from sekimori.testing.world import World

PHONE = Owner(OwnerKind.DEVICE, "02:00:00:00:00:05")
STRANGER = Owner(OwnerKind.DEVICE, "02:00:00:00:00:99")
HERE = ipaddress.ip_address("192.168.1.5")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


async def lease(world: World, *, lasting: bool = False, lifetime: int = 7200) -> Mapping:
    terms = LeaseTerms(protocol=LeaseProtocol.IGD, lasting=lasting)
    port = PortRange(5000, 5000)
    ask = Obtain(
        asker=Asker(HERE, "lan0"),
        protocol=IpProtocol.UDP,
        inside=HERE,
        ports=port,
        lifetime=lifetime,
        terms=terms,
    )
    after = (await world.ask(ask, context=Context(PHONE, "igd"))).changes[0].after
    assert isinstance(after, Mapping)
    return after


def look_out(world: World) -> tuple[Departures, FakeInside]:
    inside = FakeInside(world)
    inside.there[HERE] = PHONE
    return Departures(world.gate, inside, world.clock), inside


async def test_a_lease_whose_device_is_there_is_left_alone(world: World) -> None:
    held = await lease(world)
    departures, _ = look_out(world)
    await departures.look()
    assert world.ledger.snapshot.get(held.id) == held


async def test_a_lease_ends_ten_minutes_after_its_device_was_last_there(world: World) -> None:
    held = await lease(world)
    departures, inside = look_out(world)
    inside.there.clear()
    await departures.look()
    world.clock.advance(GONE_AFTER - 1)
    await departures.look()
    assert world.ledger.snapshot.get(held.id) is not None
    world.clock.advance(1)
    await departures.look()
    assert world.ledger.snapshot.get(held.id) is None
    assert "nobody answers" in world.commits[-1].context.why


async def test_who_comes_back_in_time_starts_anew(world: World) -> None:
    held = await lease(world)
    departures, inside = look_out(world)
    inside.there.clear()
    await departures.look()
    inside.there[HERE] = PHONE
    world.clock.advance(GONE_AFTER)
    await departures.look()
    inside.there.clear()
    await departures.look()
    assert world.ledger.snapshot.get(held.id) is not None


async def test_a_lease_ends_at_once_when_another_device_has_its_address(world: World) -> None:
    held = await lease(world)
    departures, inside = look_out(world)
    inside.there[HERE] = STRANGER
    await departures.look()
    assert world.ledger.snapshot.get(held.id) is None
    assert STRANGER.id in world.commits[-1].context.why


async def test_a_lasting_lease_is_renewed_at_half_its_time_while_its_device_is_there(world: World) -> None:
    held = await lease(world, lasting=True, lifetime=1000)
    departures, _ = look_out(world)
    world.clock.advance(400)
    await departures.look()
    assert world.ledger.snapshot.get(held.id) == held
    world.clock.advance(200)
    await departures.look()
    renewed = world.ledger.snapshot.get(held.id)
    assert renewed is not None
    assert renewed.lifetime.expires_at == int(world.clock.now()) + 1000


async def test_other_leases_are_not_renewed(world: World) -> None:
    held = await lease(world, lifetime=1000)
    departures, _ = look_out(world)
    world.clock.advance(900)
    await departures.look()
    assert world.ledger.snapshot.get(held.id) == held


async def test_it_looks_every_half_minute(world: World) -> None:
    held = await lease(world)
    departures, inside = look_out(world)
    inside.there[HERE] = STRANGER

    def is_gone() -> bool:
        world.clock.advance(EVERY)  # it waits from when it first ran, which may be after this
        return world.ledger.snapshot.get(held.id) is None

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(departures.run())
        await world.until(is_gone)
        running.cancel()
