"""Routes of the journal: history and undo."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sekimori.doors.api.answers import HistoryBody, OutcomeBody
from sekimori.doors.api.call import AdminCall, ViewerCall, json_response
from sekimori.doors.api.render import render_revision
from sekimori.doors.api.shapes import HistoryQuery, UndoBody
from sekimori.model.lifetime import Lifetime, parse_duration

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["journal"])


@router.get("/history", response_model=HistoryBody, summary="Revisions")
async def list_history(query: Annotated[HistoryQuery, Query()], call: ViewerCall) -> Response:
    """Every change that was made: when, who, through which door, why, before, after."""
    # It reads the disk.
    revisions = await run_in_threadpool(
        call.views.history, limit=query.limit, before=query.before, subject=query.subject
    )
    return json_response({"revisions": [render_revision(revision) for revision in revisions]})


@router.post("/undo", response_model=OutcomeBody, summary="Undo a revision")
async def undo_revision(body: UndoBody, call: AdminCall) -> Response:
    """Bring back what a revision changed, as a revision of its own."""
    lifetime = None
    if body.for_ is not None:
        lifetime = Lifetime.lasting(parse_duration(body.for_), call.views.reading().now)
    outcome = await call.desk.gate.undo(
        body.revision, call.context(body.why), lifetime=lifetime, plan=body.plan
    )
    return await call.answer(outcome)
