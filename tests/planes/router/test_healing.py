"""What a router loses is found out, and asked for again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sekimori.model.address import IpProtocol
from sekimori.model.network import Wan
from sekimori.planes.router.facts import Presence
from sekimori.planes.router.holdings import UNSURE
from sekimori.testing.fakerouter import Quirks

from .rig import Rig, rigged, until, wanted
from .test_opening import EACH, NATPMP, PCP, UPNP


async def heal(rig: Rig, *numbers: int) -> None:
    """Do as the engine does when it is woken."""
    await until(lambda: {f"m{number}" for number in numbers} <= set(rig.changed))
    rig.changed.clear()
    assert await rig.put(*(wanted(number, f"tcp/{9000 + number}") for number in numbers)) == {}


@EACH
async def test_a_router_that_restarted_is_asked_for_everything_again(only: dict[str, Any]) -> None:
    """It is noticed at the next look, a minute later at most."""
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1, "tcp/9001"), wanted(2, "tcp/9002")) == {}
        rig.router.restart()
        while len(rig.changed) < 2:
            rig.clock.advance(61)
            await asyncio.sleep(0.2)
        assert set((await rig.plane.observe()).values()) == {UNSURE}
        await heal(rig, 1, 2)
        assert rig.table() == {f"tcp/{port}": f"{rig.local}:{port}" for port in (9001, 9002)}
        assert UNSURE not in (await rig.plane.observe()).values()


@pytest.mark.parametrize("only", [PCP, NATPMP], ids=["pcp", "natpmp"])
async def test_an_epoch_that_goes_back_is_seen_in_any_answer(only: dict[str, Any]) -> None:
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1, "tcp/9001")) == {}
        rig.router.restart()
        assert await rig.put(wanted(2, "tcp/9002")) == {}
        await heal(rig, 1)
        assert set(rig.table()) == {"tcp/9001", "tcp/9002"}
        assert (await rig.plane.observe())["m2"] != UNSURE


async def test_an_entry_that_went_silently_is_missed() -> None:
    """UPnP has no epoch: entries are looked up in turn."""
    async with rigged(Quirks(**UPNP)) as rig:
        assert await rig.put(*(wanted(number, f"tcp/{9000 + number}") for number in (1, 2, 3))) == {}
        await asyncio.sleep(0.1)
        del rig.router.table[IpProtocol.TCP, 9002]
        for _ in range(3):
            rig.clock.advance(61)
            await asyncio.sleep(0.1)
        await heal(rig, 2)
        assert len(rig.table()) == 3


async def test_an_entry_that_went_is_made_again_at_its_renewal() -> None:
    async with rigged(Quirks(**UPNP)) as rig:
        assert await rig.put(wanted(1, "tcp/9001")) == {}
        rig.router.table.clear()
        rig.clock.advance(2200)
        await until(lambda: rig.table() == {"tcp/9001": f"{rig.local}:9001"} or rig.changed)


@EACH
async def test_a_router_that_falls_silent_is_told_and_asked_again_when_it_is_back(
    only: dict[str, Any],
) -> None:
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1, "tcp/9001")) == {}
        rig.router.quirks.silent = True
        rig.router.table.clear()

        rig.clock.advance(61)

        async def pass_time() -> None:
            while rig.plane.told()[0].presence is Presence.THERE:
                await asyncio.sleep(0.05)
                rig.clock.advance(1)

        await asyncio.wait_for(pass_time(), 30)
        assert "m1" in rig.changed
        begun = asyncio.get_running_loop().time()
        problem = (await rig.put(wanted(1, "tcp/9001")))["m1"]
        assert asyncio.get_running_loop().time() - begun < 0.2
        assert (problem.code, problem.exit_code) == ("router-silent", 10)
        kept = (await rig.remove("m1")).get("m1")
        assert kept is not None
        assert kept.code == "router-kept"
        rig.changed.clear()
        rig.router.quirks.silent = False
        rig.clock.advance(120)
        await until(lambda: rig.plane.told()[0].presence is Presence.THERE)
        assert await rig.remove("m1") == {}
        assert await rig.put(wanted(1, "tcp/9001")) == {}
        assert rig.table() == {"tcp/9001": f"{rig.local}:9001"}


async def test_what_ended_by_itself_need_not_be_taken_away() -> None:
    async with rigged(Quirks(**PCP)) as rig:
        assert await rig.put(wanted(1, "tcp/9001", rig.clock.now() + 300)) == {}
        rig.router.quirks.silent = True
        rig.clock.advance(301)
        assert await rig.remove("m1") == {}
        assert await rig.plane.observe() == {}


@EACH
async def test_another_address_of_ours_is_asked_for_at_once(only: dict[str, Any]) -> None:
    """Where the protocol allows, the entries to the old one go."""
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1, "tcp/9001")) == {}
        before = rig.local
        _first, other = rig.wan.addresses4
        rig.move_to(other)
        assert rig.local != before
        assert rig.changed == ["m1"]
        assert await rig.plane.observe() == {}
        if only is UPNP:
            await heal(rig, 1)
            assert rig.table() == {"tcp/9001": f"{rig.local}:9001"}
            return
        problem = (await rig.put(wanted(1, "tcp/9001")))["m1"]
        assert problem.code in ("router-refused", "router-other-port")  # until the old one has ended
        rig.clock.advance(7201)
        assert await rig.put(wanted(1, "tcp/9001")) == {}


async def test_a_public_line_needs_no_router_and_a_later_one_does() -> None:
    from dataclasses import replace
    from ipaddress import IPv4Address

    async with rigged() as rig:
        home = rig.network
        rig.network = replace(home, wans=(Wan("lo", (IPv4Address("8.8.4.4"),), has4=True),))
        rig.plane.reframe()
        assert rig.plane.told() == ()
        assert rig.plane.unable(wanted(1).mapping) is not None
        assert await rig.put(wanted(1)) == {}
        assert "m1" in await rig.plane.observe()
        rig.network = home
        rig.plane.reframe()
        assert rig.changed == ["m1"]
        assert await rig.put(wanted(1)) == {}
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}
        rig.network = replace(home, wans=())
        rig.plane.reframe()
        assert (await rig.put(wanted(1)))["m1"].code == "router-no-line"
