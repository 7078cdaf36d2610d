"""WANIPConnection over real sockets: what devices open, and what they are told."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from sekimori.model.lease import LeaseProtocol
from sekimori.model.lifetime import Lifetime
from sekimori.model.source import Sources
from sekimori.testing.upnpclient import FaultError, UpnpClient
from sekimori.wire.igdlisting import decode_listing_untrusted
from sekimori.wire.igdservices import WANIP1, WANIP2, Service

from .house import CONSOLE, GATEWAY, OUTSIDE, PHONE, House, device_at, entry, key

pytestmark = pytest.mark.loopback


async def fault_of(client: UpnpClient, service: Service, action: str, **values: Any) -> int | None:
    with pytest.raises(FaultError) as caught:
        await client.call(service, action, **values)
    return caught.value.code


async def test_tells_the_outside_address_and_that_it_is_connected(home1: House) -> None:
    client = home1.client()
    assert await client.call(WANIP1, "GetExternalIPAddress") == {"NewExternalIPAddress": OUTSIDE}
    status = await client.call(WANIP1, "GetStatusInfo")
    assert status["NewConnectionStatus"] == "Connected"
    home1.inside.outside[4] = None
    assert await client.call(WANIP1, "GetExternalIPAddress") == {"NewExternalIPAddress": ""}
    status = await client.call(WANIP1, "GetStatusInfo")
    assert (status["NewConnectionStatus"], status["NewUptime"]) == ("Disconnected", 0)
    assert await fault_of(client, WANIP1, "RequestConnection") == 704


async def test_what_is_said_of_the_connection(home2: House) -> None:
    client = home2.client()
    types = await client.call(WANIP1, "GetConnectionTypeInfo")
    assert set(types.values()) == {"IP_Routed"}
    assert await client.call(WANIP1, "GetNATRSIPStatus") == {
        "NewRSIPAvailable": False,
        "NewNATEnabled": True,
    }
    assert await client.call(WANIP1, "RequestConnection") == {}
    assert await fault_of(client, WANIP1, "ForceTermination") == 606
    assert await fault_of(client, WANIP1, "SetConnectionType", NewConnectionType="IP_Routed") == 606
    second = home2.client(version=2)
    assert await fault_of(second, WANIP2, "SetConnectionType", NewConnectionType="IP_Routed") == 731


async def test_a_device_opens_a_port_and_closes_it(home1: House) -> None:
    client = home1.client()
    await client.call(WANIP1, "AddPortMapping", **entry(9308, inside=9309, protocol="TCP"))
    (lease,) = home1.leases
    assert lease.owner == device_at(PHONE)
    assert (str(lease.ports[0]), str(lease.target)) == ("tcp/9308:9309", PHONE)
    assert lease.lease is not None
    assert (lease.lease.protocol, lease.lease.description) == (LeaseProtocol.IGD, "a game")
    assert lease.sources.anyone
    assert home1.world.plane.held
    found = await client.call(WANIP1, "GetSpecificPortMappingEntry", **key(9308, "TCP"))
    assert found == {
        "NewInternalPort": 9309,
        "NewInternalClient": PHONE,
        "NewEnabled": True,
        "NewPortMappingDescription": "a game",
        "NewLeaseDuration": 3600,
    }
    await client.call(WANIP1, "DeletePortMapping", **key(9308, "TCP"))
    assert not home1.leases
    assert await fault_of(client, WANIP1, "DeletePortMapping", **key(9308, "TCP")) == 714
    assert await fault_of(client, WANIP1, "GetSpecificPortMappingEntry", **key(9308, "TCP")) == 714


async def test_asking_again_renews_and_changes_what_is_meant(home1: House) -> None:
    client = home1.client()
    await client.call(WANIP1, "AddPortMapping", **entry(3074))
    home1.world.clock.advance(1000)
    await client.call(WANIP1, "AddPortMapping", **entry(3074))
    (lease,) = home1.leases
    assert lease.lifetime.expires_at == int(home1.inside.now()) + 3600
    await client.call(WANIP1, "AddPortMapping", **entry(3074, inside=4000, remote="198.51.100.7"))
    (lease,) = home1.leases
    assert lease.ports[0].inside.first == 4000
    assert lease.sources == Sources(prefixes=(ipaddress.ip_network("198.51.100.7/32"),))


@pytest.mark.parametrize("remote", ["", "*", "0.0.0.0", " "])
async def test_everybody_has_many_spellings(home1: House, remote: str) -> None:
    await home1.client().call(WANIP1, "AddPortMapping", **entry(3074, remote=remote))
    assert home1.leases[0].sources.anyone
    await home1.client().call(WANIP1, "DeletePortMapping", **key(3074, remote="0.0.0.0"))
    assert not home1.leases


async def test_a_remote_host_is_part_of_what_is_deleted(home1: House) -> None:
    client = home1.client()
    await client.call(WANIP1, "AddPortMapping", **entry(3074, remote="198.51.100.7"))
    assert await fault_of(client, WANIP1, "DeletePortMapping", **key(3074, remote="198.51.100.8")) == 714
    told = await client.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0)
    assert told["NewRemoteHost"] == "198.51.100.7"
    await client.call(WANIP1, "DeletePortMapping", **key(3074, remote="::ffff:198.51.100.7"))
    assert not home1.leases


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"NewInternalClient": "nas.example"}, 600),
        ({"NewInternalClient": ""}, 600),
        ({"NewInternalClient": "fd00:1::5"}, 600),
        ({"NewRemoteHost": "nas.example"}, 600),
        ({"NewRemoteHost": "2001:db8::1"}, 600),
        ({"NewEnabled": False}, 402),
        ({"NewExternalPort": 0}, 716),
    ],
)
async def test_refuses_what_it_cannot_mean(home1: House, bad: dict[str, Any], code: int) -> None:
    assert await fault_of(home1.client(), WANIP1, "AddPortMapping", **{**entry(3074), **bad}) == code
    assert not home1.leases


async def test_two_devices_want_one_port(home2: House) -> None:
    await home2.client(PHONE).call(WANIP1, "AddPortMapping", **entry(3074))
    console = home2.client(CONSOLE)
    wish = entry(3074, CONSOLE)
    assert await fault_of(console, WANIP1, "AddPortMapping", **wish) == 718
    assert await fault_of(home2.client(CONSOLE, 2), WANIP2, "AddPortMapping", **wish) == 718
    # What the phone has already is not the console's to ask for.
    assert await fault_of(console, WANIP1, "AddPortMapping", **entry(3074, PHONE)) == 606
    # It learns from whom; and it cannot take it away.
    told = await console.call(WANIP1, "GetSpecificPortMappingEntry", **key(3074))
    assert told["NewInternalClient"] == PHONE
    assert await fault_of(console, WANIP1, "DeletePortMapping", **key(3074)) == 714
    assert await fault_of(home2.client(CONSOLE, 2), WANIP2, "DeletePortMapping", **key(3074)) == 606
    assert [lease.owner for lease in home2.leases] == [device_at(PHONE)]


async def test_a_port_that_a_person_opened_is_taken_but_not_told_about(home2: House) -> None:
    await home2.world.open("udp/3074:9000", "127.0.0.77")
    client = home2.client()
    assert await fault_of(client, WANIP1, "AddPortMapping", **entry(3074)) == 718
    assert await fault_of(home2.client(version=2), WANIP2, "AddPortMapping", **entry(3074)) == 729
    told = await client.call(WANIP1, "GetSpecificPortMappingEntry", **key(3074))
    assert (told["NewInternalClient"], told["NewInternalPort"]) == (GATEWAY, 3074)
    assert await fault_of(client, WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0) == 713


async def test_a_port_that_a_person_opened_for_it_needs_nothing(home1: House) -> None:
    mine = await home1.world.open("udp/3074", PHONE, permanent="the console's")
    client = home1.client()
    await client.call(WANIP1, "AddPortMapping", **entry(3074))
    assert not home1.leases
    told = await client.call(WANIP1, "GetSpecificPortMappingEntry", **key(3074))
    assert (told["NewInternalClient"], told["NewLeaseDuration"]) == (PHONE, 0)
    assert await fault_of(client, WANIP1, "DeletePortMapping", **key(3074)) == 714
    assert home1.world.ledger.snapshot.get(mine.id) is not None


async def test_a_lease_of_0_lasts_in_version_1_and_is_a_week_in_version_2(home2: House) -> None:
    first, second = home2.client(), home2.client(version=2)
    await first.call(WANIP1, "AddPortMapping", **entry(3074, lease=0))
    await second.call(WANIP2, "AddPortMapping", **entry(3075, lease=0))
    lasting, week = sorted(home2.leases, key=lambda each: each.ports[0].outside.first)
    assert lasting.lease is not None
    assert lasting.lease.lasting
    assert week.lease is not None
    assert not week.lease.lasting
    told = await first.call(WANIP1, "GetSpecificPortMappingEntry", **key(3074))
    assert told["NewLeaseDuration"] == 0
    told = await second.call(WANIP2, "GetSpecificPortMappingEntry", **key(3075))
    assert told["NewLeaseDuration"] == 604800


async def test_what_was_granted_is_told_and_not_what_was_wished(home2: House) -> None:
    await home2.permit("allow all for 1h")
    await home2.client(version=2).call(WANIP2, "AddPortMapping", **entry(3074, lease=4294967295))
    told = await home2.client().call(WANIP1, "GetSpecificPortMappingEntry", **key(3074))
    assert told["NewLeaseDuration"] == 3600


async def test_rules_refuse_by_their_faults(home2: House) -> None:
    first, second = home2.client(), home2.client(version=2)
    assert await fault_of(first, WANIP1, "AddPortMapping", **entry(80)) == 606
    assert await fault_of(first, WANIP1, "AddPortMapping", **entry(3074, CONSOLE)) == 606
    await home2.permit("allow all most 1")
    await first.call(WANIP1, "AddPortMapping", **entry(3074))
    assert await fault_of(first, WANIP1, "AddPortMapping", **entry(3075)) == 501
    assert await fault_of(second, WANIP2, "AddPortMapping", **entry(3075)) == 728
    await home2.world.pause(home2.leases[0].id)
    assert await fault_of(first, WANIP1, "AddPortMapping", **entry(3074)) == 606


async def test_a_rule_lets_a_device_open_for_others(home1: House) -> None:
    await home1.permit(f"allow {PHONE} others", "deny all")
    other = "192.168.1.77"
    await home1.client().call(WANIP1, "AddPortMapping", **entry(3074, other))
    (lease,) = home1.leases
    assert (lease.owner, str(lease.target)) == (device_at(PHONE), other)
    assert lease.lease is not None
    assert lease.lease.third_party
    assert await fault_of(home1.client(CONSOLE), WANIP1, "AddPortMapping", **entry(3075, CONSOLE)) == 606


async def test_any_port_will_do(home2: House) -> None:
    await home2.client(CONSOLE).call(WANIP1, "AddPortMapping", **entry(3074, CONSOLE))
    client = home2.client(version=2)
    reserved = (await client.call(WANIP2, "AddAnyPortMapping", **entry(3074)))["NewReservedPort"]
    assert reserved != 3074
    # Asked again by the old wish or by what it has, it is the same one.
    for wish in (3074, reserved):
        again = await client.call(WANIP2, "AddAnyPortMapping", **entry(int(wish), inside=3074))
        assert again == {"NewReservedPort": reserved}
    assert len(home2.leases) == 2
    free = await client.call(WANIP2, "AddAnyPortMapping", **entry(4000))
    assert free == {"NewReservedPort": 4000}
    wild = await client.call(WANIP2, "AddAnyPortMapping", **entry(0, inside=5000))
    assert wild == {"NewReservedPort": 5000}


async def test_no_port_is_left(home2: House) -> None:
    await home2.permit("allow all outside 4000-4001")
    await home2.world.open("udp/4000-4001", "127.0.0.77")
    client = home2.client(version=2)
    assert await fault_of(client, WANIP2, "AddAnyPortMapping", **entry(4000)) == 728


async def test_the_array_has_every_entry_once_in_an_order_that_lasts(home2: House) -> None:
    phone, console = home2.client(PHONE), home2.client(CONSOLE)
    for port in (5002, 5000, 5001):
        await phone.call(WANIP1, "AddPortMapping", **entry(port))
    await console.call(WANIP1, "AddPortMapping", **entry(5001, CONSOLE, protocol="TCP"))

    async def array() -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        for index in range(len(home2.leases)):
            told = await phone.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=index)
            found.append((told["NewProtocol"], told["NewExternalPort"]))
        behind = {"NewPortMappingIndex": len(found)}
        assert await fault_of(phone, WANIP1, "GetGenericPortMappingEntry", **behind) == 713
        return found

    before = await array()
    assert before == [("UDP", 5000), ("TCP", 5001), ("UDP", 5001), ("UDP", 5002)]
    await phone.call(WANIP1, "AddPortMapping", **entry(5000))
    assert await array() == before
    await phone.call(WANIP1, "DeletePortMapping", **key(5001))
    assert await array() == [("UDP", 5000), ("TCP", 5001), ("UDP", 5002)]
    listed = await home2.client(version=2).call(
        WANIP2,
        "GetListOfPortMappings",
        NewStartPort=0,
        NewEndPort=65535,
        NewProtocol="UDP",
        NewManage=True,
        NewNumberOfPorts=0,
    )
    entries = decode_listing_untrusted(str(listed["NewPortListing"]))
    assert [(each.protocol, each.external_port) for each in entries] == [("UDP", 5000), ("UDP", 5002)]


def span(first: int, last: int, *, manage: bool = False, most: int | None = None) -> dict[str, Any]:
    values = {"NewStartPort": first, "NewEndPort": last, "NewProtocol": "UDP", "NewManage": manage}
    return values if most is None else {**values, "NewNumberOfPorts": most}


async def test_the_list_of_version_2(home2: House) -> None:
    phone, console = home2.client(PHONE, 2), home2.client(CONSOLE, 2)
    for port in range(5000, 5010):
        await phone.call(WANIP2, "AddPortMapping", **entry(port))
    await console.call(WANIP2, "AddPortMapping", **entry(5010, CONSOLE))

    async def ports(client: UpnpClient, **words: Any) -> list[int]:
        told = await client.call(WANIP2, "GetListOfPortMappings", **words)
        return [each.external_port for each in decode_listing_untrusted(str(told["NewPortListing"]))]

    assert await ports(phone, **span(1, 65535, most=0)) == list(range(5000, 5010))
    assert await ports(phone, **span(1, 65535, most=3)) == [5000, 5001, 5002]
    assert await ports(phone, **span(5003, 5004, most=9)) == [5003, 5004]
    assert await ports(console, **span(1, 65535, most=0)) == [5010]
    assert await ports(console, **span(5009, 65535, manage=True, most=0)) == [5009, 5010]
    assert await fault_of(console, WANIP2, "GetListOfPortMappings", **span(1, 9, most=0)) == 730
    assert await fault_of(console, WANIP2, "GetListOfPortMappings", **span(9, 1, most=0)) == 733


async def test_a_range_is_deleted_as_far_as_it_is_the_devices_own(home2: House) -> None:
    phone, console = home2.client(PHONE, 2), home2.client(CONSOLE, 2)
    for port in (1000, 10000, 10001):
        await home2.permit("allow all outside 1-65535 inside 1-65535")
        await phone.call(WANIP2, "AddPortMapping", **entry(port))
    assert await fault_of(console, WANIP2, "DeletePortMappingRange", **span(1, 65535)) == 730
    assert await fault_of(console, WANIP2, "DeletePortMappingRange", **span(1, 65535, manage=True)) == 606
    assert await fault_of(phone, WANIP2, "DeletePortMappingRange", **span(9, 1)) == 733
    await phone.call(WANIP2, "DeletePortMappingRange", **span(1000, 10000))
    assert [lease.ports[0].outside.first for lease in home2.leases] == [10001]


async def test_deleting_one_port_leaves_those_that_begin_alike(home1: House) -> None:
    await home1.permit("allow all outside 1-65535 inside 1-65535")
    client = home1.client()
    for port in (1000, 10000, 10001):
        await client.call(WANIP1, "AddPortMapping", **entry(port))
    await client.call(WANIP1, "DeletePortMapping", **key(1000))
    assert sorted(lease.ports[0].outside.first for lease in home1.leases) == [10000, 10001]


async def test_version_1_has_no_actions_of_version_2(home2: House) -> None:
    first = UpnpClient(GATEWAY, home2.port, PHONE, 1)
    assert await fault_of(first, WANIP2, "AddAnyPortMapping", **entry(3074)) == 401


async def test_what_is_closed_or_expires_leaves_the_array(home1: House) -> None:
    client = home1.client()
    await client.call(WANIP1, "AddPortMapping", **entry(3074, lease=60))
    await client.call(WANIP1, "AddPortMapping", **entry(3075, lease=7200))
    adopted = next(each for each in home1.leases if each.ports[0].outside.first == 3075)
    await home1.world.pass_time(61)
    left = await client.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0)
    assert left["NewExternalPort"] == 3075
    await home1.world.extend(adopted.id, lifetime=Lifetime.permanent("it stays"))
    told = await client.call(WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0)
    assert told["NewLeaseDuration"] == 0
    await home1.world.shut(adopted.id, now=True)
    assert await fault_of(client, WANIP1, "GetGenericPortMappingEntry", NewPortMappingIndex=0) == 713
