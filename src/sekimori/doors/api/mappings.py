"""Routes of mappings: open, look, change, extend, close, and who uses them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from sekimori.doors.api.answers import MappingsBody, MappingView, OutcomeBody, WhoBody
from sekimori.doors.api.call import AdminCall, ViewerCall, encoded_response, json_response
from sekimori.doors.api.render import render_flow, render_source
from sekimori.doors.api.shapes import ChangeBody, CloseQuery, ExtendBody, OpenBody
from sekimori.model.errors import Problem
from sekimori.model.lifetime import parse_duration
from sekimori.model.request import UNSAID, Change, Close, Renew, Submit
from sekimori.model.words import parse_wish, read_lifetime

__all__ = ["router"]

router = APIRouter(prefix="/v1/mappings", tags=["mappings"])

Ref = Annotated[
    str,
    Path(
        description="A name, an id, or the outside port it alone holds, percent-encoded (`udp%2F53`).",
        examples=["web", "8080"],
    ),
]


@router.get("", response_model=MappingsBody, summary="Every mapping")
async def list_mappings(call: ViewerCall) -> Response:
    """Every mapping with its state and counters."""
    return encoded_response(await call.show_all())


@router.post("", response_model=OutcomeBody, summary="Open a mapping")
async def open_mapping(body: OpenBody, call: AdminCall) -> Response:
    """Open an outside port that leads to an inside target."""
    wish = parse_wish(body.words(), call.views.reading())
    return await call.enact([Submit(wish)], body.plan, body.why)


# The longer paths come first: a ref may hold a slash (`udp/53`).
@router.get("/{ref:path}/who", response_model=WhoBody, summary="Who uses a mapping")
async def who_uses(ref: Ref, call: ViewerCall) -> Response:
    """The sources a mapping has seen, and its live flows."""
    mapping = call.views.snapshot().find(ref)
    sources = await call.views.sources(mapping.id)
    flows = await call.views.flows(mapping.id)
    return json_response(
        {
            "mapping": (await call.show([mapping]))[0],
            "sources": [render_source(source) for source in sources],
            "flows": [render_flow(flow) for flow in flows],
        }
    )


@router.post("/{ref:path}/extend", response_model=OutcomeBody, summary="Give a mapping more time")
async def extend_mapping(ref: Ref, body: ExtendBody, call: AdminCall) -> Response:
    """Move a mapping's end."""
    lifetime = read_lifetime(body.words(), call.views.reading())
    if body.add is not None and lifetime is not UNSAID:
        raise Problem("exclusive", first="--add", second=f"--{next(iter(body.words()))}")
    renew = Renew(
        ref,
        add=None if body.add is None else parse_duration(body.add),
        lifetime=None if lifetime is UNSAID else lifetime,
    )
    return await call.enact([renew], body.plan, body.why)


@router.get("/{ref:path}", response_model=MappingView, summary="One mapping")
async def get_mapping(ref: Ref, call: ViewerCall) -> Response:
    """One mapping with its state and counters."""
    return json_response((await call.show([call.views.snapshot().find(ref)]))[0])


@router.patch("/{ref:path}", response_model=OutcomeBody, summary="Change, pause or resume a mapping")
async def change_mapping(ref: Ref, body: ChangeBody, call: AdminCall) -> Response:
    """Change the words that are given; the others stay."""
    wish = parse_wish(body.words(), call.views.reading())
    return await call.enact([Change(ref, wish, body.paused)], body.plan, body.why)


@router.delete("/{ref:path}", response_model=OutcomeBody, summary="Close a mapping")
async def close_mapping(ref: Ref, query: Annotated[CloseQuery, Query()], call: AdminCall) -> Response:
    """End a mapping."""
    return await call.enact([Close(ref, query.now)], query.plan, query.why)
