"""SSDP over real sockets: who is answered, how soon, and what is told."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from sekimori.doors.igd.near import address_for, is_here, is_near
from sekimori.model.network import Lan, Network, Wan
from sekimori.testing.upnpclient import search
from sekimori.wire.ssdp import Found

from .house import CONSOLE, GATEWAY, PHONE, House

pytestmark = pytest.mark.loopback

DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection"


async def ask(house: House, st: str, source: str = PHONE, **words: Any) -> list[Found]:
    to = (GATEWAY, house.ssdp_port)
    return await asyncio.to_thread(search, st, to, source, within=0.3, **words)


async def test_a_search_to_the_gateway_itself_is_answered_at_once(home1: House) -> None:
    before = time.monotonic()
    (found,) = await asyncio.to_thread(_first, home1, f"{DEVICE}:1")
    assert time.monotonic() - before < 0.25
    assert str(found.location) == f"http://{GATEWAY}:{home1.port}/v1/root.xml"
    assert found.st == f"{DEVICE}:1"
    assert found.boot_id == int(home1.inside.now())
    assert "UPnP/1.0" in found.server


def _first(house: House, st: str) -> list[Found]:
    return search(st, (GATEWAY, house.ssdp_port), PHONE, within=0.2)


async def test_everything_has_the_gateway_first(home1: House) -> None:
    found = await ask(home1, "ssdp:all")
    assert found[0].st == f"{DEVICE}:1"
    assert {each.st for each in found} >= {"upnp:rootdevice", f"{SERVICE}:1"}
    assert not [each for each in found if each.st.endswith(":2")]


async def test_what_is_not_here_is_not_answered(home2: House) -> None:
    for st in (f"{DEVICE}:3", "urn:schemas-upnp-org:device:MediaServer:1", "uuid:0"):
        assert not await ask(home2, st)
    assert await ask(home2, f"{DEVICE}:1")


@pytest.mark.parametrize(
    ("st", "agent", "version"),
    [
        (f"{DEVICE}:1", "", 1),
        (f"{SERVICE}:1", "", 1),
        (f"{DEVICE}:2", "", 2),
        (f"{SERVICE}:2", "", 2),
        ("ssdp:all", "", 2),
        ("upnp:rootdevice", "", 2),
        ("upnp:rootdevice", "Microsoft-Windows/10.0 UPnP/1.0", 1),
        ("ssdp:all", "Xbox/2.0 UPnP/1.0 Xbox/2.0", 1),
        ("ssdp:all", "UPnP/1.0 PlayStation", 1),
    ],
)
async def test_which_gateway_is_shown_to_whom(home2: House, st: str, agent: str, version: int) -> None:
    fields = f"USER-AGENT: {agent}\r\n" if agent else ""
    found = await ask(home2, st, fields=fields)
    assert found
    assert {each.location.path for each in found} == {f"/v{version}/root.xml"}
    assert {"ssdp:all": f"{DEVICE}:{version}"}.get(st, st) == found[0].st


async def test_each_version_is_a_gateway_of_its_own(home2: House) -> None:
    first = await ask(home2, f"{DEVICE}:1")
    second = await ask(home2, f"{DEVICE}:2")
    assert first[0].usn.partition("::")[0] != second[0].usn.partition("::")[0]


async def test_who_floods_is_answered_no_more_and_others_are(home1: House) -> None:
    found = await asyncio.to_thread(_flood, home1, 300)
    assert 0 < found <= 60
    assert await ask(home1, f"{DEVICE}:1", CONSOLE)


def _flood(house: House, count: int) -> int:
    """How many of so many searches are answered."""
    message = f'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {DEVICE}:1\r\n\r\n'.encode()
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((PHONE, 0))
        sock.settimeout(0.3)
        for _ in range(count):
            sock.sendto(message, (GATEWAY, house.ssdp_port))
        with contextlib.suppress(TimeoutError):
            while sock.recv(4096):
                answered += 1
    return answered


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"M-SEARCH * HTTP/1.1\r\n",
        b"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n",
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ' + b"a" * 2000 + b"\r\n\r\n",
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\x00\r\n\r\n',
        b"\xff" * 1500,
        b"M-SEARCH * HTTP/1.1\r\nMAN:\r\nMX:\r\nST:",
        b'M-SEARCH * HTTP/1.1\r\nMAN: "ssdp:discover"\r\nST: uuid:',
        b"M-SEARCH",
    ],
    ids=range(10),
)
async def test_what_is_no_search_is_not_answered(home1: House, data: bytes) -> None:
    """CVE-2013-0229: a search that ends where its fields should begin."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((PHONE, 0))
        sock.sendto(data, (GATEWAY, home1.ssdp_port))
        # Answers come in the order of the questions: one that was answered would be here by now.
        assert await ask(home1, f"{DEVICE}:1")
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


async def test_what_is_not_from_the_link_is_not_answered(home1: House) -> None:
    network = home1.world.machine.network
    lan = Lan("lo", (ipaddress.ip_network("127.0.0.6/32"),), home1.lan.addresses)
    home1.world.machine.network = replace(network, lans=(lan,))
    assert not await ask(home1, f"{DEVICE}:1", PHONE)
    assert await ask(home1, f"{DEVICE}:1", CONSOLE)


NEAR = Network(
    wans=(Wan("wan0", addresses4=(ipaddress.IPv4Address("203.0.113.5"),)),),
    lans=(
        Lan(
            "lan0",
            tuple(
                map(
                    ipaddress.ip_network, ("192.168.1.0/24", "192.168.2.0/24", "fd00:1::/64", "2001:db8::/64")
                )
            ),
            tuple(map(ipaddress.ip_address, ("192.168.1.1", "192.168.2.1", "fd00:1::1", "2001:db8::1"))),
        ),
        Lan("lan1", (ipaddress.ip_network("10.0.0.0/24"),), (ipaddress.ip_address("10.0.0.1"),)),
    ),
    own=frozenset(map(ipaddress.ip_address, ("203.0.113.5", "192.168.1.1"))),
    outside=frozenset({"wan0"}),
)


@pytest.mark.parametrize(
    ("source", "near"),
    [
        ("192.168.1.9", True),
        ("10.0.0.9", False),  # of another LAN
        ("198.51.100.9", False),
        ("203.0.113.5", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("fe80::9", True),
        ("fd00:1::9", True),
        ("2001:db8:9::9", False),
    ],
)
def test_who_is_near(source: str, near: bool) -> None:
    assert is_near(NEAR, "lan0", ipaddress.ip_address(source)) is near
    assert not is_near(NEAR, "wan0", ipaddress.ip_address(source))


def test_which_addresses_are_answered_at() -> None:
    here = {each: is_here(NEAR, "lan0", ipaddress.ip_address(each)) for each in ("192.168.1.1", "10.0.0.1")}
    assert here == {"192.168.1.1": True, "10.0.0.1": False}
    assert not is_here(NEAR, "lan0", ipaddress.ip_address("203.0.113.5"))
    assert is_here(NEAR, "lan0", ipaddress.ip_address("fe80::1"))
    assert not is_here(NEAR, "wan0", ipaddress.ip_address("fe80::1"))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("192.168.2.9", "192.168.2.1"),
        ("192.168.1.9", "192.168.1.1"),
        ("192.168.9.9", "192.168.1.1"),
        ("2001:db8::9", "2001:db8::1"),
        ("fe80::9", "fd00:1::1"),
        ("0.0.0.0", "192.168.1.1"),
    ],
)
def test_which_address_is_told(source: str, told: str) -> None:
    assert address_for(NEAR, "lan0", ipaddress.ip_address(source)) == ipaddress.ip_address(told)
    assert address_for(NEAR, "lan1", ipaddress.ip_address("fe80::9")) is None
