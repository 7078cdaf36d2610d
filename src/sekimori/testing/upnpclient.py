"""A UPnP control point for tests: searches, calls and subscriptions, as a device on the LAN makes them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import h11

from sekimori.testing.peers import DEADLINE
from sekimori.wire.igdcall import call_body, read_answer_untrusted
from sekimori.wire.igddescription import Part, path_of
from sekimori.wire.igdservices import IgdVersion, Service, Value
from sekimori.wire.soap import CONTENT_TYPE, RouterFault, decode_answer_untrusted, soap_action
from sekimori.wire.ssdp import Found, encode_search
from sekimori.wire.ssdp import decode_answer_untrusted as decode_found_untrusted

__all__ = ["Answer", "FaultError", "Listener", "UpnpClient", "http_request", "search"]

_RECEIVE: Final = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of HTTP; names of fields in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class FaultError(Exception):
    """The gateway's refusal.

    Attributes:
        code: the error code of UPnP.
    """

    def __init__(self, fault: RouterFault) -> None:
        super().__init__(f"{fault.code} {fault.description}")
        self.code = fault.code


def http_request(
    method: str, path: str, host: str, fields: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A request as bytes. A field of an empty value is left out."""
    every = {"Host": host, "Content-Length": str(len(body)), **(fields or {})}
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items() if value)]
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode("latin-1") + body


class UpnpClient:
    """One device.

    Args:
        gateway: the address of the gateway.
        port: of its web server.
        source: the device's address.
        version: of the gateway that it talks to.
    """

    def __init__(self, gateway: str, port: int, source: str | None = None, version: IgdVersion = 1) -> None:
        self.gateway = gateway
        self.port = port
        self.source = source
        self.version = version
        self.host = f"[{gateway}]:{port}" if ":" in gateway else f"{gateway}:{port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the web server."""
        local = None if self.source is None else (self.source, 0)
        async with asyncio.timeout(DEADLINE):
            return await asyncio.open_connection(self.gateway, self.port, local_addr=local)

    async def send(self, data: bytes) -> Answer | None:
        """Send bytes on a connection of their own; what comes back, None where nothing does."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await read_answer(reader)
        except ConnectionError:
            return None
        finally:
            writer.close()

    async def request(
        self, method: str, path: str, fields: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Make a request.

        Raises:
            ConnectionError: it was not answered.
        """
        answer = await self.send(http_request(method, path, self.host, fields, body))
        if answer is None:
            raise ConnectionError("no answer")
        return answer

    def call_bytes(self, service: Service, action: str, **values: Value) -> bytes:
        """The request that calls an action."""
        body = call_body(service.service_type, service.actions[action], values)
        fields = {
            "SOAPAction": soap_action(service.service_type, action),
            "Content-Type": CONTENT_TYPE,
        }
        return http_request("POST", path_of(self.version, service, Part.CONTROL), self.host, fields, body)

    async def call(self, service: Service, action: str, **values: Value) -> dict[str, Value]:
        """Call an action.

        Raises:
            FaultError: the gateway refuses.
        """
        answer = await self.send(self.call_bytes(service, action, **values))
        assert answer is not None, "no answer"
        said = decode_answer_untrusted(answer.body, action)
        if isinstance(said, RouterFault):
            assert answer.status == 500
            raise FaultError(said)
        assert answer.status == 200
        return read_answer_untrusted(service.actions[action], said)


class Listener:
    """What a subscriber listens with: events as they come. An asynchronous context manager.

    Args:
        address: where.
        fields: further lines of the header of every answer.

    Attributes:
        events: the fields and body of every NOTIFY.
        status: what they are answered with.
    """

    def __init__(self, address: str, fields: str = "") -> None:
        self.events: asyncio.Queue[Answer] = asyncio.Queue()
        self.status = "200 OK"
        self._extra = fields
        self._address = address
        self._server: asyncio.Server | None = None

    @property
    def callback(self) -> str:
        """Its URL."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{port}/events?of=us"

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.start_server(self._take, self._address, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def next(self) -> Answer:
        """The next event."""
        async with asyncio.timeout(DEADLINE):
            return await self.events.get()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        fields: dict[str, str] = {}
        body = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_RECEIVE))
            elif isinstance(event, h11.Request):
                fields = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
        writer.write(f"HTTP/1.1 {self.status}\r\n{self._extra}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self.events.put_nowait(Answer(0, fields, body))


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer | None:
    """Read one response; None where the connection ends without one."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "unknown")]))
    http.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    async with asyncio.timeout(DEADLINE):
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(_RECEIVE)
                if not data and head is None:
                    return None
                http.receive_data(data)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
    assert head is not None
    fields = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return Answer(head.status_code, fields, body)


def search(
    st: str,
    to: tuple[str, int],
    source: str | None = None,
    fields: str = "",
    within: float = 1.0,
    mx: int = 2,
    device: str | None = None,
) -> list[Found]:
    """Search for a target by UDP, and listen for answers for so long; blocks.

    Args:
        st: what to search for.
        to: the gateway, or the group.
        source: the device's address.
        fields: further lines of the header.
        within: seconds.
        mx: as it is said; it is not waited for.
        device: by which interface to ask a group; None leaves it to the routes.
    """
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    message = encode_search(st, mx).removesuffix(b"\r\n") + fields.encode() + b"\r\n"
    found = []
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(within)
        if source is not None:
            sock.bind((source, 0))
        if device is not None:
            _send_by(sock, device)
        sock.sendto(message, to)
        while True:
            try:
                found.append(decode_found_untrusted(sock.recv(_RECEIVE)))
            except TimeoutError:
                return found


def _send_by(sock: socket.socket, device: str) -> None:
    """Send what goes to a group by an interface."""
    index = socket.if_nametoindex(device)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        return
    request = struct.pack("=4s4si", bytes(4), bytes(4), index)  # struct ip_mreqn
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
