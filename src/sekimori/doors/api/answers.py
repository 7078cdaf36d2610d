"""The shapes of answers, as OpenAPI describes them.

Answers are built by `render`, which is several times quicker than validating what we made ourselves; the
tests hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

__all__ = [
    "Applied",
    "ConfirmView",
    "HistoryBody",
    "MappingView",
    "MappingsBody",
    "OutcomeBody",
    "ProblemBody",
    "WhoBody",
]

Instant = Annotated[str, Field(description="ISO 8601, UTC", examples=["2026-12-01T09:00:00+00:00"])]


class ProblemBody(BaseModel):
    """Why something cannot be done, and what to do instead (RFC 9457)."""

    type: str = Field(examples=["urn:sekimori:problem:port-taken"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable.", examples=["port-taken"])
    kind: str = Field(description="Decides the CLI's exit code.", examples=["conflict"])
    facts: dict[str, Any]
    fixes: list[str]


class HopView(BaseModel):
    """One hop of a path."""

    plane: str = Field(examples=["router"])
    problem: ProblemBody | None = Field(description="Why it is not there; null where it is.")


class StatusView(BaseModel):
    """The state of a mapping as it was last found. A planned one has no instants."""

    state: Literal["starting", "open", "paused", "outside-hours", "failed"]
    since: Instant | None
    checked_at: Instant | None
    problem: ProblemBody | None
    targets: list[str] = Field(description="The numeric addresses that flows are sent to now.")
    hops: list[HopView] = Field(description="Each hop in the order of the path, where there are several.")


class CountersView(BaseModel):
    """What went through. In is from outside to the target."""

    flows_active: int
    flows_total: int
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    refused: dict[str, int]
    failed: dict[str, int]
    dropped: dict[str, int]
    last_flow_at: Instant | None


class AskedView(BaseModel):
    """How a lifetime was asked for."""

    how: Literal["for", "until", "permanent"]
    value: str


class LeaseView(BaseModel):
    """How a device, or an SSH session, asked for a mapping."""

    protocol: Literal["igd", "pcp", "nat-pmp", "ssh"]
    description: str = Field(description="The device's own words: the text of a stranger, to be escaped.")
    lasting: bool = Field(description="Asked for without an end; it is renewed while its device is there.")
    outbound: bool = Field(description="For one remote peer only (PCP's PEER).")


class MappingView(BaseModel):
    """An outside port that leads to an inside target."""

    id: str
    name: str
    kind: Literal["forward", "permit", "pinhole", "dmz", "trigger"] = Field(
        description="permit is of a service of this machine; pinhole of an IPv6 host at its own address."
    )
    owner: str = Field(examples=["person:alice"])
    managed_by: str | None = Field(description="The config file that owns it.")
    lease: LeaseView | None = Field(description="null where no device asked for it by itself.")
    ports: str = Field(examples=["tcp/8080:80"])
    to: str = Field(examples=["192.168.1.5:80"])
    host: str
    from_: str = Field(alias="from")
    expires_at: Instant | None
    expires_in: int | None = Field(description="Seconds.")
    permanent: str | None = Field(description="The reason, where it has no end.")
    asked: AskedView
    hours: str | None
    zone: str | None
    on: str | None
    via: str
    at: str | None = Field(description="The link at whose far end it listens; null is this machine.")
    path: list[str]
    limit: str | None
    limit_total: str | None
    max_connections: int | None
    proxy_protocol: int
    idle: str | None
    trigger: str | None = Field(examples=["tcp/6667"])
    hold: str | None
    except_: str | None = Field(alias="except", examples=["tcp/443"])
    socks_users: list[str] | None = Field(description="Who may use a SOCKS port; empty asks nobody.")
    reach: str | None = Field(description="Where clients of a SOCKS port may go.")
    log: bool
    accept_risk: list[str]
    preset: str | None
    title: dict[str, str] | None
    risk: str
    paused: bool
    created_at: Instant | None
    revision: int
    opens_at: Instant | None
    closes_at: Instant | None
    status: StatusView
    counters: CountersView


class MappingsBody(BaseModel):
    """Every mapping."""

    mappings: list[MappingView]


class ChangeView(BaseModel):
    """One change. null before is new, null after is gone."""

    verb: str
    subject: Literal["mapping", "list", "gateway", "ban", "door", "permissions", "link", "user"]
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    changed: list[str]


class NoticeView(BaseModel):
    """Something to know though it was allowed."""

    code: str
    text: str


class ConfirmView(BaseModel):
    """What was done, or would be, may cut off its asker: it is taken back unless it is confirmed."""

    revision: int | None = Field(description="null under `plan`, as `deadline`.")
    deadline: Instant | None
    within: int = Field(description="Seconds.")
    source: str = Field(description="Where the asker came from.", examples=["198.51.100.10"])
    destination: str = Field(description="The address they came to.", examples=["203.0.113.2"])
    port: int = Field(description="The port they came to.", examples=[22])


class OutcomeBody(BaseModel):
    """What was done, or under `plan` would be."""

    planned: bool
    revision: int | None
    changes: list[ChangeView]
    mappings: list[MappingView]
    notices: list[NoticeView]
    confirm: ConfirmView | None = Field(description="null: it stands by itself.")


class Applied(OutcomeBody):
    """What applying a file did, and what of it was left out."""

    skipped: list[NoticeView]


class FlowView(BaseModel):
    """One live flow; age and idle in seconds."""

    protocol: str
    source: str
    target: str
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    age: float
    idle: float
    state: str


class SourceView(BaseModel):
    """What one source did with a mapping."""

    source: str
    flows_active: int
    flows_total: int
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    refused: int
    first_seen: Instant
    last_seen: Instant


class WhoBody(BaseModel):
    """Who uses a mapping."""

    mapping: MappingView
    sources: list[SourceView]
    flows: list[FlowView]


class RowView(ChangeView):
    """One change as the journal keeps it."""

    id: str


class RevisionView(BaseModel):
    """One revision: who, when, through which door, why."""

    number: int
    at: Instant
    actor: str
    door: str
    why: str
    rows: list[RowView]


class HistoryBody(BaseModel):
    """Revisions, newest first."""

    revisions: list[RevisionView]
