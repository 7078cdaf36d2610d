"""Targets that are devices, from the ask to the plane."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sekimori.model.actual import State
from sekimori.model.errors import Problem
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Change, Context, Submit
from sekimori.testing.world import ALICE, World

NAS, TV = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"


def have_nas(world: World, address: str = "192.168.1.50") -> None:
    """The device that calls itself nas is at an address that the DHCP server gave it."""
    for old in [each for each, mac in world.lan.standing.items() if mac == NAS]:
        world.lan.leave(str(old))
    world.lan.lease(NAS, address, "nas")
    world.lan.place(NAS, address)


async def test_a_device_is_pinned_when_it_is_granted(world: World) -> None:
    have_nas(world)
    web = await world.open("80", to="device:nas", name="web")
    assert str(web.target) == f"device:nas@{NAS}"
    assert world.plane.held[web.id].targets == ("192.168.1.50",)


async def test_an_unknown_or_ambiguous_device_is_refused(world: World) -> None:
    with pytest.raises(Problem) as caught:
        await world.open("80", to="device:nas")
    assert (caught.value.code, world.ledger.revision) == ("device-not-found", 0)
    have_nas(world)
    world.lan.lease(TV, "192.168.1.60", "nas")
    with pytest.raises(Problem) as caught:
        await world.open("80", to="device:nas")
    assert (caught.value.code, world.ledger.revision) == ("device-ambiguous", 0)
    web = await world.open("80", to=f"device:nas@{TV}", name="web")
    assert world.plane.held[web.id].targets == ("192.168.1.60",)


async def test_a_device_that_is_not_there_is_not_opened_to(world: World) -> None:
    with pytest.raises(Problem) as caught:
        await world.open("80", to=NAS)
    assert caught.value.code == "not-applied"
    assert "cannot find the device" in caught.value.title()


async def test_a_device_that_moves_is_followed_and_one_displaced_is_not_served(world: World) -> None:
    have_nas(world)
    web = await world.open("80", to="device:nas", name="web")
    async with world.running():
        begin = world.clock.now()
        have_nas(world, "192.168.1.51")
        while world.plane.held[web.id].targets != ("192.168.1.51",):
            world.clock.advance(0.25)
            for _ in range(100):  # the loops take their turns
                await asyncio.sleep(0)
        assert world.clock.now() - begin <= 5

        world.lan.leases_now.clear()
        world.lan.leave("192.168.1.50")
        world.lan.meet(TV, "192.168.1.51")
        world.devices.wake()
        await world.until(lambda: web.id not in world.plane.held)
        status = world.status("web")
        assert status.problem is not None
        assert (status.state, status.problem.code) == (State.FAILED, "device-moved-away")
        assert status.problem.facts["other"] == TV

        have_nas(world, "192.168.1.52")
        world.lan.meet(NAS, "192.168.1.52")
        world.devices.wake()
        await world.until(lambda: world.held("web"))
        assert world.plane.held[web.id].targets == ("192.168.1.52",)
    assert world.ledger.revision == 1


async def test_the_line_that_reserves_the_address_is_offered_when_the_target_is_new(world: World) -> None:
    have_nas(world)
    planned = await world.gate.explain([Submit(world.wish(ports="80", to="device:nas"))], ALICE)
    opened = await world.ask(Submit(world.wish(ports="80", to="device:nas", name="web")))
    for outcome in (planned, opened):
        (notice,) = [each for each in outcome.notices if each.code == "reservation"]
        for language in ("en", "ja"):
            assert f"dhcp-host={NAS},192.168.1.50,nas" in notice.text(language)
    edited = await world.edit("web", idle="1h")
    assert [each.code for each in edited.notices] == []
    world.lan.lease(TV, "192.168.1.60")
    world.lan.place(TV, "192.168.1.60")
    edited = await world.edit("web", to=TV)
    assert [each.code for each in edited.notices] == ["reservation"]


async def test_the_same_words_again_change_nothing_even_if_another_took_the_name(world: World) -> None:
    have_nas(world)
    await world.open("80", to="device:nas", name="web")
    world.lan.leases_now.clear()
    world.lan.lease(TV, "192.168.1.60", "nas")
    outcome = await world.ask(Change("web", world.wish(to="device:nas")))
    assert outcome.changes == ()


async def test_devices_of_plans_and_refusals_and_closed_mappings_are_not_followed(world: World) -> None:
    have_nas(world)
    await world.gate.explain([Submit(world.wish(ports="80", to="device:nas"))], ALICE)
    assert world.devices._followed == {}
    await world.open("80", to="device:nas", name="web")
    assert [target.mac for target in world.devices._followed] == [NAS]
    await world.open("81", to=NAS, name="too")
    await world.shut("web")
    await world.shut("too")
    assert world.devices._followed == {}


async def test_after_a_crash_a_device_is_found_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        have_nas(world)
        await world.open("80", to="device:nas", name="web")
        lan = world.lan
        world.reopen()
        assert world.lan is lan
        have_nas(world, "192.168.1.51")
        async with world.running():
            web = world.named("web")
            assert web is not None
            # The plane still holds what it held before; it is led to the new address once that is known.
            await world.until(lambda: world.plane.held[web.id].targets == ("192.168.1.51",))
            assert world.status("web").state is State.OPEN
    finally:
        world.close()


async def test_a_device_that_asks_opens_to_what_the_table_proves_is_its_own(world: World) -> None:
    igd = Context(Owner(OwnerKind.DEVICE, NAS), "igd")
    have_nas(world)
    ask = Submit(world.wish(ports="80", to="192.168.1.50", name="web"))
    with pytest.raises(Problem) as caught:
        await world.ask(ask, context=igd)  # a lease proves nothing
    assert caught.value.code == "not-permitted"
    world.lan.meet(NAS, "192.168.1.50")
    await world.ask(ask, context=igd)
    assert world.held("web")
    pinhole = Submit(world.wish(ports="443", to="2001:db8:3::50", name="six"))
    with pytest.raises(Problem) as caught:
        await world.ask(pinhole, context=igd)
    assert caught.value.code == "not-permitted"
    world.lan.meet(NAS, "2001:db8:3::50")
    await world.ask(pinhole, context=igd)
    assert world.held("six")
