"""One HTTP connection: requests and responses, with a limit to everything that the other end decides."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h11

__all__ = ["LONGEST_BODY", "LONGEST_HEAD", "Request", "Response", "converse"]

LONGEST_HEAD: Final = 8 * 1024
LONGEST_BODY: Final = 64 * 1024
WITHIN: Final = 10.0
"""Seconds for a whole request, and for a whole response: who sends or takes a byte now and then is not waited
for either."""
_RECEIVE: Final = 4096
_LINGER: Final = 0.5
_MOST_LINGERED: Final = 256 * 1024

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body. `fields` are as h11 gives them, names in lower case."""

    method: str
    target: str
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def said(self, name: str) -> str | None:
        """The first field of a name in lower case."""
        key = name.encode()
        found = next((value for each, value in self.fields if each == key), None)
        return None if found is None else found.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered. `then` is called when it was sent."""

    status: int
    fields: Fields = ()
    body: bytes = b""
    then: Callable[[], None] | None = None


class _RefusedError(Exception):
    """A request that nobody looks at, and the status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def converse(
    sock: socket.socket,
    answer: Callable[[Request], Awaitable[Response]],
    always: Fields = (),
    within: float = WITHIN,
) -> None:
    """Serve requests until the other end is done, too slow, or talks no HTTP.

    Args:
        sock: connected, does not block; the caller closes it.
        answer: what answers a request.
        always: fields of every response.
        within: seconds for a request, and for a response.
    """
    talk = _Talk(sock, always, within)
    try:
        while True:
            request = await talk.receive()
            if request is None:
                return
            response = await answer(request)
            await talk.send(response)
            if response.then is not None:
                response.then()
            if not talk.goes_on():
                return
    except _RefusedError as refused:
        await talk.refuse(refused.status)
    except (TimeoutError, OSError):  # slow, or gone: nobody is there to tell
        return


class _Talk:
    def __init__(self, sock: socket.socket, always: Fields, within: float) -> None:
        self._sock = sock
        self._always = always
        self._within = within
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> Request | None:
        """The next request; None where the other end is done.

        Raises:
            _RefusedError, TimeoutError, OSError: there is none.
        """
        async with asyncio.timeout(self._within):
            head = await self._event()
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while True:
                if self._http.they_are_waiting_for_100_continue:
                    await self._put(h11.InformationalResponse(status_code=100, headers=[]))
                event = await self._event()
                if isinstance(event, h11.EndOfMessage):
                    break
                if not isinstance(event, h11.Data):
                    return None
                body += event.data
                if len(body) > LONGEST_BODY:
                    raise _RefusedError(413)
        method, target = head.method.decode("ascii"), head.target.decode("ascii")
        return Request(method, target, tuple(head.headers), bytes(body))

    async def send(self, response: Response) -> None:
        """Send a response.

        Raises:
            TimeoutError, OSError: it was not taken.
        """
        fields = [*self._always, *response.fields, ("Content-Length", str(len(response.body)))]
        head = h11.Response(status_code=response.status, headers=fields)
        async with asyncio.timeout(self._within):
            whole = [head, h11.Data(data=response.body), h11.EndOfMessage()]
            await self._loop.sock_sendall(
                self._sock, b"".join(self._http.send(each) or b"" for each in whole)
            )

    def goes_on(self) -> bool:
        """Whether another request may come."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def refuse(self, status: int) -> None:
        """Answer what was not read to its end, and let the answer get there before the connection ends."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        try:
            await self.send(Response(status, (("Connection", "close"),)))
            self._sock.shutdown(socket.SHUT_WR)
            # A socket that is closed with something unread resets, and the answer would be lost.
            async with asyncio.timeout(_LINGER):
                for _ in range(_MOST_LINGERED // _RECEIVE):
                    if not await self._loop.sock_recv(self._sock, _RECEIVE):
                        return
        except (TimeoutError, OSError, h11.LocalProtocolError):
            return

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _RefusedError(error.error_status_hint) from None
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._loop.sock_recv(self._sock, _RECEIVE))

    async def _put(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._loop.sock_sendall(self._sock, data)
