"""Routes of what stands only until it is confirmed."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.answers import ConfirmView, Instant
from sekimori.doors.api.call import AdminCall, ViewerCall, json_response
from sekimori.doors.api.shapes import Asked
from sekimori.doors.api.waiting import render_pending, render_settled

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["confirming"])


class ConfirmBody(Asked):
    """Nothing has to be said."""


class PendingView(ConfirmView):
    """A revision that waits to be confirmed."""

    actor: str = Field(examples=["person:alice"])


class SettledView(BaseModel):
    """How the wait of a revision ended."""

    revision: int
    at: Instant
    actor: str = Field(examples=["person:alice"])
    how: Literal["confirmed", "reverted"]
    within: int = Field(description="Seconds it had.")
    taken_back_by: int | None = Field(description="The revision that took it back.")
    left: list[str] = Field(description="Names of what was changed again since, and left as it is.")


class PendingBody(BaseModel):
    """What waits, and how the latest waits ended, the oldest first."""

    pending: list[PendingView]
    settled: list[SettledView]


class ConfirmedBody(BaseModel):
    """What was confirmed."""

    confirmed: list[int] = Field(description="Numbers of revisions.")


@router.get("/pending", response_model=PendingBody, summary="What waits to be confirmed")
async def list_pending(call: ViewerCall) -> Response:
    """Changes that could cut off who made them stand only until they are confirmed."""
    waiting = call.desk.gate.waiting
    pending = [{**render_pending(each), "actor": str(each.actor)} for each in waiting.pending]
    return json_response({"pending": pending, "settled": [render_settled(each) for each in waiting.settled]})


@router.post("/confirm", response_model=ConfirmedBody, summary="Confirm your changes")
async def confirm_changes(body: ConfirmBody, call: AdminCall) -> Response:
    """Let stand whatever waits for you, by another connection than the ones it was asked by."""
    confirmed = await call.desk.gate.confirm(call.context(""))
    return json_response({"confirmed": [each.revision for each in confirmed]})
