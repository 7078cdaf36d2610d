"""Routes of the permission rules: which devices may open which ports by themselves."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody
from sekimori.doors.api.call import AdminCall, Call, ViewerCall, json_response
from sekimori.doors.api.gateway import PlanQuery
from sekimori.doors.api.render import Json, render_notice
from sekimori.doors.api.shapes import Text, Written
from sekimori.model.decision import Notice
from sekimori.model.lifetime import format_instant
from sekimori.model.mapping import OwnerKind
from sekimori.model.permission import USUAL, Permission, Permissions, SetPermissions
from sekimori.policy.ruleorder import insert_rule, remove_rule

__all__ = ["PermissionsView", "render_permissions", "router"]

router = APIRouter(prefix="/v1/permissions", tags=["doors for devices"])

_RULE: Final = "allow 192.168.1.0/24 tcp outside 1024-65535 most 20 for 7d"
_MOST_RULES: Final = 1000
_HIGHEST: Final = (1 << 31) - 1

Number = Annotated[int, Path(ge=1, le=_HIGHEST, description="As the list numbers them.", examples=[1])]


class RulesBody(Written):
    """Every rule, in order."""

    rules: Annotated[list[Text], Field(max_length=_MOST_RULES)] | None = Field(
        description="An empty list denies everything; null returns to the usual rule.",
        examples=[[_RULE, "deny all"]],
    )


class RuleBody(Written):
    """One more rule."""

    rule: Text = Field(examples=[_RULE, "deny on:guest0"])
    at: Annotated[int, Field(strict=True, ge=1, le=_HIGHEST)] | None = Field(
        None,
        description="Its number then. null is last, but before a rule that would leave it nothing to decide.",
    )


class RuleView(BaseModel):
    """One rule."""

    number: int
    rule: str
    allow: bool


class PermissionsView(BaseModel):
    """The rules in order: the first that a request fits decides, and what none fits is denied."""

    written: bool = Field(description="false: nobody wrote any, and the usual one holds.")
    owner: str | None = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns them.")
    created_at: Instant | None
    rules: list[RuleView]


@router.get("", response_model=PermissionsView, summary="The permission rules")
async def list_permissions(call: ViewerCall) -> Response:
    """Which devices may open which ports, how many, and for how long."""
    return json_response(render_permissions(call.views.snapshot().permissions))


@router.put("", response_model=OutcomeBody, summary="Put other rules in the place of all")
async def set_permissions(body: RulesBody, call: AdminCall) -> Response:
    """Leases that were granted stand until their end."""
    rules = None if body.rules is None else tuple(map(Permission.parse, body.rules))
    async with call.desk.in_turn:
        return await call.enact([SetPermissions(rules)], body.plan, body.why)


@router.post("", response_model=OutcomeBody, summary="Add a permission rule")
async def add_permission(body: RuleBody, call: AdminCall) -> Response:
    """Where none was written yet, the usual one is written too, and stands with it."""
    rule = Permission.parse(body.rule)
    async with call.desk.in_turn:
        rules = insert_rule(_standing(call), rule, body.at)
        notices = () if call.views.snapshot().permissions else (_usual_is_written(rules),)
        return await _answer(call, SetPermissions(rules), body.plan, body.why, notices)


@router.delete("/{number}", response_model=OutcomeBody, summary="Take a permission rule away")
async def forget_permission(
    number: Number, query: Annotated[PlanQuery, Query()], call: AdminCall
) -> Response:
    """Those after it move up. Without any, everything is denied."""
    async with call.desk.in_turn:
        rules = remove_rule(_standing(call), number)
        notices = () if rules else (_none_is_left(),)
        return await _answer(call, SetPermissions(rules), query.plan, query.why, notices)


def render_permissions(permissions: Permissions | None) -> Json:
    """The rules that hold, with their numbers."""
    rules = (USUAL,) if permissions is None else permissions.rules
    owner = None if permissions is None else permissions.owner
    return {
        "written": permissions is not None,
        "owner": None if owner is None else str(owner),
        "managed_by": owner.id if owner is not None and owner.kind is OwnerKind.FILE else None,
        "created_at": None if permissions is None else format_instant(permissions.created_at),
        "rules": [
            {"number": number, "rule": str(rule), "allow": rule.allow} for number, rule in enumerate(rules, 1)
        ],
    }


def _standing(call: Call) -> tuple[Permission, ...]:
    """The rules that hold now; the caller has its turn, so nobody changes them in between."""
    written = call.views.snapshot().permissions
    return (USUAL,) if written is None else written.rules


async def _answer(
    call: Call, ask: SetPermissions, plan: bool, why: str, more: tuple[Notice, ...]
) -> Response:
    outcome = await call.ask([ask], plan, why)
    notices = [render_notice(each, call.language) for each in (*outcome.notices, *more)]
    return await call.answer(outcome, notices=notices)


def _usual_is_written(rules: tuple[Permission, ...]) -> Notice:
    number = rules.index(USUAL) + 1
    return Notice(
        "usual-rule",
        f"The usual rule, '{USUAL}', has held without being written; it is rule {number} from now on. "
        f"To be without it: 'sekimori door forget {number}'.",
        f"これまで書かれずに有効だった既定のルール「{USUAL}」は、これからルール {number} になります。"
        f"不要なら sekimori door forget {number} を実行してください。",
    )


def _none_is_left() -> Notice:
    return Notice(
        "no-rule-left",
        "No rule is left, so no device may lease a port. 'sekimori door allow all' is the usual rule again.",
        "ルールがなくなったので、どの機器もポートを借りられません。既定に戻すには sekimori door allow all を"
        "実行してください。",
    )
