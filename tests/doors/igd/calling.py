"""What tests of the web server send, and what they look for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from sekimori.testing.peers import DEADLINE
from sekimori.testing.upnpclient import UpnpClient, http_request
from sekimori.wire.igddescription import Part, path_of
from sekimori.wire.igdservices import WANIP1

from .house import CONSOLE, OUTSIDE, House

CONTROL = path_of(1, WANIP1, Part.CONTROL)


ACTION = {"SOAPAction": f'"{WANIP1.service_type}#GetExternalIPAddress"'}


async def status_of(client: UpnpClient, data: bytes) -> int | None:
    answer = await client.send(data)
    return None if answer is None else answer.status


async def works(house: House, address: str = CONSOLE) -> None:
    """Another device is served, at once."""
    before = time.monotonic()
    told = await house.client(address).call(WANIP1, "GetExternalIPAddress")
    assert told == {"NewExternalIPAddress": OUTSIDE}
    assert time.monotonic() - before < 1


def post(client: UpnpClient, body: bytes, fields: dict[str, str] | None = None) -> bytes:
    return http_request("POST", CONTROL, client.host, {**ACTION, **(fields or {})}, body)


async def until_closed(readers: Iterable[asyncio.StreamReader]) -> int:
    """How many of these connections the other end closes."""
    async with asyncio.timeout(DEADLINE):
        ends = [asyncio.ensure_future(reader.read(1)) for reader in readers]  # noqa: TID251
        closed = 0
        done, pending = await asyncio.wait(ends, timeout=1)
        for each in done:
            closed += each.exception() is not None or each.result() == b""
        for each in pending:
            each.cancel()
        return closed
