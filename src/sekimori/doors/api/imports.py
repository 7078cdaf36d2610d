"""Routes that take over what other programs were configured to do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints
from starlette.responses import Response

from sekimori.config.miniupnpd import read_miniupnpd
from sekimori.doors.api.answers import Applied
from sekimori.doors.api.call import AdminCall
from sekimori.doors.api.render import render_notice
from sekimori.doors.api.shapes import Text, Written
from sekimori.model.door import Door, DoorName, EnableDoor
from sekimori.model.permission import SetPermissions
from sekimori.model.request import Ask

__all__ = ["router"]

router = APIRouter(prefix="/v1/import", tags=["config file"])


class ImportBody(Written):
    """The file of another program."""

    file: Text = Field(
        "miniupnpd.conf", description="What it is called in refusals; nothing is read from there."
    )
    text: Annotated[str, StringConstraints(max_length=1 << 20)] = Field(
        description="Its content.", examples=["listening_ip=lan0\nallow 1024-65535 192.168.1.0/24 1024-65535"]
    )


@router.post("/miniupnpd", response_model=Applied, summary="Take over a miniupnpd.conf")
async def import_miniupnpd(body: ImportBody, call: AdminCall) -> Response:
    """Open the doors that it opens, and put its rules in the place of those that stand; in one revision."""
    found = read_miniupnpd(body.text, body.file, call.views.machine.network().lans)
    owner = call.visitor.owner
    asks: list[Ask] = [
        EnableDoor(
            Door(
                door=name,
                owner=owner,
                interfaces=found.interfaces,
                version=found.version if name is DoorName.IGD else 1,
            )
        )
        for name in found.doors
    ]
    outcome = await call.ask([*asks, SetPermissions(found.rules)], body.plan, body.why)
    skipped = [render_notice(each, call.language) for each in found.notices]
    return await call.answer(outcome, skipped=skipped)
