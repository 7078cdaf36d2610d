"""Routes of what happens as it happens: the status and the event stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sekimori.doors.api.call import Call, ViewerCall, json_response
from sekimori.doors.api.devicedoors import DoorShort, render_doors_short
from sekimori.doors.api.line import LineSummary, render_summary
from sekimori.doors.api.links import LinkShort, render_links_short
from sekimori.doors.api.ports import Lagged
from sekimori.doors.api.render import Json, render_event
from sekimori.doors.api.shapes import Asked
from sekimori.model.errors import Problem
from sekimori.model.events import Event
from sekimori.model.lifetime import format_instant

__all__ = ["EventStream", "EventsQuery", "Pace", "StatusBody", "router"]

router = APIRouter(prefix="/v1", tags=["daemon"])


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds of an event stream.

    Attributes:
        counters: between two readings of the counters.
        keep_alive: between two comments that show the connection lives.
        stall: that a reader may leave a message unread before it is cut off.
    """

    counters: float = 1.0
    keep_alive: float = 15.0
    stall: float = 10.0


class EventsQuery(Asked):
    """Which events."""

    counters: bool = Field(False, description="Also all mappings with their counters, once a second.")


class YouView(BaseModel):
    """Who asks."""

    name: str
    role: Literal["viewer", "admin"]


class StatusBody(BaseModel):
    """The daemon."""

    model_config = ConfigDict(extra="allow")

    version: str
    line: LineSummary
    links: list[LinkShort]
    doors: list[DoorShort] = Field(description="Those that are open.")
    you: YouView


@router.get("/status", response_model=StatusBody, summary="The daemon")
async def get_status(call: ViewerCall) -> Response:
    """What the daemon is, where its things are, and who you are to it."""
    return json_response(_about(call))


@router.get(
    "/events",
    summary="Events as they happen",
    response_class=Response,
    responses={
        200: {
            "description": "`hello`, then `committed` and `status`; `pending`, then `confirmed` or "
            "`reverted` of what has to be confirmed; with `counters=true` also `counters` once a second; "
            "`lagged` before a reader that fell behind is cut off.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream_events(
    query: Annotated[EventsQuery, Query()], request: Request, call: ViewerCall
) -> Response:
    """Server-sent events, without an end."""
    return EventStream(call, query.counters, request.app.state.pace, request.app.state.closing)


class EventStream(Response):
    """An answer that goes on until the reader leaves, falls behind, or the daemon ends."""

    media_type = "text/event-stream"

    def __init__(self, call: Call, counters: bool, pace: Pace, closing: asyncio.Event) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._call = call
        self._counters = counters
        self._pace = pace
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events for as long as they are read."""
        wire = _Wire(send, self._pace.stall)
        # Subscribed before the first byte goes out: nothing is lost between hello and the first event.
        async with self._call.views.subscribe() as events:
            try:
                await wire.begin(self.status_code, self.raw_headers)
                await wire.event("hello", _about(self._call))
                await self._until_over(wire, events, receive)
                await wire.end()
            except TimeoutError:
                # It does not read: what is buffered for it would never drain.
                scope["state"]["hang_up"]()
                await _until_gone(receive)

    async def _until_over(self, wire: _Wire, events: AsyncIterator[Event], receive: Receive) -> None:
        jobs = [self._tell_events(wire, events), self._keep_alive(wire), _until_gone(receive)]
        if self._counters:
            jobs.append(self._tell_counters(wire))
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(_then_over(job))
                await self._closing.wait()
                raise _Over
        except* _Over:
            pass  # the daemon is closing: the end of the stream says so
        except* Lagged:
            await wire.event("lagged", {"what": "events were lost: they were read too slowly"})
        except* TimeoutError:
            raise TimeoutError from None

    async def _tell_events(self, wire: _Wire, events: AsyncIterator[Event]) -> None:
        async for event in events:
            await wire.event(*render_event(event, self._call.language))

    async def _tell_counters(self, wire: _Wire) -> None:
        while True:
            try:
                text = await self._call.show_all()
            except Problem as problem:
                await wire.event("problem", problem.body(self._call.language))
            else:
                await wire.encoded("counters", text)
            await asyncio.sleep(self._pace.counters)

    async def _keep_alive(self, wire: _Wire) -> None:
        while True:
            await asyncio.sleep(self._pace.keep_alive)
            await wire.write(b": keep-alive\n\n")


class _Wire:
    """Frames events (HTML Living Standard §9.2) and gives up on a reader that does not read."""

    def __init__(self, send: Send, stall: float) -> None:
        self._send = send
        self._stall = stall
        self._turn = asyncio.Lock()

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def event(self, name: str, data: Json) -> None:
        await self.encoded(name, json.dumps(data, ensure_ascii=False))

    async def encoded(self, name: str, text: str) -> None:
        await self.write(f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace"))

    async def write(self, frame: bytes, more: bool = True) -> None:
        """Send bytes.

        Raises:
            TimeoutError: the reader left them unread for too long.
        """
        async with self._turn, asyncio.timeout(self._stall):
            await self._send({"type": "http.response.body", "body": frame, "more_body": more})

    async def end(self) -> None:
        await self.write(b"", more=False)


class _Over(Exception):  # noqa: N818 - it is no error: the stream is over
    """Ends the jobs of a stream together."""


async def _then_over(job: Any) -> None:
    await job
    raise _Over


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_INSTANT: Final = "started_at"


def _about(call: Call) -> Json:
    about = call.views.about()
    started = about.get(_INSTANT)
    if isinstance(started, int | float):
        about = {**about, _INSTANT: format_instant(started)}
    line = render_summary(call.views.line(), call.language)
    return {
        **about,
        "line": line,
        "links": render_links_short(call),
        "doors": render_doors_short(call),
        "you": {"name": call.visitor.name, "role": call.visitor.role.name.lower()},
    }
