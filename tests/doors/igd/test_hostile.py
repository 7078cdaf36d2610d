"""The web server against everybody who means it no good, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sekimori.doors.igd import talk
from sekimori.testing.peers import DEADLINE
from sekimori.testing.upnpclient import FaultError, http_request, read_answer
from sekimori.wire.igddescription import Part, path_of, root_path
from sekimori.wire.igdlisting import decode_listing_untrusted
from sekimori.wire.igdservices import COMMON, FIREWALL6, FORWARDING, WANIP1, WANIP2, Service
from sekimori.wire.igdxml import escape

from .calling import CONTROL, post, status_of, works
from .house import House, entry, key

pytestmark = pytest.mark.loopback


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.nip.io", "203.0.113.5", "[::1]"]
)
async def test_a_name_that_leads_here_is_refused(home1: House, host: str) -> None:
    """DNS rebinding: a web page's own name, made to mean the gateway."""
    client = home1.client()
    assert await status_of(client, http_request("GET", root_path(1), host)) == 400
    body = client.call_bytes(WANIP1, "AddPortMapping", **entry(3074))
    assert await status_of(client, body.replace(client.host.encode(), host.encode(), 1)) == 400
    assert not home1.leases


async def test_a_call_needs_its_soapaction(home1: House) -> None:
    """What a form of a web page can send has none (CORS)."""
    client = home1.client()
    body = client.call_bytes(WANIP1, "AddPortMapping", **entry(3074))
    assert await status_of(client, body.replace(b"SOAPAction", b"X-Nothing")) == 400
    assert not home1.leases


BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]>
<s:Envelope><s:Body><u:GetExternalIPAddress>&lol2;</u:GetExternalIPAddress></s:Body></s:Envelope>"""


FILE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>
<s:Envelope><s:Body><u:GetExternalIPAddress>&f;</u:GetExternalIPAddress></s:Body></s:Envelope>"""


DEEP = b"<a>" * 5_000 + b"</a>" * 5_000


CUT_SHORT = (
    b"<s:Envelope><s:Body><u:AddPortMapping><NewRemoteHost"  # a parser that looks for the end beyond it
)


@pytest.mark.parametrize(
    "body",
    [b"", b"\0" * 100, BOMB, FILE, DEEP, CUT_SHORT, b"<" * 60_000, b"\xff\xfe<a/>"],
    ids=["empty", "zeros", "bomb", "file", "deep", "short", "open", "latin"],
)
async def test_bodies_that_are_no_call(home1: House, body: bytes) -> None:
    before = time.monotonic()
    assert await status_of(home1.client(), post(home1.client(), body)) == 400
    assert time.monotonic() - before < 1
    await works(home1)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /v1/root.xml HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /v1/root.xml HTTP/1.0\r\n\r\n", 400),
        (b"GET /v1/root.xml HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET /v1/root.xml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 4000, 431),
        (b"GET /" + b"a" * 30_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
    ],
)
async def test_what_is_no_http(home1: House, data: bytes, status: int | None) -> None:
    client = home1.client()
    reader, writer = await client.connect()
    writer.write(data)
    writer.write_eof()
    try:
        answer = await read_answer(reader)
    except ConnectionError:
        answer = None
    writer.close()
    if status is not None:
        assert answer is not None
        assert answer.status == status
    await works(home1)


async def test_bodies_have_a_limit(home1: House) -> None:
    client = home1.client()
    assert await status_of(client, post(client, b" " * (talk.LONGEST_BODY + 1))) == 413


async def test_chunks_that_never_end_have_a_limit(home1: House) -> None:
    client = home1.client()
    reader, writer = await client.connect()
    writer.write(post(client, b"", {"Content-Length": "", "Transfer-Encoding": "chunked"}))
    answer = asyncio.ensure_future(read_answer(reader))  # noqa: TID251
    sent = 0
    while not answer.done() and sent < 10 * talk.LONGEST_BODY:
        writer.write(b"400\r\n" + b" " * 0x400 + b"\r\n")
        sent += 0x400
        await asyncio.sleep(0)
        await writer.drain()
    found = await answer
    writer.close()
    assert found is not None
    assert found.status == 413
    await works(home1)


async def test_who_is_slow_is_let_go() -> None:
    """Slowloris: a byte now and then keeps no place."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)

    async def answer(_request: talk.Request) -> talk.Response:
        raise AssertionError("there was no request")

    loop = asyncio.get_running_loop()
    with ours, theirs:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(talk.converse(ours, answer, within=0.2))
            async with asyncio.timeout(DEADLINE):
                for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000:
                    if serving.done():
                        break
                    await loop.sock_sendall(theirs, bytes((byte,)))
                    await asyncio.wait([serving], timeout=0.02)
            assert serving.done()


async def test_who_does_not_read_is_let_go() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def answer(_request: talk.Request) -> talk.Response:
        return talk.Response(200, (), b"a" * 10_000_000)

    with ours, theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\nHost: us\r\n\r\n")
        async with asyncio.timeout(DEADLINE):
            await talk.converse(ours, answer, within=0.2)


NASTY = '</NewPortMappingDescription><script>alert(1)</script>\x1b[31m\r\n\x07"&\u202eevil ]]>'


async def test_descriptions_of_strangers_control_nothing(home2: House) -> None:
    client = home2.client(version=2)
    written = entry(3074, description="PLACE")
    escaped = escape(NASTY.replace("\x1b", "").replace("\x07", ""))
    call = client.call_bytes(WANIP2, "AddPortMapping", **written)
    head, _, body = call.partition(b"\r\n\r\n")
    body = body.replace(b"PLACE", escaped.encode())
    length = head.decode().split("Content-Length: ")[1].split("\r\n")[0]
    head = head.replace(f"Content-Length: {length}".encode(), f"Content-Length: {len(body)}".encode())
    assert await status_of(client, head + b"\r\n\r\n" + body) == 200
    (lease,) = home2.leases
    assert lease.lease is not None
    kept = lease.lease.description
    assert kept == '</NewPortMappingDescription><script>alert(1)</script>[31m "&evil ]]>'
    answer = await client.send(client.call_bytes(WANIP2, "GetSpecificPortMappingEntry", **key(3074)))
    assert answer is not None
    assert b"<script>" not in answer.body
    told = await client.call(WANIP2, "GetSpecificPortMappingEntry", **key(3074))
    assert told["NewPortMappingDescription"] == kept
    listed = await client.call(
        WANIP2,
        "GetListOfPortMappings",
        NewStartPort=1,
        NewEndPort=65535,
        NewProtocol="UDP",
        NewManage=False,
        NewNumberOfPorts=0,
    )
    (one,) = decode_listing_untrusted(str(listed["NewPortListing"]))
    assert one.description == kept


async def test_arguments_that_are_too_long(home1: House) -> None:
    """CVE-2013-0230 and its kin: names, hosts and numbers beyond every buffer."""
    client = home1.client()
    for words in (
        {"NewInternalClient": "1" * 5000},
        {"NewRemoteHost": "a" * 1500},
        {"NewPortMappingDescription": "a" * 2000},
    ):
        with pytest.raises(FaultError) as caught:
            await client.call(WANIP1, "AddPortMapping", **{**entry(3074), **words})
        assert caught.value.code in (600, 605)
    call = client.call_bytes(WANIP1, "AddPortMapping", **entry(3074))
    for old, new, code in (
        (b"<NewExternalPort>3074", b"<NewExternalPort>99999", 601),
        (b"<NewExternalPort>3074", b"<NewExternalPort>-001", 402),
        (b"<NewInternalPort>3074", b"<NewInternalPort>0000", 402),
        (b"<NewLeaseDuration>3600", b"<NewLeaseDuration>36x0", 402),
        (b"<NewProtocol>UDP", b"<NewProtocol>ICM", 601),
    ):
        changed = call.replace(old, new)
        grown = len(changed) - len(call)
        length = int(call.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        changed = changed.replace(b"Content-Length: %d" % length, b"Content-Length: %d" % (length + grown))
        answer = await client.send(changed)
        assert answer is not None
        assert (answer.status, b"<errorCode>%d<" % code in answer.body) == (500, True)
    assert not home1.leases


@pytest.mark.parametrize("length", [100, 300, 1500])
async def test_an_action_of_a_long_name(home1: House, length: int) -> None:
    """CVE-2013-0230: a quoted SOAPAction beyond the buffer."""
    client = home1.client()
    name = "A" * length
    body = f"<s:Envelope><s:Body><u:{name}/></s:Body></s:Envelope>".encode()
    fields = {"SOAPAction": f'"{WANIP1.service_type}#{name}"'}
    answer = await client.send(http_request("POST", CONTROL, client.host, fields, body))
    assert answer is not None
    assert (answer.status, b"<errorCode>401<" in answer.body) in ((400, False), (500, True))
    await works(home1)


@pytest.mark.parametrize("service", [WANIP2, FIREWALL6, COMMON, FORWARDING], ids=lambda each: each.name)
async def test_calls_that_leave_everything_out(home2: House, service: Service) -> None:
    """CVE-2019-12108 to 12110: null pointers for arguments that are not there."""
    client = home2.client(version=2)
    for action in service.actions.values():
        body = f"<s:Envelope><s:Body><u:{action.name}/></s:Body></s:Envelope>".encode()
        fields = {"SOAPAction": f'"{service.service_type}#{action.name}"'}
        path = path_of(2, service, Part.CONTROL)
        answer = await client.send(http_request("POST", path, client.host, fields, body))
        assert answer is not None
        if action.inward:
            assert (answer.status, b"<errorCode>402<" in answer.body) == (500, True), action.name
        else:
            assert answer.status in (200, 500)
    await works(home2)
