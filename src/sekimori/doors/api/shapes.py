"""The shapes of requests: what the API refuses, and what OpenAPI describes.

Those of answers are in `answers`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

__all__ = [
    "ApplyBody",
    "Asked",
    "ChangeBody",
    "CloseQuery",
    "ExtendBody",
    "HistoryQuery",
    "OpenBody",
    "UndoBody",
    "Written",
]

Text = Annotated[str, StringConstraints(max_length=4096)]
Texts = Text | list[Text]
Number = StrictInt | Text


class Asked(BaseModel):
    """Something a caller sends: unknown fields are refused, so that a slip is not an opening."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)


class Written(Asked):
    """Something a caller sends that changes things."""

    plan: bool = Field(False, description="A dry run: the answer is what would happen.")
    why: Text = Field("", description="The reason, kept in the history.", examples=["guest Wi-Fi party"])


class _Words(Written):
    """The words of a mapping. null is not said; `none` takes an optional word away."""

    name: Text | None = Field(None, examples=["web"])
    ports: Texts | None = Field(
        None,
        description="Outside ports, a protocol without ports, `dmz`, or a preset.",
        examples=["8080:80", "udp/7000-7010", "gre", "dmz", "minecraft", "unix:/run/db.sock"],
    )
    to: Text | None = Field(
        None,
        description="The target; left out where there is a trigger.",
        examples=[
            "192.168.1.5:22",
            "kids-pc",
            ":3000",
            "device:nas:443",
            "[::10/-64]:443",
            "unix:/run/app.sock",
        ],
    )
    socks: StrictBool | Text | None = Field(
        None, description="The client names the target, by SOCKS or HTTP CONNECT; in place of `to`."
    )
    from_: Texts | None = Field(
        None,
        alias="from",
        description="Who may come in: prefixes, `lan`, `anyone`, lists.",
        examples=["198.51.100.0/24,office"],
    )
    for_: Text | None = Field(None, alias="for", description="A duration.", examples=["2h"])
    until: Text | None = Field(None, description="A time, local unless it says.", examples=["2026-12-01"])
    permanent: Text | None = Field(
        None, description="The reason for having no end.", examples=["company web site"]
    )
    hours: Text | None = Field(None, description="When it is open.", examples=["mon-fri/09:00-18:00"])
    on: Text | None = Field(None, description="The one outside address or interface.", examples=["eth1"])
    via: Text | None = Field(
        None,
        description="The plane, or the link through which the target is dialled.",
        examples=["auto", "kernel", "relay", "bastion"],
    )
    at: Text | None = Field(
        None, description="The link at whose far end it listens; `none` is here.", examples=["vps"]
    )
    limit: Text | None = Field(None, description="New flows per source.", examples=["20/min"])
    limit_total: Text | None = Field(None, description="New flows of all sources.", examples=["200/min"])
    max_connections: Number | None = Field(None, description="Flows at one time.", examples=[100])
    proxy_protocol: Number | None = Field(
        None, description="PROXY protocol towards the target.", examples=[2]
    )
    idle: Text | None = Field(None, description="Silence that ends a flow.", examples=["10m"])
    trigger: Texts | None = Field(None, description="A LAN host that sends here is opened to.")
    hold: Text | None = Field(None, description="For how long after its last packet.", examples=["10m"])
    except_: Texts | None = Field(None, alias="except", description="What a DMZ host does not get.")
    socks_user: Texts | None = Field(
        None,
        description="Who may use a SOCKS port, `NAME:PASSWORD` each. Only names are ever shown.",
        examples=[["alice:correct horse battery"]],
    )
    reach: Texts | None = Field(
        None,
        description="Where clients of a SOCKS port may go; `anywhere` is all but what is guarded.",
        examples=["db.example:5432,10.0.0.0/8"],
    )
    log: StrictBool | Text | None = Field(None, description="Log new flows, at a limited rate.")
    accept_risk: Texts | None = Field(None, description="Risks accepted by name.", examples=["exposed-admin"])

    def words(self) -> dict[str, object]:
        """What was said, by the names of `model.words.FIELDS`."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"plan", "why", "paused"})


class OpenBody(_Words):
    """A mapping to open."""


class ChangeBody(_Words):
    """What to change of a mapping."""

    paused: bool | None = Field(None, description="Pause or resume it; null leaves it.")


class ExtendBody(Written):
    """More time: added to its end, or a new lifetime. With neither, its length runs again from now."""

    add: Text | None = Field(None, description="A duration added to its end.", examples=["2h"])
    for_: Text | None = Field(None, alias="for", description="A duration from now.", examples=["24h"])
    until: Text | None = Field(None, examples=["2026-12-01 18:00"])
    permanent: Text | None = Field(None, examples=["company web site"])

    def words(self) -> dict[str, object]:
        """The words of the new lifetime that were said."""
        return self.model_dump(by_alias=True, exclude_none=True, include={"for_", "until", "permanent"})


class UndoBody(Written):
    """A revision to undo."""

    revision: Annotated[int, Field(strict=True, ge=1, lt=1 << 63)] | None = Field(
        None, description="null is the newest."
    )
    for_: Text | None = Field(
        None, alias="for", description="How long what has expired since is opened again.", examples=["24h"]
    )


class ApplyBody(Written):
    """A config file to synchronise."""

    file: Text | None = Field(None, description="Its absolute path; null is the daemon's own.")
    text: Annotated[str, StringConstraints(max_length=8 << 20)] | None = Field(
        None, description="Its content; null is what the daemon reads there."
    )


class CloseQuery(Asked):
    """How to close."""

    now: bool = Field(False, description="End its flows without their grace.")
    plan: bool = Field(False, description="A dry run.")
    why: Text = ""


class HistoryQuery(Asked):
    """Which revisions."""

    limit: int = Field(50, ge=1, le=1000)
    before: int | None = Field(None, ge=1, lt=1 << 63, description="Only those with a smaller number.")
    subject: Text | None = Field(None, description="The name or id of a mapping or list.")
