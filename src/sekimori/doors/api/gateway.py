"""Routes of the gateway: what this machine is as one, and making it one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StrictBool
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody, ProblemBody
from sekimori.doors.api.call import AdminCall, Call, ViewerCall, json_response
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Asked, Text, Written
from sekimori.gate import Outcome
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.lifetime import format_instant
from sekimori.model.mapping import OwnerKind
from sekimori.model.network import Lan, Wan
from sekimori.model.request import Configure
from sekimori.policy.steps import Step, steps_between

__all__ = ["router"]

router = APIRouter(prefix="/v1/gateway", tags=["gateway"])


class GatewayBody(Written):
    """How this machine is to be a gateway. null is as it stands; of a new one, the default."""

    masquerade: StrictBool | None = Field(
        None, description="Send what the LAN sends out under the WAN's address (IPv4). New: true."
    )
    firewall: StrictBool | None = Field(
        None, description="Admit from outside only mappings and replies. New: false."
    )


class PlanQuery(Asked):
    """How to take something away."""

    plan: bool = Field(False, description="A dry run.")
    why: Text = ""


class StepView(BaseModel):
    """One thing that is done to the machine."""

    kind: str = Field(description="sysctl, masquerade or firewall.")
    text: str
    facts: dict[str, Any]


class GatewayOutcome(OutcomeBody):
    """What was done, or under `plan` would be, and each step it takes on the machine."""

    steps: list[StepView]


class WanView(BaseModel):
    """A line to the internet."""

    interface: str
    addresses: list[str]
    gateways: list[str]


class LanView(BaseModel):
    """A network inside."""

    interface: str
    prefixes: list[str]
    addresses: list[str]


class GatewayView(BaseModel):
    """What this machine is as a gateway, and what it stands between."""

    enabled: bool
    masquerade: bool
    firewall: bool
    owner: str | None
    managed_by: str | None = Field(description="The config file that owns it.")
    created_at: Instant | None
    found: dict[str, str] = Field(description="Kernel settings that were changed, with their values before.")
    forwarding4: bool
    forwarding6: bool
    wans: list[WanView]
    lans: list[LanView]
    obstacle: ProblemBody | None = Field(description="Why it cannot be made one.")
    problem: ProblemBody | None = Field(description="Why it is not wholly what it should be now.")


@router.get("", response_model=GatewayView, summary="What this machine is as a gateway")
async def get_gateway(call: ViewerCall) -> Response:
    """Whether it is one, how, and the WANs and LANs that were found."""
    gateway = call.views.snapshot().gateway
    network = call.views.machine.network()
    owner = None if gateway is None else gateway.owner
    return json_response(
        {
            "enabled": gateway is not None,
            "masquerade": gateway is not None and gateway.masquerade,
            "firewall": gateway is not None and gateway.firewall,
            "owner": None if owner is None else str(owner),
            "managed_by": owner.id if owner is not None and owner.kind is OwnerKind.FILE else None,
            "created_at": None if gateway is None else format_instant(gateway.created_at),
            "found": {} if gateway is None else dict(gateway.found),
            "forwarding4": network.forwarding4,
            "forwarding6": network.forwarding6,
            "wans": [_render_wan(wan) for wan in network.wans],
            "lans": [_render_lan(lan) for lan in network.lans],
            "obstacle": _render_problem(call.views.machine.obstacle(), call),
            "problem": _render_problem(call.views.ground_problem(), call),
        }
    )


@router.put("", response_model=GatewayOutcome, summary="Make this machine a gateway, or change how it is one")
async def enable_gateway(body: GatewayBody, call: AdminCall) -> Response:
    """Forward for the LAN. With `plan`, only the steps are told."""
    stands = call.views.snapshot().gateway
    usual = Gateway(owner=call.visitor.owner) if stands is None else stands
    wanted = Gateway(
        owner=usual.owner,
        masquerade=usual.masquerade if body.masquerade is None else body.masquerade,
        firewall=usual.firewall if body.firewall is None else body.firewall,
    )
    return await _answer(call, await call.ask([Configure(wanted)], body.plan, body.why))


@router.delete("", response_model=GatewayOutcome, summary="Be a gateway no longer")
async def disable_gateway(query: Annotated[PlanQuery, Query()], call: AdminCall) -> Response:
    """Take everything back that enabling did; kernel settings get the values they had."""
    return await _answer(call, await call.ask([Configure(None)], query.plan, query.why))


async def _answer(call: Call, outcome: Outcome) -> Response:
    network = call.views.machine.network()
    steps = [
        step
        for change in outcome.changes
        if isinstance(change.subject, Gateway)
        for step in steps_between(_gateway(change.before), _gateway(change.after), network)
    ]
    return await call.answer(outcome, steps=[_render_step(step, call.language) for step in steps])


def _gateway(subject: object) -> Gateway | None:
    return subject if isinstance(subject, Gateway) else None


def _render_step(step: Step, language: str) -> Json:
    return {**asdict(step), "text": step.text[language]}


def _render_wan(wan: Wan) -> Json:
    gateways = (gateway for gateway in (wan.gateway4, wan.gateway6) if gateway is not None)
    return {
        "interface": wan.interface,
        "addresses": [str(address) for address in wan.addresses],
        "gateways": [str(gateway) for gateway in gateways],
    }


def _render_lan(lan: Lan) -> Json:
    return {
        "interface": lan.interface,
        "prefixes": [str(prefix) for prefix in lan.prefixes],
        "addresses": [str(address) for address in lan.addresses],
    }


def _render_problem(problem: Problem | None, call: Call) -> Json | None:
    return None if problem is None else problem.body(call.language)
