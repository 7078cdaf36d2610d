"""What any door may ask, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from sekimori.model.address import (
    IPAddress,
    IPNetwork,
    On,
    PortRange,
    PortSpec,
    Span,
)
from sekimori.model.destination import Destinations
from sekimori.model.door import DisableDoor, EnableDoor
from sekimori.model.gateway import Gateway
from sekimori.model.lease import Adopt, Obtain, Release
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Rate
from sekimori.model.link import AddLink, RemoveLink
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.permission import SetPermissions
from sekimori.model.preset import Preset
from sekimori.model.schedule import Schedule
from sekimori.model.socks import Verifier
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.model.user import Bind, PutUser, RemoveUser, Unbind

__all__ = [
    "UNSAID",
    "Ask",
    "Caller",
    "Change",
    "Close",
    "Configure",
    "Context",
    "Define",
    "LiftBan",
    "OneChange",
    "PutBan",
    "Renew",
    "Reroute",
    "Submit",
    "Unsaid",
    "Wish",
]


class Unsaid(Enum):
    """The one value that means: not said, so leave it or take the default."""

    UNSAID = "unsaid"


UNSAID: Final = Unsaid.UNSAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants of a mapping; UNSAID where they said nothing, None where they said none."""

    name: str | Unsaid = UNSAID
    specs: tuple[PortSpec, ...] | Unsaid = UNSAID
    preset: Preset | Unsaid | None = UNSAID
    target: Target | Unsaid = UNSAID
    inside: PortRange | None = None
    """The inside ports where they stand with the target."""
    sources: Sources | Unsaid = UNSAID
    lifetime: Lifetime | Unsaid = UNSAID
    schedule: Schedule | Unsaid | None = UNSAID
    on: On | Unsaid | None = UNSAID
    via: str | Unsaid = UNSAID
    at: str | Unsaid | None = UNSAID
    per_source: Rate | Unsaid | None = UNSAID
    total: Rate | Unsaid | None = UNSAID
    connections: int | Unsaid | None = UNSAID
    proxy_protocol: int | Unsaid = UNSAID
    idle: int | Unsaid | None = UNSAID
    trigger: tuple[Span, ...] | Unsaid | None = UNSAID
    hold: int | Unsaid | None = UNSAID
    excepted: tuple[Span, ...] | Unsaid | None = UNSAID
    socks_users: tuple[Verifier, ...] | Unsaid | None = UNSAID
    reach: Destinations | Unsaid | None = UNSAID
    log: bool | Unsaid = UNSAID
    accepted_risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submit:
    """Open a new mapping. `restore` brings one back that was closed, under its own id and owner."""

    wish: Wish
    restore: Mapping | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Change the terms of a mapping, pause it or resume it.

    `restore` brings back what a wish has no words for: the preset, and fewer accepted risks.
    """

    ref: str
    wish: Wish
    paused: bool | None = None
    restore: Mapping | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """Give a mapping more time: `add` seconds to its end, or a new lifetime.

    With neither, the length it was granted runs again from now.
    """

    ref: str
    add: int | None = None
    lifetime: Lifetime | None = None


@dataclass(frozen=True, slots=True)
class Reroute:
    """Choose the path of a mapping anew, because the network is another than when it was chosen."""

    ref: str


@dataclass(frozen=True, slots=True)
class Close:
    """End a mapping; `now` ends its flows without their grace."""

    ref: str
    now: bool = False


@dataclass(frozen=True, slots=True)
class Define:
    """Set the prefixes of a named list of sources; None removes it. `restore` gives it its owner back."""

    name: str
    prefixes: tuple[IPNetwork, ...] | None
    restore: Owner | None = None


@dataclass(frozen=True, slots=True)
class Configure:
    """Make this machine a gateway on these terms, or with None no longer one."""

    gateway: Gateway | None


@dataclass(frozen=True, slots=True)
class PutBan:
    """Keep a prefix out, of everything, until `expires_at` (Unix seconds; None is until it is lifted)."""

    prefix: IPNetwork
    expires_at: int | None
    reason: str = ""
    restore: Owner | None = None


@dataclass(frozen=True, slots=True)
class LiftBan:
    """End a ban."""

    prefix: IPNetwork


OneChange = (
    Submit
    | Change
    | Renew
    | Reroute
    | Close
    | Define
    | Configure
    | PutBan
    | LiftBan
    | Obtain
    | Release
    | Adopt
    | DisableDoor
    | SetPermissions
    | AddLink
    | RemoveLink
    | Bind
    | Unbind
)
"""Asks that come to one change at most."""

Ask = OneChange | EnableDoor | PutUser | RemoveUser


@dataclass(frozen=True, slots=True)
class Caller:
    """The way an asker came to this machine: a TCP connection, as `SSH_CONNECTION` tells it (sshd(8)).

    A change that would keep this very way from being used again is not left standing unconfirmed.
    """

    source: IPAddress
    sport: int
    destination: IPAddress
    dport: int


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, through which door, and why: what the journal keeps beside a change."""

    actor: Owner
    door: str
    why: str = ""
    caller: Caller | None = None
    """None where the asker sits at this machine, or cannot be seen to come by a connection."""
    text: str = ""
    """Of a config file that asks: the digest of its text."""
