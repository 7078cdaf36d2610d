"""WANIPv6FirewallControl: pinholes that devices make, over real sockets."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from sekimori.doors.igd.pinholes import UniqueIds
from sekimori.host.sysctl import read_sysctl
from sekimori.model.source import Sources
from sekimori.testing.upnpclient import FaultError, UpnpClient
from sekimori.wire.igdservices import FIREWALL6

from .house import CONSOLE, PHONE, House, device_at

pytestmark = pytest.mark.loopback

GLOBAL = "2001:db8:3::5"
"""The phone's, which asks from another address: as one that asks from a unique local one."""


def hole(port: int, client: str = GLOBAL, **words: Any) -> dict[str, Any]:
    usual = {"RemoteHost": "", "RemotePort": 0, "InternalClient": client, "InternalPort": port}
    return {**usual, "Protocol": 17, "LeaseTime": 3600, **words}


def flow(port: int = 5000, **words: Any) -> dict[str, Any]:
    values = hole(port, **words)
    del values["LeaseTime"]
    return values


async def fault_of(client: UpnpClient, action: str, **values: Any) -> int | None:
    with pytest.raises(FaultError) as caught:
        await client.call(FIREWALL6, action, **values)
    return caught.value.code


@pytest.fixture
def phone(home2: House) -> UpnpClient:
    home2.inside.outside[6] = ipaddress.ip_address("2001:db8:2::2")
    return home2.client(PHONE, 2)


@pytest.fixture
def console(home2: House) -> UpnpClient:
    return home2.client(CONSOLE, 2)


async def test_whether_pinholes_can_be(home2: House, phone: UpnpClient) -> None:
    assert await phone.call(FIREWALL6, "GetFirewallStatus") == {
        "FirewallEnabled": True,
        "InboundPinholeAllowed": True,
    }
    home2.inside.outside[6] = None
    told = await phone.call(FIREWALL6, "GetFirewallStatus")
    assert told["InboundPinholeAllowed"] is False
    assert await fault_of(phone, "AddPinhole", **hole(5000)) == 703


async def test_a_device_opens_renews_and_closes_a_pinhole(home2: House, phone: UpnpClient) -> None:
    number = (await phone.call(FIREWALL6, "AddPinhole", **hole(5000)))["UniqueID"]
    (lease,) = home2.leases
    assert (lease.owner, str(lease.target), str(lease.ports[0])) == (device_at(PHONE), GLOBAL, "udp/5000")
    assert lease.lifetime.expires_at == int(home2.inside.now()) + 3600
    # The same once more is the same pinhole.
    assert await phone.call(FIREWALL6, "AddPinhole", **hole(5000)) == {"UniqueID": number}
    await phone.call(FIREWALL6, "UpdatePinhole", UniqueID=number, NewLeaseTime=7200)
    (lease,) = home2.leases
    assert lease.lifetime.expires_at == int(home2.inside.now()) + 7200
    await phone.call(FIREWALL6, "DeletePinhole", UniqueID=number)
    assert not home2.leases
    assert await fault_of(phone, "DeletePinhole", UniqueID=number) == 704
    assert await fault_of(phone, "UpdatePinhole", UniqueID=number, NewLeaseTime=60) == 704


async def test_another_device_cannot_touch_it(home2: House, phone: UpnpClient, console: UpnpClient) -> None:
    number = (await phone.call(FIREWALL6, "AddPinhole", **hole(5000)))["UniqueID"]
    assert await fault_of(console, "DeletePinhole", UniqueID=number) == 606
    assert await fault_of(console, "UpdatePinhole", UniqueID=number, NewLeaseTime=60) == 606
    assert await fault_of(console, "GetPinholePackets", UniqueID=number) == 606
    assert await fault_of(console, "AddPinhole", **hole(5000)) == 606  # to the phone's address
    assert await fault_of(console, "AddPinhole", **hole(5001)) == 606
    assert len(home2.leases) == 1


async def test_a_pinhole_that_a_person_made_for_it_needs_nothing(home2: House, phone: UpnpClient) -> None:
    await home2.world.open("udp/5000", GLOBAL)
    number = (await phone.call(FIREWALL6, "AddPinhole", **hole(5000)))["UniqueID"]
    assert not home2.leases
    assert await fault_of(phone, "DeletePinhole", UniqueID=number) == 606


async def test_packets_prove_that_it_works(home2: House, phone: UpnpClient) -> None:
    number = (await phone.call(FIREWALL6, "AddPinhole", **hole(5000)))["UniqueID"]
    assert await phone.call(FIREWALL6, "GetPinholePackets", UniqueID=number) == {"PinholePackets": 0}
    assert await fault_of(phone, "CheckPinholeWorking", UniqueID=number) == 709
    home2.packets[home2.leases[0].id] = 2**32 + 7
    assert await phone.call(FIREWALL6, "GetPinholePackets", UniqueID=number) == {"PinholePackets": 7}
    assert await phone.call(FIREWALL6, "CheckPinholeWorking", UniqueID=number) == {"IsWorking": True}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"InternalPort": 0}, 706),
        ({"Protocol": 65535}, 707),
        ({"Protocol": 41}, 705),
        ({"InternalClient": "nas.example"}, 600),
        ({"InternalClient": "192.168.1.5"}, 600),
        ({"InternalClient": ""}, 600),
        ({"RemoteHost": "nas.example"}, 600),
        ({"RemoteHost": "198.51.100.7"}, 600),
        ({"RemotePort": 4000}, 501),
        ({"RemoteHost": "2001:db8::9", "RemotePort": 5000}, 501),
        ({"InternalPort": 22}, 606),
        ({"InternalClient": "2001:db8:2::2"}, 606),  # the gateway's own
    ],
)
async def test_refuses_what_it_cannot_mean(
    home2: House, phone: UpnpClient, words: dict[str, Any], code: int
) -> None:
    assert await fault_of(phone, "AddPinhole", **hole(5000, **words)) == code
    assert not home2.leases


async def test_lifetimes_out_of_bounds(phone: UpnpClient) -> None:
    call = phone.call_bytes(FIREWALL6, "AddPinhole", **hole(5000, LeaseTime=86400))
    for text in (b"00000", b"86401"):
        answer = await phone.send(call.replace(b"<LeaseTime>86400", b"<LeaseTime>" + text))
        assert answer is not None
        assert b"<errorCode>601<" in answer.body


@pytest.mark.parametrize(
    ("host", "sources"),
    [
        ("", Sources(anyone=True)),
        ("::", Sources(anyone=True)),
        ("::/0", Sources(anyone=True)),
        ("2001:db8::9", Sources(prefixes=(ipaddress.ip_network("2001:db8::9/128"),))),
    ],
)
async def test_who_may_come_in(home2: House, phone: UpnpClient, host: str, sources: Sources) -> None:
    await phone.call(FIREWALL6, "AddPinhole", **hole(5000, RemoteHost=host))
    assert home2.leases[0].sources == sources


async def test_everybody_has_no_port(home2: House, phone: UpnpClient) -> None:
    """Syncthing asks for everybody, with its own port as theirs."""
    await phone.call(FIREWALL6, "AddPinhole", **hole(22000, RemoteHost="::/0", RemotePort=22000))
    assert home2.leases[0].sources.anyone


async def test_how_long_what_a_device_began_is_remembered(phone: UpnpClient) -> None:
    kept = read_sysctl("net.netfilter.nf_conntrack_udp_timeout_stream")
    if kept is None:  # this kernel tracks nothing
        assert await fault_of(phone, "GetOutboundPinholeTimeout", **flow()) == 501
        return
    told = await phone.call(FIREWALL6, "GetOutboundPinholeTimeout", **flow())
    assert told == {"OutboundPinholeTimeout": int(kept)}
    assert await fault_of(phone, "GetOutboundPinholeTimeout", **flow(Protocol=65535)) == 707
    assert await fault_of(phone, "GetOutboundPinholeTimeout", **flow(Protocol=1)) == 705


async def test_numbers_are_the_same_after_a_restart_and_no_two_are_alike(
    home2: House, phone: UpnpClient
) -> None:
    await home2.permit("allow all most any")
    numbers = {}
    for port in range(2000, 2100):
        told = await phone.call(FIREWALL6, "AddPinhole", **hole(port))
        numbers[port] = told["UniqueID"]
    assert len(set(numbers.values())) == 100
    fresh = UniqueIds(home2.inside.snapshot)
    fresh.load()
    assert {each.ports[0].inside.first: fresh.of(each) for each in home2.leases} == numbers


async def test_version_1_has_no_pinholes(home1: House) -> None:
    client = home1.client(version=2)
    answer = await client.send(client.call_bytes(FIREWALL6, "GetFirewallStatus"))
    assert answer is not None
    assert answer.status == 404
