"""The one reader of the words that a mapping is asked for in.

The CLI's flags, the API's fields and the config file's keys are the same words,
so they are read here once.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Final, TypeVar

from sekimori.model.address import (
    IpProtocol,
    On,
    PortRange,
    PortSpec,
    Span,
    UnixPath,
    looks_like_ports,
    parse_on,
    parse_ports,
    parse_spans,
    parse_unix_path,
)
from sekimori.model.causes import Unreadable, cause, near
from sekimori.model.destination import Destinations
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Asked, Lifetime, parse_duration, parse_instant
from sekimori.model.limits import Rate
from sekimori.model.link import check_link_name
from sekimori.model.mapping import check_name
from sekimori.model.preset import Preset
from sekimori.model.request import UNSAID, Unsaid, Wish
from sekimori.model.schedule import Schedule, load_zone
from sekimori.model.socks import Verifier, make_verifier
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind, parse_target

__all__ = ["FIELDS", "Reading", "parse_wish", "read_lifetime"]

_T = TypeVar("_T")


def _no_salt() -> bytes:
    raise RuntimeError("this reader was given no salts, so it cannot read passwords")


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading words takes: the time, the local zone, the presets, and a new salt for each password."""

    now: float
    zone: str
    preset: Callable[[str], Preset | None]
    suggest: Callable[[str], tuple[str, ...]] = lambda _name: ()
    salt: Callable[[], bytes] = _no_salt


FIELDS: Final = (
    "name",
    "ports",
    "to",
    "socks",
    "from",
    "for",
    "until",
    "permanent",
    "hours",
    "on",
    "via",
    "at",
    "limit",
    "limit_total",
    "max_connections",
    "proxy_protocol",
    "idle",
    "trigger",
    "hold",
    "except",
    "socks_user",
    "reach",
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
    specs, preset, path = _read_ports(said, reading)
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
        on=_read_on(said, path),
        via=_word(said, "via").lower() if "via" in said else UNSAID,
        at=_optional(said, "at", check_link_name),
        per_source=_optional(said, "limit", Rate.parse),
        total=_optional(said, "limit_total", Rate.parse),
        connections=_optional(said, "max_connections", _count),
        proxy_protocol=_read_proxy_protocol(said),
        idle=_optional(said, "idle", parse_duration),
        trigger=_spans(said, "trigger"),
        hold=_optional(said, "hold", parse_duration),
        excepted=_spans(said, "except"),
        socks_users=_read_users(said, reading),
        reach=Destinations.parse(_listed(said, "reach")) if "reach" in said else UNSAID,
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
) -> tuple[tuple[PortSpec, ...] | Unsaid, Preset | Unsaid | None, UnixPath | None]:
    """What is to be opened: ports, those of a preset, or a path."""
    if "ports" not in said:
        return UNSAID, UNSAID, None
    text = _listed(said, "ports")
    if text.startswith("unix:/"):
        return parse_ports(IpProtocol.UNIX), None, _read_path(text)
    if not text or looks_like_ports(text):
        return parse_ports(text), None, None
    preset = reading.preset(text)
    if preset is None:
        raise Problem("no-such-preset", name=text, near=near(reading.suggest(text)))
    return tuple(spec for ports in preset.ports for spec in parse_ports(ports)), preset, None


def _read_path(text: str) -> UnixPath:
    try:
        if "," in text:  # where ports stand several, and whether it is one more or in the path is a guess
            raise Unreadable("unix-alone")
        return parse_unix_path(text)
    except Unreadable as error:
        raise Problem("bad-ports", text=text, why=error.why) from None


def _read_on(said: MappingABC[str, object], path: UnixPath | None) -> On | Unsaid | None:
    """The place that was said; of what is opened by its path it is the path, and of new ports no path."""
    on = _optional(said, "on", parse_on)
    if path is None:
        return on
    if on not in (UNSAID, None, path):
        raise Problem("exclusive", first="--on", second=str(path))
    return path


def _read_target(said: MappingABC[str, object]) -> tuple[Target | Unsaid, PortRange | None]:
    if _read_switch(said, "socks") is True:
        if "to" in said:
            raise Problem("exclusive", first="--to", second="--socks")
        return Target.parse_host(TargetKind.SOCKS), None
    return parse_target(_word(said, "to")) if "to" in said else (UNSAID, None)


def _read_users(said: MappingABC[str, object], reading: Reading) -> tuple[Verifier, ...] | Unsaid | None:
    """Who may, from `NAME:PASSWORD` each. A password may hold a comma, so a text that has one is one user."""
    if "socks_user" not in said:
        return UNSAID
    value = said["socks_user"]
    texts = [_word({"socks_user": each}, "socks_user") for each in _each(value)]
    if [text.lower() for text in texts] in ([], ["none"], [""]):
        return None
    users = {each.name: each for each in (make_verifier(text, reading.salt()) for text in texts)}
    if len(users) < len(texts):
        raise Problem("bad-value", key="socks_user", text=", ".join(sorted(users)), why=cause("user-twice"))
    return tuple(sorted(users.values()))


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


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
