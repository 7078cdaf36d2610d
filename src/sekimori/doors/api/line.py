"""Routes of the line: what stands between this machine and the internet, and the router above it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, ProblemBody
from sekimori.doors.api.call import Call, ViewerCall, json_response
from sekimori.doors.api.ports import RouterTold
from sekimori.doors.api.render import Json
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_instant
from sekimori.model.line import Fact, FactName, Inbound, Line
from sekimori.model.mapping import Mapping
from sekimori.model.mapset import PortSet

__all__ = [
    "LineBody",
    "LineSummary",
    "RouterBody",
    "render_line",
    "render_router",
    "render_summary",
    "router",
]

router = APIRouter(prefix="/v1", tags=["the line"])

_ROUTER: Final = "router"
"""The plane that asks the router above, as a path names it."""

Surety = Literal["certain", "likely", "possible"]


class InboundView(BaseModel):
    """Whether what comes from outside gets to this machine, where it is let in here."""

    answer: Literal["yes", "no", "unknown"] = Field(
        description="no only where nothing on this machine, and no router above, could change it."
    )
    why: str
    confidence: Surety


class LineSummary(BaseModel):
    """What is known of the line, in short."""

    interface: str | None = Field(description="null where there is no line.", examples=["eth0"])
    public4: str | None = Field(description="The IPv4 address to tell others, where one is known.")
    public6: str | None = Field(description="The IPv6 address that the internet sees, where it was looked.")
    outside_ports: int | None = Field(
        description="How many outside ports come in by IPv4; null where no set limits them.", examples=[240]
    )
    inbound4: InboundView
    inbound6: InboundView


class FactView(BaseModel):
    """One thing known of the line."""

    name: str = Field(
        description="wan4, own-nat, second-router, cgnat, public4, public6, nat-mapping, nat-filtering, "
        "port-set, ds-lite, global6, inbound4 or inbound6."
    )
    value: str = Field(description="A stable word or an address.", examples=["private", "203.0.113.2"])
    evidence: str = Field(description="What it follows from.")
    confidence: Surety
    at: Instant = Field(description="Of the evidence.")


class PortSetView(BaseModel):
    """The ports of a shared address that are this line's (RFC 7597 §5.1)."""

    size: int = Field(examples=[240])
    ranges: list[str] = Field(examples=[["5136-5151", "6160-6175"]])
    offset: int = Field(description="Bits before the PSID.", examples=[6])
    psid_length: int = Field(examples=[8])
    psid: int = Field(examples=[52])


class LineView(LineSummary):
    """What is known of a line, each fact with its evidence."""

    port_set: PortSetView | None = Field(description="null where no set limits the ports.")
    facts: list[FactView]


class LineBody(LineView):
    """The line as a whole: IPv4 by the WAN that is preferred for it, and IPv6 by its own."""

    wans: list[LineView] = Field(description="The line of each WAN, the preferred one first.")


class RouterView(BaseModel):
    """A router above this machine."""

    interface: str = Field(description="The WAN it is reached by.")
    local: str = Field(description="This machine's address there.")
    gateway: str = Field(description="The router's address.")
    presence: Literal["unknown", "there", "none", "silent"] = Field(
        description="unknown: not asked to the end; none: it answers no protocol, and never has; "
        "silent: it answered once."
    )
    protocol: str | None = Field(description="What it is asked by: pcp, natpmp or upnp.")
    answered: list[str] = Field(description="All that it answered by.")
    model: str = Field(description="Its own words for what it is: the text of a stranger, to be escaped.")
    address: str | None = Field(description="Its outside address, where it told.")
    doubt: str | None = Field(description="Why that is no address of the internet.")
    since: Instant | None = Field(description="When it lost its state last, or its line came up, as it says.")
    heard_at: Instant | None = Field(description="When it answered last.")
    lasting_only: bool = Field(description="It keeps entries only without an end.")


class UnopenedView(BaseModel):
    """A mapping that the router above does not open."""

    id: str
    name: str
    ports: str
    problem: ProblemBody


class RouterBody(BaseModel):
    """The routers above, one for each WAN that has one, and what they do not open."""

    routers: list[RouterView]
    refused: list[UnopenedView]


@router.get("/line", response_model=LineBody, summary="The line to the internet")
async def get_line(call: ViewerCall) -> Response:
    """Its facts with their evidence, and whether anything comes in by it."""
    whole = render_line(call.views.line(), call.language)
    wans = [render_line(each, call.language) for each in call.views.lines()]
    return json_response(whole | {"wans": wans})


@router.get("/router", response_model=RouterBody, summary="The router above")
async def get_router(call: ViewerCall) -> Response:
    """Who it is, how it is asked, and what it does not open."""
    routers = [render_router(each, call.language) for each in call.views.router_facts()]
    refused = [_render_unopened(mapping, problem, call.language) for mapping, problem in _unopened(call)]
    return json_response({"routers": routers, "refused": refused})


def render_summary(line: Line, language: str) -> Json:
    """A line as `LineSummary` describes it."""
    public6 = line.fact(FactName.PUBLIC6)
    return {
        "interface": line.interface,
        "public4": None if line.public4 is None else str(line.public4),
        "public6": None if public6 is None else public6.value,
        "outside_ports": None if line.outside_ports is None else line.outside_ports.size,
        "inbound4": _render_inbound(line.inbound4, language),
        "inbound6": _render_inbound(line.inbound6, language),
    }


def render_line(line: Line, language: str) -> Json:
    """A line as `LineView` describes it."""
    ports = line.outside_ports
    return {
        **render_summary(line, language),
        "port_set": None if ports is None else _render_ports(ports),
        "facts": [_render_fact(fact, language) for fact in line.facts],
    }


def _render_inbound(inbound: Inbound, language: str) -> Json:
    return {
        "answer": str(inbound.answer),
        "why": inbound.why[language],
        "confidence": str(inbound.confidence),
    }


def _render_fact(fact: Fact, language: str) -> Json:
    return {
        "name": str(fact.name),
        "value": str(fact.value),
        "evidence": fact.evidence[language],
        "confidence": str(fact.confidence),
        "at": format_instant(fact.at),
    }


def _render_ports(ports: PortSet) -> Json:
    return {
        "size": ports.size,
        "ranges": [str(each) for each in ports.ranges()],
        "offset": ports.offset,
        "psid_length": ports.length,
        "psid": ports.psid,
    }


def render_router(told: RouterTold, language: str) -> Json:
    """A router as `RouterView` describes it."""
    heard, epoch = told.heard_at, told.epoch
    return {
        "interface": told.interface,
        "local": str(told.local),
        "gateway": str(told.gateway),
        "presence": str(told.presence),
        "protocol": None if told.protocol is None else str(told.protocol),
        "answered": [str(each) for each in told.answered],
        "model": told.model,
        "address": None if told.address is None else str(told.address),
        "doubt": None if told.address_doubt is None else told.address_doubt[language],
        "since": None if heard is None or epoch is None else format_instant(heard - epoch),
        "heard_at": None if heard is None else format_instant(heard),
        "lasting_only": told.lasting_only,
    }


def _unopened(call: Call) -> Iterator[tuple[Mapping, Problem]]:
    """What has a hop at the router above that is not there now, and why."""
    snapshot = call.views.snapshot()
    for mapping in (*snapshot.by_plane(_ROUTER), *snapshot.beyond(_ROUTER)):
        status = call.views.status_of(mapping.id)
        problem = status.problem
        if status.hops:
            problem = next((hop.problem for hop in status.hops if hop.plane == _ROUTER), None)
        if problem is not None:
            yield mapping, problem


def _render_unopened(mapping: Mapping, problem: Problem, language: str) -> Json:
    return {
        "id": mapping.id,
        "name": mapping.name,
        "ports": mapping.to_document()["ports"],
        "problem": problem.body(language),
    }
