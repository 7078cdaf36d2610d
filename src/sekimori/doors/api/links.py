"""Routes of links: the connections to other machines that mappings may go through."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StrictInt
from starlette.responses import Response

from sekimori.doors.api.answers import Instant, OutcomeBody, ProblemBody
from sekimori.doors.api.call import AdminCall, Call, ViewerCall, json_response
from sekimori.doors.api.gateway import PlanQuery
from sekimori.doors.api.hostkeys import Pin, fingerprint_of, trust
from sekimori.doors.api.render import Json
from sekimori.doors.api.shapes import Text, Written
from sekimori.model.causes import cause, near
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_instant
from sekimori.model.link import AddLink, Link, LinkPhase, RemoveLink, SshPlace, check_link_name
from sekimori.model.linkfacts import HostKey, LinkFacts, LinkTest
from sekimori.model.mapping import Mapping, OwnerKind

__all__ = ["LinkShort", "render_links_short", "router"]

router = APIRouter(prefix="/v1/links", tags=["links"])

Name = Annotated[str, Path(description="The link's name.", examples=["vps"])]


class LinkBody(Written):
    """How a link is to be. null is as it stands; of a new one, the default."""

    to: Text | None = Field(
        None, description="The SSH server; needed for a new link.", examples=["ssh://alice@vps.example:2222"]
    )
    jump: list[Text] | None = Field(None, description="Servers to go through first, in order.")
    identity: list[Text] | None = Field(
        None,
        description="Files with private keys, where the daemon runs; without any, the agent's and the usual.",
        examples=[["/root/.ssh/vps"]],
    )
    config: Text | None = Field(
        None, description="The ssh_config file to read; `none` is none, an empty text the usual one."
    )
    host_keys: list[Text] | None = Field(
        None,
        description="Host keys that may be trusted: `SHA256:…`, `ALGORITHM BASE64`, or a whole key after the "
        "place that has it.",
        examples=[["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"]],
    )
    connections: StrictInt | None = Field(
        None, description="How many SSH connections carry its flows side by side: 1 to 16. New: 1."
    )


class HostKeyView(BaseModel):
    """A host key."""

    place: str = Field(examples=["ssh://alice@vps.example"])
    algorithm: str = Field(examples=["ssh-ed25519"])
    fingerprint: str
    standing: str | None = Field(
        None,
        description="Of one that was shown just now: pinned, known, confirmed (with another link), "
        "unknown or changed.",
    )


class LinkView(BaseModel):
    """A link, and how it is now."""

    name: str
    to: str
    jump: list[str]
    identity: list[str]
    config: str
    host_keys: list[HostKeyView]
    connections: int
    owner: str = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns it.")
    created_at: Instant
    phase: str = Field(description="connecting, up, waiting or refused.")
    since: Instant | None
    problem: ProblemBody | None = Field(description="What keeps it from being up.")
    next_try: Instant | None
    rtt: float | None = Field(description="Seconds of a round trip.")
    server: str = Field(description="The server's own words for what it is.")
    algorithms: dict[str, str]
    sekimori: bool | None = Field(description="Whether Sekimori answers there, which carries UDP too.")
    outside: bool | None = Field(
        description="Whether others than that machine come in by ports there, as the last test found; null "
        "where none could tell since the daemon started."
    )
    flows: int = Field(description="Live ones that go through it.")
    mappings: list[str] = Field(description="Names of those that go through it.")


class LinkShort(BaseModel):
    """A link in the daemon's status."""

    name: str
    to: str
    phase: str = Field(description="connecting, up, waiting or refused.")
    since: Instant | None
    problem: ProblemBody | None
    next_try: Instant | None
    flows: int
    mappings: list[str] = Field(description="Names of those that go through it.")


class LinksBody(BaseModel):
    """Every link, by name."""

    links: list[LinkView]


class LinkOutcome(OutcomeBody):
    """What was done, and the host keys that its servers showed."""

    shown: list[HostKeyView]


class LinkTestView(BaseModel):
    """What trying a link came to. null is what could not be tried."""

    ok: bool = Field(description="Whether it lets us in.")
    problem: ProblemBody | None
    tried: list[str] = Field(description="Methods of authentication, in order.", examples=[["publickey"]])
    local: bool | None = Field(description="Whether connections may go on from there (-L).")
    local_why: str
    remote: bool | None = Field(description="Whether ports may be opened there (-R).")
    remote_why: str
    outside: bool | None = Field(
        description="Whether others than that machine come in by a port there; null where it cannot be told."
    )
    sekimori: bool | None
    rtt: float | None
    server: str
    algorithms: dict[str, str]


@router.get("", response_model=LinksBody, summary="The links")
async def list_links(call: ViewerCall) -> Response:
    """Every link, and how it is."""
    return json_response({"links": [_render_link(link, call) for link in _by_name(call)]})


@router.get("/{name}", response_model=LinkView, summary="One link")
async def get_link(name: Name, call: ViewerCall) -> Response:
    """What it is, and how it is."""
    return json_response(_render_link(_find(call, name), call))


@router.put("/{name}", response_model=LinkOutcome, summary="Add a link, or change it")
async def put_link(name: Name, body: LinkBody, call: AdminCall) -> Response:
    """The servers are asked for their host keys, also under `plan`.

    Each key must be one that was named here, was pinned before, is in known_hosts of the daemon's user, or
    is pinned by another link for the same server.
    Otherwise the link is refused, and the fingerprints are told.
    """
    wanted = _read_link(check_link_name(name), body, call)
    said = [Pin.parse(text) for text in body.host_keys or ()]
    others = [link for link in call.views.snapshot().links.values() if link.name != wanted.name]
    trusted = await trust(call.views.links, wanted, said, others)
    outcome = await call.ask([AddLink(trusted.link)], body.plan, body.why)
    return await call.answer(outcome, shown=[_render_found(key) for key in trusted.found])


@router.delete("/{name}", response_model=OutcomeBody, summary="Remove a link")
async def remove_link(name: Name, query: Annotated[PlanQuery, Query()], call: AdminCall) -> Response:
    """Refused while mappings go through it."""
    return await call.enact([RemoveLink(name.strip().lower())], query.plan, query.why)


@router.post("/{name}/test", response_model=LinkTestView, summary="Try a link")
async def try_link(name: Name, call: AdminCall) -> Response:
    """Connect once, beside what is up, and see what may be done there. It may take a dozen seconds."""
    return json_response(_render_test(await call.views.links.test(_find(call, name)), call.language))


def render_links_short(call: Call) -> list[Json]:
    """Every link, as `LinkShort`."""
    return [
        {key: whole[key] for key in LinkShort.model_fields}
        for whole in (_render_link(link, call) for link in _by_name(call))
    ]


def _by_name(call: Call) -> list[Link]:
    return sorted(call.views.snapshot().links.values(), key=lambda link: link.name)


def _find(call: Call, name: str) -> Link:
    links = call.views.snapshot().links
    link = links.get(name.strip().lower())
    if link is None:
        raise Problem("no-such-link", name=name, near=near(get_close_matches(name, links, 3)))
    return link


def _read_link(name: str, body: LinkBody, call: Call) -> Link:
    """The link that is wanted, with what was not said as it stands.

    Raises:
        Problem: `missing`, `bad-link`.
    """
    stands = call.views.snapshot().links.get(name)
    if stands is None and body.to is None:
        example = f"sekimori link add {name} ssh://alice@vps.example"
        raise Problem("missing", key=cause("the-server"), example=example)
    place = stands.place if stands is not None else SshPlace("")
    if body.to is not None:
        place = SshPlace.parse(body.to)
    usual = stands or Link(name=name, owner=call.visitor.owner, place=place)
    return Link(
        name=name,
        owner=usual.owner,
        place=place,
        jump=usual.jump if body.jump is None else tuple(map(SshPlace.parse, body.jump)),
        identity=usual.identity if body.identity is None else tuple(body.identity),
        config=usual.config if body.config is None else body.config,
        host_keys=_still_meant(usual.host_keys, place, body, usual),
        connections=usual.connections if body.connections is None else body.connections,
    )


def _still_meant(lines: tuple[str, ...], place: SshPlace, body: LinkBody, stands: Link) -> tuple[str, ...]:
    """The pins of a link from before, without those of servers that it no longer goes through.

    Those of jumps that ssh_config names stay: which they are is known only there.
    """
    jump = stands.jump if body.jump is None else tuple(map(SshPlace.parse, body.jump))
    gone = {str(each) for each in (*stands.jump, stands.place)} - {str(each) for each in (*jump, place)}
    return tuple(line for line in lines if line.partition(" ")[0] not in gone)


def _render_link(link: Link, call: Call) -> Json:
    facts = call.views.links.told().get(link.name) or LinkFacts(name=link.name, phase=LinkPhase.CONNECTING)
    return {
        "name": link.name,
        "to": str(link.place),
        "jump": [str(each) for each in link.jump],
        "identity": list(link.identity),
        "config": link.config,
        "host_keys": [_render_pin(line) for line in link.host_keys],
        "connections": link.connections,
        "owner": str(link.owner),
        "managed_by": link.owner.id if link.owner.kind is OwnerKind.FILE else None,
        "created_at": format_instant(link.created_at),
        "phase": str(facts.phase),
        "since": _instant(facts.since),
        "problem": None if facts.why is None else facts.why.body(call.language),
        "next_try": _instant(facts.next_try),
        "rtt": facts.rtt,
        "server": facts.server,
        "algorithms": dict(facts.algorithms),
        "sekimori": facts.sekimori,
        "outside": facts.outside,
        "flows": facts.flows,
        "mappings": [mapping.name for mapping in call.views.snapshot() if _goes_through(mapping, link.name)],
    }


def _goes_through(mapping: Mapping, link: str) -> bool:
    return any(hop.link == link for hop in mapping.path)


def _render_pin(line: str) -> Json:
    place, *_, algorithm, key = line.split()
    return {"place": place, "algorithm": algorithm, "fingerprint": fingerprint_of(key), "standing": None}


def _render_found(key: HostKey) -> Json:
    return {
        "place": key.place,
        "algorithm": key.algorithm,
        "fingerprint": key.fingerprint,
        "standing": str(key.standing),
    }


def _render_test(test: LinkTest, language: str) -> Json:
    return {
        "ok": test.problem is None,
        "problem": None if test.problem is None else test.problem.body(language),
        "tried": list(test.tried),
        "local": test.local,
        "local_why": test.local_why,
        "remote": test.remote,
        "remote_why": test.remote_why,
        "outside": test.outside,
        "sekimori": test.sekimori,
        "rtt": test.rtt,
        "server": test.server,
        "algorithms": dict(test.algorithms),
    }


def _instant(at: float | None) -> str | None:
    return None if at is None else format_instant(at)
