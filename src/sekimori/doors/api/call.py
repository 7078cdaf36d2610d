"""One call: who makes it, in which language, and the ways to answer it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import Depends, Request
from starlette.responses import Response

from sekimori.doors.api.access import Role, Visitor
from sekimori.doors.api.caller import read_caller_untrusted
from sekimori.doors.api.desk import Desk
from sekimori.doors.api.ports import Views
from sekimori.doors.api.problems import language_of
from sekimori.doors.api.render import Json, render_change, render_notice
from sekimori.doors.api.waiting import render_confirm, render_pending
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.request import Ask, Caller, Context

if TYPE_CHECKING:
    from sekimori.gate import Outcome

__all__ = ["AdminCall", "Call", "ViewerCall", "encoded_response", "json_response"]

_DOOR: Final = "api"
_JSON: Final = "application/json"
_NO_STORE: Final = {"cache-control": "no-store"}


def json_response(body: Json) -> Response:
    """An answer of plain JSON values."""
    try:
        content = orjson.dumps(body)  # in a fifth of the time
    except orjson.JSONEncodeError:  # it takes no lone surrogates, which words of a command line may hold
        return encoded_response(json.dumps(body, ensure_ascii=False))
    return Response(content, 200, _NO_STORE, _JSON)


def encoded_response(text: str) -> Response:
    """An answer that is JSON text already."""
    return Response(text.encode("utf-8", "replace"), 200, _NO_STORE, _JSON)


@dataclass(frozen=True, slots=True)
class Call:
    """A call by a visitor who may make it."""

    desk: Desk
    visitor: Visitor
    language: str
    caller: Caller | None = None
    """The connection that the visitor came to this machine by, as their end of the socket says."""

    @property
    def views(self) -> Views:
        """The daemon's read side."""
        return self.desk.views

    def context(self, why: str) -> Context:
        """What the journal keeps of this call."""
        return Context(self.visitor.owner, _DOOR, why.strip(), self.caller)

    async def enact(self, asks: Sequence[Ask], plan: bool, why: str) -> Response:
        """Put asks to the gate, or only have them explained, and answer the outcome.

        Raises:
            Problem: what the gate refused.
        """
        return await self.answer(await self.ask(asks, plan, why))

    async def ask(self, asks: Sequence[Ask], plan: bool, why: str) -> Outcome:
        """Put asks to the gate, or only have them explained.

        Raises:
            Problem: what the gate refused.
        """
        act = self.desk.gate.explain if plan else self.desk.gate.enact
        return await act(asks, self.context(why))

    async def answer(self, outcome: Outcome, **more: Any) -> Response:
        """An outcome as an answer."""
        standing = [(change.before, change.after) for change in outcome.changes]
        after = [each for _, each in standing if isinstance(each, Mapping)]
        new = [each.id for before, each in standing if before is None and isinstance(each, Mapping)]
        body: Json = {
            "planned": outcome.planned,
            "revision": None if outcome.committed is None else outcome.committed.revision,
            "changes": [render_change(change) for change in outcome.changes],
            "mappings": await self.desk.show(after, self.language, new),
            "notices": [render_notice(notice, self.language) for notice in outcome.notices],
            "confirm": self._render_confirm(outcome),
        }
        return json_response(body | more)

    def _render_confirm(self, outcome: Outcome) -> Json | None:
        if outcome.pending is not None:
            return render_pending(outcome.pending)
        if outcome.confirm_within is None or self.caller is None:
            return None
        return render_confirm(self.caller, outcome.confirm_within)

    async def show(self, mappings: Iterable[Mapping]) -> list[Json]:
        """The views of mappings."""
        return await self.desk.show(mappings, self.language)

    async def show_all(self) -> str:
        """The views of every mapping, as the JSON text of `MappingsBody`."""
        return f'{{"mappings": {await self.desk.encode_all(self.language)}}}'


def _calling(role: Role) -> Callable[[Request], Coroutine[Any, Any, Call]]:
    async def call(request: Request) -> Call:
        visitor: Visitor = request.state.visitor  # from `Entrance`
        if visitor.role < role:
            raise Problem("not-permitted", what=cause("do-change"), who=visitor.name)
        _refuse_query(request)
        # Whoever is at the other end of the unix socket could do the same without the header, so it is
        # believed: it can only make the gate more careful.
        said = request.headers.get("sekimori-caller")
        caller = None if said is None else read_caller_untrusted(said)
        return Call(request.app.state.desk, visitor, language_of(request.headers), caller)

    return call


def _refuse_query(request: Request) -> None:
    """Refuse a query where none is read: `?plan=true` there would be a dry run that is none."""
    if request.query_params and not request.scope["route"].dependant.query_params:
        raise Problem("bad-request", why=cause("unknown-query", name=next(iter(request.query_params))))


ViewerCall = Annotated[Call, Depends(_calling(Role.VIEWER))]
AdminCall = Annotated[Call, Depends(_calling(Role.ADMIN))]
