"""The web server over real sockets: what it answers, and how many at a time."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import replace

import pytest

from sekimori.testing.peers import DEADLINE
from sekimori.testing.upnpclient import FaultError, UpnpClient, http_request, read_answer
from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igddescription import Part, path_of, root_path
from sekimori.wire.igdroot import parse_root_untrusted
from sekimori.wire.igdservices import COMMON, FORWARDING, WANIP1, WANIP2
from sekimori.wire.igdxml import read_xml_untrusted

from .calling import ACTION, CONTROL, until_closed, works
from .house import CONSOLE, GATEWAY, OUTSIDE, PHONE, House, entry

pytestmark = pytest.mark.loopback


async def test_descriptions_are_of_one_version_through_and_through(home2: House) -> None:
    for version in (1, 2):
        client = home2.client(version=version)
        answer = await client.request("GET", root_path(version))
        assert (answer.status, answer.fields["content-type"]) == (200, 'text/xml; charset="utf-8"')
        assert "UPnP/1." in answer.fields["server"]
        location = HttpUrl(ipaddress.ip_address(GATEWAY), home2.port, root_path(version))
        root = parse_root_untrusted(answer.body, location)
        assert root.device_type.endswith(f"InternetGatewayDevice:{version}")
        other = b":2<" if version == 1 else b"InternetGatewayDevice:1"
        assert other not in answer.body
        for service in (FORWARDING, COMMON, WANIP1 if version == 1 else WANIP2):
            scpd = await client.request("GET", path_of(version, service, Part.SCPD))
            names = {
                each.said("name") for each in read_xml_untrusted(scpd.body).walk() if each.name == "action"
            }
            assert names == set(service.actions)


@pytest.mark.parametrize(
    "agent",
    [
        "Microsoft-Windows/10.0 UPnP/1.0",
        "FDSSDP",
        "Xbox/2.0.20353.0 UPnP/1.0 Xbox/2.0.20353.0",
        "UPnP/1.0, PlayStation 5",
    ],
)
async def test_programs_that_refuse_version_2_do_not_see_it(home2: House, agent: str) -> None:
    fields = {"User-Agent": agent}
    assert (await home2.client().request("GET", root_path(2), fields)).status == 404
    assert (await home2.client().request("GET", root_path(1), fields)).status == 200


async def test_version_2_is_not_there_where_nobody_offers_it(home1: House) -> None:
    assert (await home1.client().request("GET", root_path(2))).status == 404
    assert (await home1.client().request("POST", path_of(2, WANIP2, Part.CONTROL), ACTION)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", root_path(1), 405),
        ("PUT", root_path(1), 405),
        ("GET", CONTROL, 405),
        ("M-POST", CONTROL, 405),
        ("POST", root_path(1), 405),
        ("OPTIONS", CONTROL, 405),
        ("GET", path_of(1, WANIP1, Part.EVENTS), 405),
        ("GET", "/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/v1/root.xml/", 404),
        ("GET", "http://[", 404),
        ("GET", "/" + "a" * 4000, 404),
    ],
)
async def test_other_methods_and_paths(home1: House, method: str, path: str, status: int) -> None:
    reader, writer = await home1.client().connect()
    writer.write(http_request(method, path, home1.client().host))
    answer = await read_answer(reader, method)
    writer.close()
    assert answer is not None
    assert answer.status == status


async def test_the_whole_url_in_the_request_is_understood(home1: House) -> None:
    client = home1.client()
    assert (await client.request("GET", f"http://{client.host}{root_path(1)}")).status == 200


async def test_a_connection_serves_many_requests_in_any_framing(home1: House) -> None:
    client = home1.client()
    whole = client.call_bytes(WANIP1, "GetExternalIPAddress")
    head, _, body = whole.partition(b"\r\n\r\n")
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7)
    )
    chunked = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    reader, writer = await client.connect()
    for _ in range(2):
        writer.write(whole)
        answer = await read_answer(reader)
        assert answer is not None
        assert answer.status == 200
    writer.write(chunked + b"\r\n\r\n" + chunks + b"0\r\n\r\n")
    answer = await read_answer(reader)
    assert answer is not None
    assert OUTSIDE.encode() in answer.body
    writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
    writer.write(body)
    answer = await read_answer(reader)
    assert answer is not None
    assert OUTSIDE.encode() in answer.body
    writer.close()


async def test_byte_by_byte_equals_whole(home1: House) -> None:
    client = home1.client()
    reader, writer = await client.connect()
    for byte in client.call_bytes(WANIP1, "GetExternalIPAddress"):
        writer.write(bytes((byte,)))
        await writer.drain()
    answer = await read_answer(reader)
    writer.close()
    assert answer is not None
    assert OUTSIDE.encode() in answer.body


async def test_two_hundred_connections_of_one_device_leave_room_for_others(home1: House) -> None:
    held = [await home1.client(PHONE).connect() for _ in range(200)]
    try:
        await works(home1, CONSOLE)
        assert await until_closed(reader for reader, _ in held) == 192
        for _, writer in held:
            writer.close()
        await home1.world.until(lambda: not home1.door._guests)
        await works(home1, PHONE)
    finally:
        for _, writer in held:
            writer.close()


async def test_a_device_with_many_addresses_is_one_device(home1: House) -> None:
    held = [await home1.client(f"127.0.{number}.5").connect() for number in range(20)]
    try:
        assert await until_closed(reader for reader, _ in held) == 12
        await works(home1, CONSOLE)
    finally:
        for _, writer in held:
            writer.close()


async def test_devices_together_have_a_limit(home1: House) -> None:
    held = [await home1.client(f"127.0.0.{number}").connect() for number in range(10, 80)]
    try:
        assert await until_closed(reader for reader, _ in held) == 70 - 64
    finally:
        for _, writer in held:
            writer.close()


async def test_who_is_not_known_or_not_of_this_link_is_not_served(home1: House) -> None:
    home1.inside.unknown.add(ipaddress.ip_address(PHONE))
    assert await home1.client(PHONE).send(http_request("GET", root_path(1), "127.0.0.1")) is None
    await works(home1)
    network = home1.world.machine.network
    lan = replace(home1.lan, prefixes=(ipaddress.ip_network("127.0.0.6/32"),))
    home1.world.machine.network = replace(network, lans=(lan,))
    assert await home1.client("127.0.0.9").send(http_request("GET", root_path(1), "127.0.0.1")) is None
    await works(home1)


async def test_what_breaks_for_one_breaks_for_nobody_else(home1: House) -> None:
    home1.inside.broken.add(ipaddress.ip_address(PHONE))
    assert await home1.client(PHONE).send(http_request("GET", root_path(1), "127.0.0.1")) is None
    await works(home1)
    home1.inside.broken.clear()
    home1.inside.broken.add(ipaddress.ip_address("192.168.1.77"))
    with pytest.raises(FaultError, match="501"):
        await home1.client().call(WANIP1, "AddPortMapping", **entry(3074, "192.168.1.77"))
    await works(home1, PHONE)


async def test_an_address_of_the_wan_does_not_answer_from_inside(home1: House) -> None:
    assert (await UpnpClient("127.0.0.1", home1.port, PHONE).request("GET", root_path(1))).status == 200
    elsewhere = UpnpClient("127.0.0.2", home1.port, PHONE)
    assert await elsewhere.send(http_request("GET", root_path(1), elsewhere.host)) is None


async def test_a_flood_of_calls_of_one_device_holds_up_no_other(home1: House) -> None:
    await home1.permit("allow all most any")
    stop = asyncio.Event()

    async def flood(first: int) -> int:
        client, count = home1.client(PHONE), 0
        reader, writer = await client.connect()
        while not stop.is_set():
            port = first + count % 500
            writer.write(client.call_bytes(WANIP1, "AddPortMapping", **entry(port)))
            assert await read_answer(reader) is not None
            count += 1
        writer.close()
        return count

    async with asyncio.TaskGroup() as tasks:
        floods = [tasks.create_task(flood(10_000 + 500 * number)) for number in range(8)]
        took = []
        for port in range(3000, 3030):
            before = time.monotonic()
            await home1.client(CONSOLE).call(WANIP1, "AddPortMapping", **entry(port, CONSOLE))
            took.append(time.monotonic() - before)
        stop.set()
    assert sum(each.result() for each in floods) >= 30
    assert sorted(took)[len(took) // 2] < 0.25
