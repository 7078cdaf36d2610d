"""The door itself: where it listens, what outlasts it, and whom it serves when many ask."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import statistics
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from sekimori.doors.portmap.epoch import Instant
from sekimori.model.address import IpProtocol
from sekimori.model.decision import Made, Verb
from sekimori.model.lease import NonceRule
from sekimori.testing.leases import many_leases
from sekimori.wire import natpmp, pcp
from sekimori.wire.pcpoptions import Filter

from .house import CONSOLE, PHONE, House, ask, until

pytestmark = pytest.mark.loopback


async def epoch_of(house: House) -> int:
    answer = await ask(house.client().announce)
    assert isinstance(answer, pcp.Response)
    return answer.epoch


# -- the epoch ---------------------------------------------------------------------------


async def test_the_epoch_goes_on_over_a_restart_with_the_leases(house: House) -> None:
    async with house.running():
        await ask(house.client().map, 5000, 6000)
        house.inside.pass_time(100)
    house.inside.pass_time(20)
    house.world.reopen()
    async with house.running():
        assert await epoch_of(house) == 120
        assert [each.ports[0].outside.first for each in house.leases] == [6000]


async def test_the_epoch_goes_on_over_a_reboot(house: House) -> None:
    async with house.running():
        house.inside.pass_time(100)
    house.inside.moment = Instant("another boot", 5.0, house.inside.moment.wall + 60)
    async with house.running():
        assert await epoch_of(house) == 160


async def test_another_outside_address_begins_a_new_epoch(house: House) -> None:
    async with house.running():
        house.inside.pass_time(100)
        assert await epoch_of(house) == 100
        house.inside.outside[4] = ipaddress.ip_address("203.0.113.99")
        house.door.reframe()
        await asyncio.sleep(0)
        assert await epoch_of(house) == 0
    house.inside.pass_time(30)
    async with house.running():  # and stays that one
        assert await epoch_of(house) == 30


async def test_an_address_that_changed_while_the_door_was_shut_is_found(house: House) -> None:
    async with house.running():
        house.inside.pass_time(100)
    house.inside.outside[4] = ipaddress.ip_address("203.0.113.99")
    async with house.running():
        assert await epoch_of(house) == 0


async def test_a_line_that_is_down_for_a_moment_changes_nothing(open_house: House) -> None:
    before = open_house.inside.outside[4]
    open_house.inside.pass_time(100)
    for address in (None, before):
        open_house.inside.outside[4] = address
        open_house.door.reframe()
        await asyncio.sleep(0)
        assert await epoch_of(open_house) == 100


async def test_a_lease_comes_back_with_its_filter_and_its_nonce(house: House) -> None:
    """A restart must not open to all what was for some, nor give it to whoever asks next."""
    only = Filter.of(ipaddress.ip_network("198.51.100.0/24"))
    async with house.running(NonceRule.STRICT):
        client = house.client()
        await ask(client.map, 5000, 6000, options=[only])
    house.world.reopen()
    async with house.running(NonceRule.STRICT):
        assert str(house.leases[0].sources) == "198.51.100.0/24"
        assert isinstance(await ask(client.map, 5000, nonce=b"another one!"), pcp.ErrorResponse)
        assert isinstance(await ask(client.map, 5000), pcp.Response)
        assert str(house.leases[0].sources) == "198.51.100.0/24"


# -- where -------------------------------------------------------------------------------


async def run_until_looked(house: House, *interfaces: str) -> Any:
    door = house.new_door(NonceRule.SAME_SOURCE, *interfaces)
    task = asyncio.get_running_loop().create_task(door.run())
    await until(lambda: bool(door.problems()))
    return door, task


async def test_it_never_listens_on_a_wan(house: House) -> None:
    door, task = await run_until_looked(house, "wan0")
    task.cancel()
    assert {name: each.code for name, each in door.problems().items()} == {"wan0": "door-on-wan"}


async def test_a_port_that_another_program_has_is_told_and_tried_again(house: House) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", house.port))
        door, task = await run_until_looked(house, "lo", "gone0")
        assert {name: each.code for name, each in door.problems().items()} == {
            "lo": "door-not-open",
            "gone0": "door-no-lan",
        }
        assert "Address already in use" in door.problems()["lo"].title()
    door.reframe()
    answer = await ask(house.client().ask, natpmp.encode_request(natpmp.AddressRequest()))
    assert answer[1] == 0x80
    assert set(door.problems()) == {"gone0"}
    task.cancel()


async def test_it_leaves_an_interface_that_becomes_a_wan(open_house: House) -> None:
    machine = open_house.world.machine
    machine.network = replace(machine.network, outside=frozenset({"wan0", "lo"}))
    open_house.door.reframe()
    await until(lambda: "lo" in open_house.door.problems())
    with pytest.raises(TimeoutError):
        await ask(open_house.client().ask, natpmp.encode_request(natpmp.AddressRequest()), 0.1)


# -- many --------------------------------------------------------------------------------


async def test_a_retransmission_of_what_is_in_work_is_not_begun_again(open_house: House) -> None:
    open_house.inside.hold.clear()
    client = open_house.client()
    data = natpmp.encode_request(natpmp.AddressRequest())
    asking = bytes.fromhex("0001 0000 1388 1770 00001c20")
    for _ in range(5):
        await ask(client.send, asking)
    await ask(open_house.client(CONSOLE).ask, data)  # what came before it was taken
    open_house.inside.hold.set()
    first = natpmp.decode_response_untrusted(await ask(client.receive))
    assert isinstance(first, natpmp.MapResponse)
    with pytest.raises(TimeoutError):
        await ask(client.receive, 0.1)
    assert open_house.inside.asked == [ipaddress.ip_address(PHONE)]


async def test_hosts_do_not_wait_for_each_other(open_house: House) -> None:
    """One that cannot be identified for a while holds up nobody but itself."""
    slow = open_house.client("127.0.0.9")
    open_house.inside.hold.clear()
    await ask(slow.send, bytes.fromhex("0001 0000 1388 1770 00001c20"))
    await until(lambda: bool(open_house.inside.asked))
    held, open_house.inside.hold = open_house.inside.hold, asyncio.Event()
    open_house.inside.hold.set()
    quick = await ask(open_house.client().natpmp_map, 5000, 6000)
    assert isinstance(quick, natpmp.MapResponse)
    assert quick.outside_port == 6000
    held.set()
    late = natpmp.decode_response_untrusted(await ask(slow.receive))
    assert isinstance(late, natpmp.MapResponse)
    assert late.outside_port != 6000  # it was not looked at before


async def test_a_flood_of_one_host_leaves_the_others_served(open_house: House) -> None:
    flood = open_house.client("127.0.0.9")

    def pour() -> None:
        for port in range(2000, 8000):
            flood.send(natpmp.encode_request(natpmp.MapRequest(IpProtocol.UDP, port, 0, 7200)))

    pouring = asyncio.get_running_loop().run_in_executor(None, pour)
    client = open_house.client()
    for port in range(5000, 5020):
        answer = await ask(client.natpmp_map, port)
        assert isinstance(answer, natpmp.MapResponse)
    await pouring
    # 64 is what a rule allows a device; the flood got no more work done than its line and its quota.
    assert len([each for each in open_house.leases if each.target.host == "127.0.0.9"]) <= 64


async def test_answers_in_time_however_many_leases_there_are(house: House) -> None:
    for mapping in many_leases(10_000):
        house.world.ledger.snapshot.apply(Made(Verb.OPEN, None, mapping))
    await house.permit("allow all most any")
    took: dict[str, list[float]] = {}
    async with house.running():
        client = house.client()
        for number in range(50):
            for what, calls in (
                ("free", partial(client.map, 4000 + number, 30_000 + number)),
                ("taken", partial(client.map, 4100 + number, 10_000 + number)),
                ("again", partial(client.map, 4000 + number, 30_000 + number, 3600)),
                ("nat-pmp", partial(client.natpmp_map, 4200 + number, 31_000 + number)),
                ("closed", partial(client.map, 4100 + number, lifetime=0)),
            ):
                before = time.perf_counter()
                answer = await ask(calls)
                took.setdefault(what, []).append(time.perf_counter() - before)
                assert isinstance(answer, pcp.Response | natpmp.MapResponse)
    assert {what: statistics.median(each) < 0.02 for what, each in took.items()} == dict.fromkeys(took, True)


@pytest.mark.parametrize("seed", range(3))
async def test_no_bytes_end_the_door(open_house: House, seed: int) -> None:
    chance = random.Random(seed)
    client = open_house.client()
    valid = pcp.encode_request(
        pcp.Request(7200, client.address, pcp.Map(client.nonce, 17, 5000, 0, ipaddress.ip_address("0.0.0.0")))
    )
    for _ in range(300):
        data = bytearray(valid if chance.random() < 0.7 else chance.randbytes(chance.randrange(80)))
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        await ask(client.send, bytes(data))
    assert isinstance(await ask(open_house.client(CONSOLE).announce), pcp.Response)
