"""Routes of the config file: apply and export."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from sekimori.doors.api.answers import Applied
from sekimori.doors.api.call import AdminCall, ViewerCall
from sekimori.doors.api.render import render_notice
from sekimori.doors.api.shapes import ApplyBody
from sekimori.model.causes import cause
from sekimori.model.errors import Problem

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["config file"])


@router.post("/apply", response_model=Applied, summary="Synchronise a config file")
async def apply_file(body: ApplyBody, call: AdminCall) -> Response:
    """Bring what a config file owns to what it says; everything else is left alone."""
    if body.file is not None and (not body.file.startswith("/") or "\0" in body.file):
        raise Problem("bad-request", why=cause("path-not-absolute", path=body.file))
    outcome, skipped = await call.views.sync(body.file, body.text, call.context(body.why), body.plan)
    return await call.answer(outcome, skipped=[render_notice(each, call.language) for each in skipped])


@router.get(
    "/export",
    response_class=PlainTextResponse,
    summary="The whole state as a config file",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def export_state(call: ViewerCall) -> Response:
    """TOML that gives the same state when it is applied to an empty ledger."""
    return PlainTextResponse(call.views.export())
