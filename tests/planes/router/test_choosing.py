"""Which protocol a router is asked by, and what is told of it."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import Any

import pytest
import uvloop

from sekimori.planes.router.facts import Presence, RouterFacts, RouterProtocol
from sekimori.testing.fakerouter import Quirks

from .rig import Rig, rigged, until, wanted


async def facts(rig: Rig) -> RouterFacts:
    """Once all protocols have answered or not."""
    await until(lambda: rig.plane.told()[0].presence is not Presence.UNKNOWN)
    await asyncio.sleep(0)
    return rig.plane.told()[0]


@pytest.mark.parametrize(
    ("quirks", "chosen"),
    [
        (Quirks(), RouterProtocol.PCP),
        (Quirks(pcp=False), RouterProtocol.NATPMP),
        (Quirks(pcp=False, natpmp=False), RouterProtocol.UPNP),
        (Quirks(natpmp=False, upnp=False), RouterProtocol.PCP),
    ],
    ids=["all", "version 0 answers PCP", "upnp only", "pcp only"],
)
async def test_the_best_that_answers_is_chosen(quirks: Quirks, chosen: RouterProtocol) -> None:
    async with rigged(quirks) as rig:
        assert await rig.put(wanted(1)) == {}
        found = await facts(rig)
        assert (found.presence, found.protocol) == (Presence.THERE, chosen)
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}
        assert rig.plane.stands_before()


@pytest.mark.parametrize(
    "only", [{}, {"pcp": False}, {"pcp": False, "natpmp": False}], ids=["pcp", "natpmp", "upnp"]
)
def test_the_daemon_s_loop_will_do(only: dict[str, Any]) -> None:
    """It is uvloop's, which has not all that asyncio's has."""

    async def use() -> None:
        async with rigged(Quirks(**only)) as rig:
            assert await rig.put(wanted(1, "tcp/8080-8081")) == {}
            assert len(rig.table()) == 2
            await until(lambda: RouterProtocol.UPNP in rig.plane.told()[0].answered)
            assert await rig.remove("m1") == {}
            assert rig.table() == {}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())


async def test_facts_come_from_whoever_tells_them() -> None:
    async with rigged() as rig:
        await until(lambda: rig.plane.told()[0].model and rig.plane.told()[0].address)
        await until(lambda: len(rig.plane.told()[0].answered) == 3)
        found = rig.plane.told()[0]
        assert found.protocol is RouterProtocol.PCP
        assert found.answered == tuple(RouterProtocol)
        assert found.model == "Acme Router <One> 7"
        assert (found.address, found.address_doubt) == (IPv4Address("20.30.40.50"), None)
        assert found.epoch == 1000
        assert found.heard_at == rig.clock.now()
        assert (found.interface, str(found.local), str(found.gateway)) == (
            "lo",
            rig.local,
            rig.router.address,
        )
        assert rig.plane.outside_address(4) == found.address
        assert rig.plane.outside_address(6) is None


@pytest.mark.parametrize(
    ("outside", "told", "word"),
    [
        ("0.0.0.0", None, "no address"),
        ("192.168.0.7", "192.168.0.7", "private"),
        ("100.64.3.4", "100.64.3.4", "carrier"),
        ("127.0.0.1", "127.0.0.1", "no address of the internet"),
    ],
)
async def test_an_outside_address_that_is_none_is_kept_with_its_doubt(
    outside: str, told: str | None, word: str
) -> None:
    async with rigged(Quirks(pcp=False, upnp=False), outside=outside) as rig:
        found = await facts(rig)
        assert str(found.address) == outside
        assert found.address_doubt is not None
        assert word in found.address_doubt["en"]
        address = rig.plane.outside_address(4)
        assert address == (None if told is None else IPv4Address(told))
        assert await rig.put(wanted(1)) == {}  # it may be opened all the same


async def test_nobody_answers() -> None:
    async with rigged(Quirks(pcp=False, natpmp=False, upnp=False)) as rig:
        failed = await rig.put(wanted(1, "tcp/8080:80", path="router"))
        problem = failed["m1"]
        assert (problem.code, problem.exit_code) == ("no-router", 10)
        assert f"tcp/8080 to {rig.local}, port 80" in problem.fix()
        assert await rig.plane.observe() == {}
        assert not rig.plane.stands_before()
        begun = asyncio.get_running_loop().time()
        assert (await rig.put(wanted(1)))["m1"].code == "no-router"
        assert (await rig.plane.preflight(wanted(1).mapping, ())).code == "no-router"  # type: ignore[union-attr]
        assert asyncio.get_running_loop().time() - begun < 0.2  # known by now, so nobody waits
        rig.router.quirks = Quirks()
        rig.clock.advance(120)
        await until(lambda: "m1" in rig.changed)
        assert await rig.put(wanted(1)) == {}


async def test_a_protocol_that_is_switched_off_is_passed_over() -> None:
    async with rigged() as rig:
        await until(lambda: len(rig.plane.told()[0].answered) == 3)
        rig.router.quirks.refuses = 2  # NOT_AUTHORIZED by PCP, by NAT-PMP too
        assert await rig.put(wanted(1)) == {}
        assert rig.plane.told()[0].protocol is RouterProtocol.UPNP
        [standing] = rig.plane.standing("m1")
        assert (standing.protocol, standing.ports, standing.sure) == (RouterProtocol.UPNP, "tcp/8080", True)


async def test_answers_from_another_port_are_not_heard() -> None:
    async with rigged(Quirks(from_other_port=True, upnp=False)) as rig:
        assert (await rig.put(wanted(1)))["m1"].code == "no-router"
        assert "pcp announce" in rig.router.asked


async def test_every_second_datagram_may_be_lost() -> None:
    async with rigged(Quirks(drops=2, upnp=False)) as rig:
        assert await rig.put(wanted(1), wanted(2, "udp/9000-9005")) == {}
        assert len(rig.table()) == 7
        assert await rig.remove("m1", "m2") == {}
        assert rig.table() == {}


async def test_a_description_of_another_host_is_refused() -> None:
    async with rigged(Quirks(pcp=False, natpmp=False, location="127.0.0.9")) as rig:
        assert (await rig.put(wanted(1)))["m1"].code == "no-router"
        assert "GET" not in rig.router.asked


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(pcp=False, natpmp=False, undeclared=True),
        Quirks(pcp=False, natpmp=False, url_base=True),
        Quirks(pcp=False, natpmp=False, tells_entries=False),
    ],
    ids=["undeclared prefixes", "URLBase", "entries cannot be read"],
)
async def test_odd_documents_are_read(quirks: Quirks) -> None:
    async with rigged(quirks) as rig:
        assert await rig.put(wanted(1)) == {}
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}
        assert await rig.remove("m1") == {}
        assert rig.table() == {}


@pytest.mark.parametrize("quirks", [Quirks(huge=True), Quirks(slow=0.05)], ids=["huge", "slow"])
async def test_a_body_that_does_not_end_holds_nobody_up(quirks: Quirks) -> None:
    quirks.pcp = quirks.natpmp = False
    async with rigged(quirks) as rig:
        begun = asyncio.get_running_loop().time()
        failed = await rig.put(wanted(1))
        assert asyncio.get_running_loop().time() - begun < 4.0
        assert failed["m1"].code in ("no-router", "router-slow")
        await until(lambda: rig.plane.told()[0].presence is Presence.NONE)
