"""The door as the daemon runs it: over restarts, on interfaces that come and go, and with many leases."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.doors.igd.entries import Entries
from sekimori.doors.igd.faults import mapping_fault, pinhole_fault
from sekimori.doors.igd.guests import Guests
from sekimori.doors.igd.identity import Identity, read_identity, write_identity
from sekimori.doors.igd.line import Line
from sekimori.host.traffic import Traffic
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, Verb
from sekimori.model.events import Committed
from sekimori.model.snapshot import Snapshot
from sekimori.testing.leases import many_leases
from sekimori.testing.upnpclient import FaultError
from sekimori.testing.world import ALICE
from sekimori.wire.igdfaults import Fault
from sekimori.wire.igdservices import COMMON, FORWARDING, WANIP1

from .house import House, entry

pytestmark = pytest.mark.loopback


async def test_a_restart_keeps_the_gateway_and_its_leases(house: House) -> None:
    async with house.world.running():
        async with house.open():
            port, before = house.port, house.client()
            await before.call(WANIP1, "AddPortMapping", **entry(3074))
            document = (await before.request("GET", "/v1/root.xml")).body
        async with house.open():
            assert house.port == port
            after = house.client()
            assert (await after.request("GET", "/v1/root.xml")).body == document
            told = await after.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0)
            assert told["NewExternalPort"] == 3074


async def test_the_port_of_another_program_is_left_to_it(house: House, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        write_identity(tmp_path, Identity(read_identity(tmp_path).uuid, {"lo": taken}))
        async with house.world.running(), house.open():
            await house.world.until(lambda: house.port != taken)
            assert (await house.client().request("GET", "/v1/root.xml")).status == 200


async def test_answers_only_while_the_interface_is_a_lan(house: House) -> None:
    network = house.world.machine.network
    house.world.machine.network = replace(network, lans=())
    async with house.world.running():
        house.door = house.new_door()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(house.door.run())
            await house.world.until(lambda: bool(house.door.problems()))
            assert house.door.problems()["lo"].code == "door-no-lan"
            assert not house.port
            house.world.machine.network = network
            house.door.reframe()
            await house.world.until(lambda: bool(house.port))
            assert not house.door.problems()
            client = house.client()
            assert (await client.request("GET", "/v1/root.xml")).status == 200
            house.world.machine.network = replace(network, lans=(), outside=frozenset({"wan0", "lo"}))
            house.door.reframe()
            await house.world.until(lambda: bool(house.door.problems()))
            assert house.door.problems()["lo"].code == "door-on-wan"
            with pytest.raises(OSError):
                await client.connect()
            running.cancel()


async def test_an_interface_that_is_not_there_keeps_no_other_from_being_answered_on(house: House) -> None:
    async with house.world.running(), asyncio.TaskGroup() as tasks:
        house.door = house.new_door(1, "nowhere0", "lo")
        running = tasks.create_task(house.door.run())
        await house.world.until(lambda: bool(house.port and house.door.problems()))
        assert set(house.door.problems()) == {"nowhere0"}
        assert (await house.client().request("GET", "/v1/root.xml")).status == 200
        running.cancel()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"uuid": "x", "ports": {}}', '{"uuid": 1}', '{"ports": []}']
)
def test_an_identity_that_cannot_be_read_is_a_new_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "igd.json").write_text(text)
    made = read_identity(tmp_path)
    write_identity(tmp_path, made)
    assert read_identity(tmp_path) == made
    assert json.loads((tmp_path / "igd.json").read_text())["uuid"] == str(made.uuid)


async def test_the_line_is_told_as_it_is(home1: House) -> None:
    client = home1.client()
    properties = await client.call(COMMON, "GetCommonLinkProperties")
    assert (properties["NewWANAccessType"], properties["NewPhysicalLinkStatus"]) == ("Ethernet", "Up")
    service = await client.call(FORWARDING, "GetDefaultConnectionService")
    assert str(service["NewDefaultConnectionService"]).endswith(
        ":WANConnectionDevice:1,urn:upnp-org:serviceId:WANIPConn1"
    )
    with pytest.raises(FaultError) as caught:
        await client.call(FORWARDING, "SetDefaultConnectionService", NewDefaultConnectionService="x")
    assert caught.value.code == 606
    with pytest.raises(FaultError) as caught:  # wan0 is not an interface of this machine
        await client.call(COMMON, "GetTotalBytesSent")
    assert caught.value.code == 501


async def test_the_counters_of_the_line(home1: House) -> None:
    door = home1.door
    traffic = Traffic(bytes_in=2**32 + 1, packets_in=2, bytes_out=3, packets_out=4)
    line = Line(door._gateway, door._state, lambda _name: traffic, lambda _name: 10**11)
    assert line.call(1, "GetTotalBytesReceived") == {"NewTotalBytesReceived": 2**32 + 1}
    assert line.call(1, "GetTotalPacketsReceived") == {"NewTotalPacketsReceived": 2}
    assert line.call(1, "GetTotalBytesSent") == {"NewTotalBytesSent": 3}
    assert line.call(1, "GetTotalPacketsSent") == {"NewTotalPacketsSent": 4}
    assert line.call(1, "GetCommonLinkProperties")["NewLayer1UpstreamMaxBitRate"] == 0xFFFF_FFFF


async def test_answers_in_time_however_many_leases_there_are(house: House) -> None:
    snapshot = house.world.ledger.snapshot
    for mapping in many_leases(10_000):
        snapshot.apply(Made(Verb.OPEN, None, mapping))
    async with house.running():
        client = house.client()
        took: dict[str, list[float]] = {}
        for number in range(50):
            port = {"NewRemoteHost": "", "NewExternalPort": 10_000 + number * 199, "NewProtocol": "UDP"}
            for action, words in (
                ("GetGenericPortMappingEntry", {"NewPortMappingIndex": number * 199}),
                ("GetSpecificPortMappingEntry", port),
                ("AddPortMapping", entry(3000 + number % 10)),
            ):
                before = time.perf_counter()
                await client.call(WANIP1, action, **words)
                took.setdefault(action, []).append(time.perf_counter() - before)
        with pytest.raises(FaultError) as caught:
            await client.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=10_010)
        assert caught.value.code == 713
    assert {action: statistics.median(each) < 0.02 for action, each in took.items()} == dict.fromkeys(
        took, True
    )


async def test_who_misses_events_looks_into_the_ledger(home1: House) -> None:
    client, feed = home1.client(), home1.world.feed
    await client.call(WANIP1, "AddPortMapping", **entry(3074))
    opened = home1.world.commits[-1]
    for _ in range(2000):  # more than the queue of a reader holds, before any reader has its turn
        feed.publish(opened)
    await home1.world.until(lambda: len(feed) == 1)
    await client.call(WANIP1, "AddPortMapping", **entry(3075))
    told = await client.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=1)
    assert told["NewExternalPort"] == 3075


def test_entries_follow_every_change() -> None:
    snapshot = Snapshot()
    entries = Entries(lambda: snapshot)
    entries.load()

    def commit(revision: int, *changes: Made) -> None:
        for change in changes:
            snapshot.apply(change)
        entries.take(Committed(revision, 0.0, ALICE, changes))

    leases = many_leases(10)
    commit(1, *(Made(Verb.OPEN, None, each) for each in reversed(leases)))
    assert [found[0] for at in range(10) if (found := entries.at(at))] == leases
    assert entries.at(10) is None
    wide = replace(leases[3], ports=(PortPair(IpProtocol.TCP, PortRange(9000, 9002), PortRange(5000, 5002)),))
    commit(2, Made(Verb.CHANGE, leases[3], wide), Made(Verb.CLOSE, leases[4], None))
    assert len(entries) == 11
    assert [port for _, port in entries.between(IpProtocol.TCP, 1, 65535)] == [9000, 9001, 9002]
    by_hand = replace(leases[5], lease=None)
    commit(3, Made(Verb.ADOPT, leases[5], by_hand))
    assert len(entries) == 10
    assert entries.holder(IpProtocol.UDP, 10_005) == by_hand
    assert entries.update_id == 3
    commit(4, Made(Verb.CHANGE, by_hand, replace(by_hand, name="other")))
    assert entries.update_id == 3  # no entry changed
    fresh = Entries(lambda: snapshot)
    fresh.load()
    assert [fresh.at(at) for at in range(11)] == [entries.at(at) for at in range(11)]
    snapshot.apply(Made(Verb.CLOSE, leases[0], None))  # what is closed and not told yet is passed over
    found = entries.at(0)
    assert found is not None
    assert found[2] == 9001 or found[0] != leases[0]


def test_places_are_given_back() -> None:
    guests = Guests(3, 2)
    with guests.seat("a") as one, guests.seat("a") as two, guests.seat("a") as three:
        assert (one, two, three) == (True, True, False)
        with guests.seat("device", more=False) as same, guests.seat("b") as other, guests.seat("c") as last:
            assert (same, other, last) == (True, True, False)
    assert len(guests) == 0
    with guests.seat("c") as again:
        assert again


@pytest.mark.parametrize(
    ("code", "first", "second"),
    [
        ("lease-refused", 606, 606),
        ("not-permitted", 606, 606),
        ("risk-not-accepted", 606, 606),
        ("lease-paused", 606, 606),
        ("port-taken", 718, 718),
        ("port-busy", 718, 729),
        ("lease-quota", 501, 728),
        ("no-free-port", 501, 728),
        ("no-plane", 501, 501),
        ("not-applied", 501, 501),
    ],
)
def test_what_refusals_are_called(code: str, first: int, second: int) -> None:
    assert (mapping_fault(code, 1).code, mapping_fault(code, 2).code) == (first, second)


def test_what_refusals_of_pinholes_are_called() -> None:
    assert pinhole_fault("lease-refused") is Fault.NOT_AUTHORIZED
    assert pinhole_fault("lease-quota") is Fault.PINHOLE_SPACE_EXHAUSTED
    assert pinhole_fault("port-taken") is Fault.INBOUND_PINHOLE_NOT_ALLOWED
    assert pinhole_fault("no-plane") is Fault.ACTION_FAILED
