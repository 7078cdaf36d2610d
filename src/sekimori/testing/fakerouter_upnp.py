"""The fake router's UPnP: SSDP, descriptions and SOAP."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sekimori.model.address import IpProtocol
from sekimori.testing.fakerouter import Ledge
from sekimori.wire.errors import BadPacket
from sekimori.wire.igddescription import Gateway, Part, config_id, path_of, root_description, root_path
from sekimori.wire.igdfaults import Fault
from sekimori.wire.igdservices import WANIP1
from sekimori.wire.soap import Call, decode_call_untrusted, encode_answer, encode_fault
from sekimori.wire.ssdp import (
    GROUP4,
    PORT,
    Presence,
    answers_to,
    decode_search_untrusted,
    encode_alive,
    encode_byebye,
)
from sekimori.wire.ssdp import (
    encode_answer as encode_found,
)

if TYPE_CHECKING:
    from sekimori.testing.fakerouter import FakeRouter

__all__ = ["HttpServer", "SearchServer", "announce_alive", "announce_byebye"]

_GATEWAY: Final = Gateway(
    UUID("6f1d7bd4-4a4b-4b0e-8c55-5f4a1e5a2c11"), "Home router", "Acme", "Router <One>", model_number="7"
)
_PROTOCOLS: Final = {"TCP": IpProtocol.TCP, "UDP": IpProtocol.UDP}


class _BadCall(Exception):  # noqa: N818 - the client's, not the program's
    def __init__(self, code: int) -> None:
        self.code = code


class SearchServer:
    """Answers searches."""

    def __init__(self, router: FakeRouter) -> None:
        self._router = router

    def answer(self, data: bytes, sender: tuple[str, int]) -> list[bytes]:
        """What goes back: one datagram for each thing that was searched for."""
        if not self._router.quirks.upnp:
            return []
        try:
            search = decode_search_untrusted(data)
        except BadPacket:  # an announcement of its own
            return []
        found = answers_to(search.st, _GATEWAY, 1)
        return [encode_found(target, _presence(self._router)) for target in found]


def announce_alive(router: FakeRouter) -> None:
    """Have a router say that it is here."""
    for target in answers_to("ssdp:all", _GATEWAY, 1):
        router.announce(encode_alive(target, _presence(router)), GROUP4, PORT)


def announce_byebye(router: FakeRouter) -> None:
    """Have a router say that it goes."""
    for target in answers_to("ssdp:all", _GATEWAY, 1):
        router.announce(encode_byebye(target, _presence(router)), GROUP4, PORT)


class HttpServer:
    """Serves one request per connection."""

    def __init__(self, router: FakeRouter) -> None:
        self._router = router
        self._serving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what is still being served."""
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._serving.discard(task)
            writer.close()
            with contextlib.suppress(OSError):  # the client has gone
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # the client has gone
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)content-length: *([0-9]+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if self._router.quirks.silent:
                return
            status, answer = self._answer(head, body)
            await self._write(writer, status, answer)

    async def _write(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        quirks = self._router.quirks
        size = "" if quirks.huge else f"Content-Length: {len(body)}\r\n"
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\n{size}Connection: close\r\n\r\n".encode()
        )
        if quirks.slow:
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(quirks.slow)
        writer.write(body)
        while quirks.huge:
            writer.write(b" " * 65536)
            await writer.drain()
        await writer.drain()

    def _answer(self, head: str, body: bytes) -> tuple[int, bytes]:
        if head.startswith("GET "):
            self._router.asked.append("GET")
            return 200, self._root()
        if self._router.quirks.url_base and not head.startswith("POST /igd/"):
            return 404, b""
        action = re.search(r"(?im)^soapaction: *(.*?)\r$", head)
        call = decode_call_untrusted(body, action[1] if action else None)
        self._router.asked.append(call.action)
        try:
            if call.action in self._router.quirks.faults:
                raise _BadCall(self._router.quirks.faults[call.action])
            values = getattr(self, f"_{call.action}")(call)
        except _BadCall as error:
            return 500, self._wrap(_fault(error.code))
        return 200, self._wrap(encode_answer(call.service_type, call.action, values))

    def _wrap(self, body: bytes) -> bytes:
        """SOAP as some write it: other prefixes, none of them declared."""
        if not self._router.quirks.undeclared:
            return body
        text = re.sub(r'xmlns:\w+="[^"]*"', "", body.decode())
        return text.replace("s:", "SOAP-ENV:").replace("u:", "m:").encode()

    def _root(self) -> bytes:
        document = root_description(_GATEWAY, 1)
        if self._router.quirks.url_base:
            base = f"http://{self._router.address}:{self._router.http_port}/igd/"
            document = document.replace(b"<device>", f"<URLBase>{base}</URLBase><device>".encode(), 1)
            control = path_of(1, WANIP1, Part.CONTROL).encode()
            document = document.replace(control, control.removeprefix(b"/"))
        return document

    # -- actions ---------------------------------------------------------------------------------

    def _GetExternalIPAddress(self, call: Call) -> dict[str, str]:  # noqa: N802 - its name on the wire
        return {"NewExternalIPAddress": str(self._router.outside)}

    def _GetStatusInfo(self, call: Call) -> dict[str, str]:  # noqa: N802
        return {
            "NewConnectionStatus": "Connected",
            "NewLastConnectionError": "ERROR_NONE",
            "NewUptime": str(self._router.epoch),
        }

    def _AddPortMapping(self, call: Call) -> dict[str, str]:  # noqa: N802
        router, quirks = self._router, self._router.quirks
        protocol, outside = _key(call)
        client, lease = call.arguments["NewInternalClient"], int(call.arguments["NewLeaseDuration"])
        if lease and quirks.lease_fault:
            raise _BadCall(quirks.lease_fault)
        entry = router.entry(protocol, outside)
        if entry is not None and entry.client != client:
            raise _BadCall(quirks.conflict)
        until = router.now() + lease if lease and not quirks.forgets_leases else None
        if not quirks.keeps_nothing:
            port = int(call.arguments["NewInternalPort"])
            router.put(
                protocol, outside, Ledge(client, port, until, call.arguments["NewPortMappingDescription"])
            )
        return {}

    def _DeletePortMapping(self, call: Call) -> dict[str, str]:  # noqa: N802
        if self._router.table.pop(_key(call), None) is None:
            raise _BadCall(714)
        return {}

    def _GetSpecificPortMappingEntry(self, call: Call) -> dict[str, str]:  # noqa: N802
        if not self._router.quirks.tells_entries:
            raise _BadCall(602)
        entry = self._router.entry(*_key(call))
        if entry is None:
            raise _BadCall(714)
        left = 0 if entry.until is None else int(entry.until - self._router.now())
        return {
            "NewInternalPort": str(entry.port),
            "NewInternalClient": entry.client,
            "NewEnabled": "1",
            "NewPortMappingDescription": entry.description,
            "NewLeaseDuration": str(left),
        }


def _key(call: Call) -> tuple[IpProtocol, int]:
    protocol = _PROTOCOLS[call.arguments["NewProtocol"]]
    return protocol, int(call.arguments["NewExternalPort"])


def _fault(code: int) -> bytes:
    known = Fault.of(code, WANIP1.service_type)
    if known is not None:
        return encode_fault(known)
    text = encode_fault(Fault.ACTION_FAILED).decode()
    return text.replace("501", str(code)).replace("Action Failed", "Vendor error").encode()


def _presence(router: FakeRouter) -> Presence:
    host = router.quirks.location or router.address
    return Presence(
        f"http://{host}:{router.http_port}{root_path(1)}",
        "Linux/5.4 UPnP/1.1 Acme/1.0",
        router.boot_id,
        config_id(_GATEWAY, 1),
    )
