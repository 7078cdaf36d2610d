"""What any door may ask, as values; and the one reader of the words they are written in.

The CLI's flags, the API's fields and the config file's keys are the same words,
so they are read here once.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from sekimori.model.address import (
    IPAddress,
    IPNetwork,
    On,
    PortRange,
    PortSpec,
    Span,
    looks_like_ports,
    parse_on,
    parse_ports,
    parse_spans,
)
from sekimori.model.causes import cause, near
from sekimori.model.door import DisableDoor, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.lease import Adopt, Obtain, Release
from sekimori.model.lifetime import Asked, Lifetime, parse_duration, parse_instant
from sekimori.model.limits import Rate
from sekimori.model.mapping import Mapping, Owner, check_name
from sekimori.model.permission import SetPermissions
from sekimori.model.preset import Preset
from sekimori.model.schedule import Schedule, load_zone
from sekimori.model.source import Sources
from sekimori.model.target import Target, parse_target

__all__ = [
    "FIELDS",
    "UNSAID",
    "Ask",
    "Caller",
    "Change",
    "Close",
    "Configure",
    "Context",
    "Define",
    "LiftBan",
    "PutBan",
    "Reading",
    "Renew",
    "Reroute",
    "Submit",
    "Unsaid",
    "Wish",
    "parse_wish",
]


_T = TypeVar("_T")


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
    per_source: Rate | Unsaid | None = UNSAID
    total: Rate | Unsaid | None = UNSAID
    connections: int | Unsaid | None = UNSAID
    proxy_protocol: int | Unsaid = UNSAID
    idle: int | Unsaid | None = UNSAID
    trigger: tuple[Span, ...] | Unsaid | None = UNSAID
    hold: int | Unsaid | None = UNSAID
    excepted: tuple[Span, ...] | Unsaid | None = UNSAID
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


Ask = (
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
    | EnableDoor
    | DisableDoor
    | SetPermissions
)


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


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading words takes: the time, the local zone, and the presets."""

    now: float
    zone: str
    preset: Callable[[str], Preset | None]
    suggest: Callable[[str], tuple[str, ...]] = lambda _name: ()


FIELDS: Final = (
    "name",
    "ports",
    "to",
    "from",
    "for",
    "until",
    "permanent",
    "hours",
    "on",
    "via",
    "limit",
    "limit_total",
    "max_connections",
    "proxy_protocol",
    "idle",
    "trigger",
    "hold",
    "except",
    "log",
    "accept_risk",
)
"""The words a mapping is written in, in the order people read them."""

_MOST_CONNECTIONS: Final = 1_000_000
_NONE: Final = frozenset({"none", "any", "off", "unlimited", ""})
_SWITCH: Final = {
    "on": True,
    "yes": True,
    "true": True,
    "off": False,
    "no": False,
    "false": False,
    "none": False,
}


def parse_wish(fields: MappingABC[str, object], reading: Reading) -> Wish:
    """Read the words of `FIELDS` (text, or numbers where they are numbers) into a wish.

    A word whose value is None is one that was not said.

    Raises:
        Problem: the first word that cannot be read, by its own code.
    """
    said = {key: value for key, value in fields.items() if value is not None}
    specs, preset = _read_ports(said, reading)
    target, inside = _read_target(said)
    return Wish(
        name=check_name(_word(said, "name")) if "name" in said else UNSAID,
        specs=specs,
        preset=preset,
        target=target,
        inside=inside,
        sources=Sources.parse(_listed(said, "from")) if "from" in said else UNSAID,
        lifetime=read_lifetime(said, reading),
        schedule=_optional(said, "hours", lambda text: Schedule.parse(text, reading.zone)),
        on=_optional(said, "on", parse_on),
        via=_word(said, "via").lower() if "via" in said else UNSAID,
        per_source=_optional(said, "limit", Rate.parse),
        total=_optional(said, "limit_total", Rate.parse),
        connections=_optional(said, "max_connections", _count),
        proxy_protocol=_read_proxy_protocol(said),
        idle=_optional(said, "idle", parse_duration),
        trigger=_spans(said, "trigger"),
        hold=_optional(said, "hold", parse_duration),
        excepted=_spans(said, "except"),
        log=_read_switch(said, "log"),
        accepted_risks=_read_risks(said),
    )


def read_lifetime(said: MappingABC[str, object], reading: Reading) -> Lifetime | Unsaid:
    """The lifetime in `for`, `until` or `permanent`; UNSAID without any.

    Raises:
        Problem: `exclusive` when two are given, or what their readers raise.
    """
    given = [key for key in ("for", "until", "permanent") if said.get(key) is not None]
    if len(given) > 1:
        raise Problem("exclusive", first=f"--{given[0]}", second=f"--{given[1]}")
    if not given:
        return UNSAID
    text = _word(said, given[0])
    match Asked(given[0]):
        case Asked.FOR:
            return Lifetime.lasting(parse_duration(text), reading.now)
        case Asked.UNTIL:
            return Lifetime.until(parse_instant(text, reading.now, load_zone(reading.zone)))
        case Asked.PERMANENT:
            return Lifetime.permanent(text)


def _read_ports(
    said: MappingABC[str, object], reading: Reading
) -> tuple[tuple[PortSpec, ...] | Unsaid, Preset | Unsaid | None]:
    if "ports" not in said:
        return UNSAID, UNSAID
    text = _listed(said, "ports")
    if not text or looks_like_ports(text):
        return parse_ports(text), None
    preset = reading.preset(text)
    if preset is None:
        raise Problem("no-such-preset", name=text, near=near(reading.suggest(text)))
    return tuple(spec for ports in preset.ports for spec in parse_ports(ports)), preset


def _read_target(said: MappingABC[str, object]) -> tuple[Target | Unsaid, PortRange | None]:
    return parse_target(_word(said, "to")) if "to" in said else (UNSAID, None)


def _read_proxy_protocol(said: MappingABC[str, object]) -> int | Unsaid:
    if "proxy_protocol" not in said:
        return UNSAID
    text = str(said["proxy_protocol"]).lower().removeprefix("v")
    if text in _NONE or text == "0":
        return 0
    if text not in ("1", "2"):
        raise Problem("bad-value", key="proxy_protocol", text=text, why=cause("proxy-versions"))
    return int(text)


def _read_risks(said: MappingABC[str, object]) -> tuple[str, ...]:
    text = _listed(said, "accept_risk") if "accept_risk" in said else ""
    return tuple(sorted({word.strip().lower() for word in text.split(",") if word.strip()}))


def _optional(said: MappingABC[str, object], key: str, read: Callable[[str], _T]) -> _T | Unsaid | None:
    if key not in said:
        return UNSAID
    text = _word(said, key)
    return None if text.lower() in _NONE else read(text)


def _spans(said: MappingABC[str, object], key: str) -> tuple[Span, ...] | Unsaid | None:
    if key not in said:
        return UNSAID
    text = _listed(said, key)
    return None if text.lower() in _NONE else parse_spans(text)


def _read_switch(said: MappingABC[str, object], key: str) -> bool | Unsaid:
    value = said.get(key)
    if value is None:
        return UNSAID
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _SWITCH:
        raise Problem("bad-value", key=key, text=str(value), why=cause("not-a-switch"))
    return _SWITCH[text]


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_CONNECTIONS:
        why = cause("not-in-range", first=1, last=_MOST_CONNECTIONS)
        raise Problem("bad-value", key="max_connections", text=text, why=why)
    return int(text)


def _word(said: MappingABC[str, object], key: str) -> str:
    value = said[key]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Problem("bad-value", key=key, text=str(value), why=cause("not-text"))
    return str(value).strip()


def _listed(said: MappingABC[str, object], key: str) -> str:
    """A word that may also be written as a list of words."""
    value = said[key]
    if isinstance(value, list | tuple):
        return ",".join(_word({key: item}, key) for item in value)
    return _word(said, key)
