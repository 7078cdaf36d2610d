"""Routes of who is kept out, and of ending live flows."""

from __future__ import annotations

import math
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody
from sekimori.doors.api.call import AdminCall, ViewerCall, json_response
from sekimori.doors.api.gateway import PlanQuery
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Asked, Text, Written
from sekimori.model.address import IPNetwork
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban
from sekimori.model.lifetime import format_instant
from sekimori.model.mapping import OwnerKind
from sekimori.model.request import UNSAID, LiftBan, PutBan
from sekimori.model.source import parse_prefix
from sekimori.model.words import read_lifetime

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["bans"])

Prefix = Annotated[
    str, Path(description="An address or a prefix, percent-encoded or not.", examples=["198.51.100.0/24"])
]
_log = structlog.get_logger(__name__)


class BanBody(Written):
    """Who is to be kept out of everything; without an end, until the ban is lifted."""

    address: Text = Field(description="An address or a prefix.", examples=["198.51.100.7", "2001:db8::/32"])
    for_: Text | None = Field(None, alias="for", description="A duration.", examples=["1d"])
    until: Text | None = Field(None, examples=["2026-12-01 18:00"])

    def words(self) -> dict[str, object]:
        """The words of its end that were said."""
        return self.model_dump(by_alias=True, exclude_none=True, include={"for_", "until"})


class BanView(BaseModel):
    """A prefix nobody of which may come in, by any mapping."""

    prefix: str
    name: str
    owner: str = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns it.")
    reason: str
    expires_at: Instant | None
    expires_in: int | None = Field(description="Seconds.")
    created_at: Instant


class BansBody(BaseModel):
    """Every ban, in the order of addresses."""

    bans: list[BanView]


class KillBody(Asked):
    """Whose flows to end: those of a mapping, those from somewhere, or those that are both."""

    mapping: Text | None = Field(None, description="A name, an id or an outside port.", examples=["web"])
    source: Text | None = Field(None, description="An address or a prefix.", examples=["198.51.100.7"])


class KilledBody(BaseModel):
    """How many flows were ended."""

    ended: int


@router.get("/bans", response_model=BansBody, summary="Who is kept out")
async def list_bans(call: ViewerCall) -> Response:
    """Every ban."""
    now = call.views.reading().now
    bans = sorted(call.views.snapshot().bans.values(), key=lambda ban: _order(ban.prefix))
    return json_response({"bans": [_render_ban(ban, now) for ban in bans]})


@router.post("/bans", response_model=OutcomeBody, summary="Keep somebody out")
async def put_ban(body: BanBody, call: AdminCall) -> Response:
    """Admit nobody from there any more, by any mapping; live flows from there end now."""
    lifetime = read_lifetime(body.words(), call.views.reading())
    ends = None if lifetime is UNSAID else lifetime.expires_at
    ask = PutBan(_read_prefix("address", body.address), ends, body.why.strip())
    return await call.enact([ask], body.plan, body.why)


@router.delete("/bans/{prefix:path}", response_model=OutcomeBody, summary="Lift a ban")
async def lift_ban(prefix: Prefix, query: Annotated[PlanQuery, Query()], call: AdminCall) -> Response:
    """Let them come in again."""
    return await call.enact([LiftBan(_read_prefix("address", prefix))], query.plan, query.why)


@router.post("/kill", response_model=KilledBody, summary="End live flows")
async def kill_flows(body: KillBody, call: AdminCall) -> Response:
    """End flows at once. Who may come in stays as it is: who was cut off may come again."""
    if body.mapping is None and body.source is None:
        raise Problem("bad-request", why=cause("mapping-or-source"))
    mapping = None if body.mapping is None else call.views.snapshot().find(body.mapping)
    source = None if body.source is None else _read_prefix("source", body.source)
    ended = await call.views.kill(None if mapping is None else mapping.id, source)
    # It changes nothing that the ledger keeps, so the log is where it is remembered.
    _log.info(
        "flows_ended",
        by=str(call.visitor.owner),
        mapping=mapping and mapping.name,
        source=source and str(source),
        ended=ended,
    )
    return json_response({"ended": ended})


def _read_prefix(key: str, text: str) -> IPNetwork:
    try:
        return parse_prefix(text.strip())
    except Unreadable as error:
        why = error.why if "/" in text else cause("not-a-prefix")
        raise Problem("bad-value", key=key, text=text, why=why) from None


def _order(prefix: IPNetwork) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def _render_ban(ban: Ban, now: float) -> Json:
    return {
        "prefix": str(ban.prefix),
        "name": ban.name,
        "owner": str(ban.owner),
        "managed_by": ban.owner.id if ban.owner.kind is OwnerKind.FILE else None,
        "reason": ban.reason,
        "expires_at": None if ban.expires_at is None else format_instant(ban.expires_at),
        "expires_in": None if ban.expires_at is None else max(0, math.ceil(ban.expires_at - now)),
        "created_at": format_instant(ban.created_at),
    }
