"""What is asked of a router, and what becomes of its answers."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from sekimori.model.address import IpProtocol
from sekimori.planes.router.facts import RouterProtocol
from sekimori.testing.fakerouter import Ledge, Quirks

from .rig import Rig, rigged, until, wanted

PCP: dict[str, Any] = {"natpmp": False, "upnp": False}
NATPMP: dict[str, Any] = {"pcp": False, "upnp": False}
UPNP: dict[str, Any] = {"pcp": False, "natpmp": False}
EACH = pytest.mark.parametrize("only", [PCP, NATPMP, UPNP], ids=["pcp", "natpmp", "upnp"])


@EACH
async def test_the_next_hop_listens_on_the_outside_port_and_a_service_on_its_own(
    only: dict[str, Any],
) -> None:
    async with rigged(Quirks(**only)) as rig:
        two_hops = wanted(1, "tcp/8080:80 udp/7000-7001:17000-17001")
        alone = wanted(2, "tcp/9443:443", path="router", target="self")
        assert await rig.put(two_hops, alone) == {}
        here = rig.local
        assert rig.table() == {
            "tcp/8080": f"{here}:8080",
            "udp/7000": f"{here}:7000",
            "udp/7001": f"{here}:7001",
            "tcp/9443": f"{here}:443",
        }
        assert await rig.remove("m1", "m2") == {}
        assert rig.table() == {}


async def test_several_ports_are_asked_for_together_where_that_is_known() -> None:
    async with rigged(Quirks(**PCP)) as rig:
        assert await rig.put(wanted(1, "udp/7000-7063")) == {}
        assert len(rig.table()) == 64
        assert rig.router.asked.count("pcp map") == 1
        [standing] = rig.plane.standing("m1")
        assert standing.ports == "udp/7000-7063"
        assert await rig.remove("m1") == {}
        assert rig.table() == {}


async def test_one_by_one_where_port_sets_are_not_known() -> None:
    async with rigged(Quirks(**PCP, port_sets=False)) as rig:
        assert await rig.put(wanted(1, "udp/7000-7003")) == {}
        assert len(rig.table()) == 4
        assert {each.ports for each in rig.plane.standing("m1")} == {
            f"udp/{port}" for port in range(7000, 7004)
        }
        assert await rig.put(wanted(1, "udp/7000-7003", rig.clock.now() + 100)) == {}
        assert len(rig.plane.standing("m1")) == 4
        assert await rig.remove("m1") == {}
        assert rig.table() == {}


@EACH
async def test_all_or_nothing(only: dict[str, Any]) -> None:
    """What was granted is given back when one port is refused."""
    async with rigged(Quirks(**only)) as rig:
        rig.router.occupy(7002)
        failed = await rig.put(wanted(1, "tcp/7000-7001 tcp/7002 tcp/7003"))
        assert set(failed) == {"m1"}
        assert rig.table().keys() == {"tcp/7002", "udp/7002"}
        assert await rig.plane.observe() == {}


@pytest.mark.parametrize("only", [PCP, NATPMP], ids=["pcp", "natpmp"])
async def test_another_port_is_given_back(only: dict[str, Any]) -> None:
    """Also by a PCP that passes over PREFER_FAILURE."""
    async with rigged(Quirks(**only, prefers_success=True)) as rig:
        rig.router.occupy(8080)
        problem = (await rig.put(wanted(1)))["m1"]
        assert (problem.code, problem.exit_code) == ("router-other-port", 10)
        assert "tcp/8081" in problem.title()
        assert rig.table().keys() == {"tcp/8080", "udp/8080"}


async def test_pcp_with_prefer_failure_says_that_the_port_is_not_free() -> None:
    async with rigged(Quirks(**PCP)) as rig:
        rig.router.occupy(8080)
        problem = (await rig.put(wanted(1)))["m1"]
        assert problem.code == "router-refused"
        assert "PCP 11 CANNOT_PROVIDE_EXTERNAL" in problem.title()


async def test_pcp_without_prefer_failure_is_asked_without() -> None:
    async with rigged(Quirks(**PCP, knows_prefer_failure=False)) as rig:
        assert await rig.put(wanted(1)) == {}
        assert rig.plane.told()[0].protocol is RouterProtocol.PCP


@pytest.mark.parametrize("only", [PCP, NATPMP], ids=["pcp", "natpmp"])
async def test_an_inside_port_has_one_outside_port(only: dict[str, Any]) -> None:
    """A second one would be taken for the first, and to give it back would close that."""
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1, "tcp/8080:80", path="router")) == {}
        problem = (await rig.put(wanted(2, "tcp/8081:80", path="router")))["m2"]
        assert problem.code == "router-refused"
        assert "'web-1' has it" in problem.title()
        assert rig.table() == {"tcp/8080": f"{rig.local}:80"}
        assert set(await rig.plane.observe()) == {"m1"}


@pytest.mark.parametrize("conflict", [718, 501, 729, 402])
async def test_a_port_of_another_host_is_told_with_its_holder(conflict: int) -> None:
    """Whatever code the router has for it."""
    async with rigged(Quirks(**UPNP, conflict=conflict)) as rig:
        rig.router.occupy(8080)
        problem = (await rig.put(wanted(1)))["m1"]
        assert problem.code == "router-port-taken"
        assert "192.168.1.99:8080 (NAS)" in problem.title()


@pytest.mark.parametrize("code", [725, 402])
async def test_a_router_without_leases_gets_entries_without_end(code: int) -> None:
    async with rigged(Quirks(**UPNP, lease_fault=code)) as rig:
        assert await rig.put(wanted(1, "tcp/8080-8081", rig.clock.now() + 500)) == {}
        assert rig.plane.told()[0].lasting_only
        assert [each.until for each in rig.plane.standing("m1")] == [None, None]
        assert rig.router.asked.count("AddPortMapping") in (3, 4)  # it is learned once
        assert await rig.remove("m1") == {}
        assert rig.table() == {}


async def test_a_router_that_forgets_leases_is_noticed() -> None:
    async with rigged(Quirks(**UPNP, forgets_leases=True)) as rig:
        assert await rig.put(wanted(1)) == {}
        assert rig.plane.told()[0].lasting_only
        assert rig.plane.standing("m1")[0].until is None


async def test_what_is_granted_and_not_there_is_a_refusal() -> None:
    async with rigged(Quirks(**UPNP, keeps_nothing=True)) as rig:
        problem = (await rig.put(wanted(1)))["m1"]
        assert problem.code == "router-refused"
        assert "said yes" in problem.title()


async def test_an_old_entry_of_ours_is_replaced() -> None:
    """One to the inside port of an earlier life, or to an address that we had."""
    async with rigged(Quirks(**UPNP)) as rig:
        rig.router.table[IpProtocol.TCP, 8080] = Ledge(rig.local, 81, None, "Sekimori web-0")
        assert await rig.put(wanted(1)) == {}
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}


@EACH
async def test_lifetimes_are_no_longer_than_the_mapping(only: dict[str, Any]) -> None:
    async with rigged(Quirks(**only)) as rig:
        now = rig.clock.now()
        assert await rig.put(wanted(1, "tcp/80", now + 100), wanted(2, "tcp/81")) == {}
        short, long = rig.router.entry(IpProtocol.TCP, 80), rig.router.entry(IpProtocol.TCP, 81)
        assert short is not None
        assert long is not None
        assert short.until == now + 100
        assert long.until == now + (3600 if only is UPNP else 7200)


@EACH
async def test_renewed_at_half_life_for_ever(only: dict[str, Any]) -> None:
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(wanted(1)) == {}
        life = 3600 if only is UPNP else 7200
        for _ in range(4):
            rig.clock.advance(life * 0.6)
            ends = rig.clock.now() + life
            await until(lambda ends=ends: _until(rig) > ends - 5)  # type: ignore[misc]
        assert rig.changed == []
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}


def _until(rig: Rig) -> float:
    entry = rig.router.entry(IpProtocol.TCP, 8080)
    return 0.0 if entry is None else entry.until or math.inf


async def test_a_restart_of_ours_renews() -> None:
    """The nonce is the same, so PCP knows us again."""
    async with rigged(Quirks(**PCP)) as rig:
        assert await rig.put(wanted(1)) == {}
        before = rig.router.entry(IpProtocol.TCP, 8080)
        assert before is not None
        from sekimori.planes.router.plane import RouterPlane

        from .rig import SECRET

        again = RouterPlane(lambda: rig.network, SECRET, rig.clock, rig.clock.now)
        other = RouterPlane(lambda: rig.network, b"another", rig.clock, rig.clock.now)
        async with asyncio.TaskGroup() as group:
            for plane in (again, other):
                plane.start()
            running = [group.create_task(plane.run()) for plane in (again, other)]
            from sekimori.reconcile.ports import Changes

            assert await again.apply(Changes(put=(wanted(1),))) == {}
            failed = await other.apply(Changes(put=(wanted(1),)))
            assert "NOT_AUTHORIZED" in failed["m1"].title()
            for each in running:
                each.cancel()
        await other.close(leave=True)
        assert rig.table() == {"tcp/8080": f"{rig.local}:8080"}
        await again.close()
        assert rig.table() == {}


@EACH
async def test_close_gives_everything_back(only: dict[str, Any]) -> None:
    async with rigged(Quirks(**only)) as rig:
        assert await rig.put(*(wanted(n, f"tcp/{9000 + n}") for n in range(20))) == {}
        assert len(rig.table()) == 20
        await rig.plane.close()
        assert rig.table() == {}


async def test_a_refusal_to_take_away_is_told_and_tried_again_some_times() -> None:
    async with rigged(Quirks(**UPNP)) as rig:
        assert await rig.put(wanted(1)) == {}
        rig.router.quirks.faults = {"DeletePortMapping": 606}
        for _ in range(4):
            problem = (await rig.remove("m1"))["m1"]
            assert problem.code == "router-kept"
            assert set(await rig.plane.observe()) == {"m1"}
        assert await rig.remove("m1") == {}
        assert await rig.plane.observe() == {}


@EACH
async def test_what_an_earlier_try_has_got_is_not_asked_for_again(only: dict[str, Any]) -> None:
    """A longer life of the mapping needs no question either; a shorter one does."""
    async with rigged(Quirks(**only)) as rig:
        now = rig.clock.now()
        assert await rig.put(wanted(1, accept_until=now + 9000)) == {}
        asked = len(rig.router.asked)
        assert await rig.put(wanted(1, accept_until=now + 20000)) == {}
        assert [each for each in rig.router.asked[asked:] if "map" in each.lower()] == []
        rig.clock.advance(1000)
        assert await rig.put(wanted(1, accept_until=now + 1500)) == {}
        assert _until(rig) == now + 1500
