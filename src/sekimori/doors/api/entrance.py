"""What every call passes first: who it is, how much it may send; and last: nothing unforeseen."""

from __future__ import annotations

from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sekimori.doors.api.access import Access, Peer, Role
from sekimori.doors.api.problems import TooLarge, language_of, problem_response, too_large_response
from sekimori.model.causes import cause
from sekimori.model.errors import Problem

__all__ = ["LARGEST_BODY", "Entrance"]

LARGEST_BODY: Final = 8 << 20
"""Bytes that an administrator may send: the export of 10,000 mappings is 2 MB."""

_SMALL_BODY: Final = 64 << 10
"""Bytes for everybody else, who has nothing to send but words."""

_DRAINED: Final = 2 * LARGEST_BODY
"""Bytes of a refused body that are read and thrown away, so that the asker hears the refusal:
a socket closed with bytes unread resets, and takes the answer with it."""

_log = structlog.get_logger(__name__)


class Entrance:
    """The outermost layer. It admits a peer before a byte of its body is read, and bounds that body.

    The visitor is left in `scope["state"]["visitor"]`. An exception nobody foresaw is logged
    with its traceback; the asker learns that it happened, not where.
    """

    def __init__(self, app: ASGIApp, access: Access, largest: int = LARGEST_BODY) -> None:
        self._app = app
        self._access = access
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        answer = _Answer(send)
        try:
            refusal = await self._refuse(scope, headers)
            if refusal is not None:
                await _drain(receive)
                await refusal(scope, receive, answer.send)
            else:
                await self._app(scope, _bounded(receive, self._bound(scope)), answer.send)
        except Exception as error:
            _log.exception("api.unexpected", method=scope["method"], path=scope["path"])
            if answer.started:  # half an answer cannot be taken back: the connection ends
                raise
            problem = Problem("unexpected", what=f"an unforeseen {type(error).__name__}")
            await problem_response(problem, language_of(headers))(scope, receive, send)

    async def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        peer: Peer = scope["state"]["peer"]
        visitor = self._access.admit_at_once(peer)
        if visitor is None:  # the name service may be slow (LDAP), and the loop also runs everything else
            visitor = await run_in_threadpool(self._access.admit, peer)
        if visitor.role is Role.NONE:
            problem = Problem("not-permitted", what=cause("do-look"), who=visitor.name)
            return problem_response(problem, language_of(headers))
        scope["state"]["visitor"] = visitor
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._bound(scope):
            return too_large_response(TooLarge(self._bound(scope)), language_of(headers))
        return None

    def _bound(self, scope: Scope) -> int:
        return self._largest if scope["state"]["visitor"].role is Role.ADMIN else _SMALL_BODY


class _Answer:
    """Remembers whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)


def _bounded(receive: Receive, largest: int) -> Receive:
    """A `receive` that raises `TooLarge` for what was not declared."""
    taken = 0

    async def take() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > largest:
            if message.get("more_body"):
                await _drain(receive)
            raise TooLarge(largest)
        return message

    return take


async def _drain(receive: Receive) -> None:
    left = _DRAINED
    while left > 0:
        message = await receive()
        if not message.get("more_body"):  # it is all there, or its sender is gone
            return
        left -= len(message["body"])
