"""The one reader of the words that a grant is written in: by API, CLI and config file alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from typing import Any, Final, TypeVar

from sekimori.model.address import IPAddress, parse_address
from sekimori.model.causes import cause
from sekimori.model.destination import Destinations
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration, parse_duration
from sekimori.model.limits import Limits, Rate
from sekimori.model.source import Sources
from sekimori.model.user import Grant, parse_port_ranges

__all__ = ["GRANT_FIELDS", "format_size", "parse_grant", "parse_size", "words_of_grant"]

_T = TypeVar("_T")

GRANT_FIELDS: Final = (
    "ports",
    "on",
    "most",
    "from",
    "for",
    "hold",
    "limit",
    "limit_total",
    "max_connections",
    "quota",
    "quota_every",
    "to",
    "sessions",
    "accept_risk",
)
"""The words of a grant, in the order people read them."""

_NONE: Final = frozenset({"none", "any", "off", "unlimited"})
_MOST_PORTS: Final = 1000
_MOST_SESSIONS: Final = 1000
_MOST_CONNECTIONS: Final = 1_000_000
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"(\d{1,19})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_LARGEST: Final = 1 << 60


def parse_grant(fields: MappingABC[str, object], base: Grant | None = None) -> Grant:
    """Read words of `GRANT_FIELDS` (text, lists of text, or numbers where they are numbers).

    A word whose value is None is one that was not said: it is as in `base`, or else the least there is.

    Raises:
        Problem: `bad-value` or what their readers raise, of the first word that cannot be read.
    """
    said = {key: value for key, value in fields.items() if value is not None}
    unknown = next((key for key in said if key not in GRANT_FIELDS), None)
    if unknown is not None:
        raise Problem("bad-value", key=unknown, text=str(said[unknown]), why=cause("not-a-grant-word"))
    was = base or Grant()

    def word(key: str, read: Callable[[str], _T], otherwise: _T) -> _T:
        return read(_listed(key, said[key])) if key in said else otherwise

    return Grant(
        ports=word("ports", parse_port_ranges, was.ports),
        on=word("on", _read_on, was.on),
        most=word("most", _within("most", _MOST_PORTS), was.most),
        sources=word("from", Sources.parse, was.sources),
        lifetime=word("for", parse_duration, was.lifetime),
        hold=word("hold", _read_hold, was.hold),
        limits=Limits(
            word("limit", _unless_none(Rate.parse), was.limits.per_source),
            word("limit_total", _unless_none(Rate.parse), was.limits.total),
            word(
                "max_connections",
                _unless_none(_within("max_connections", _MOST_CONNECTIONS)),
                was.limits.connections,
            ),
        ),
        quota=word("quota", _unless_none(parse_size), was.quota),
        quota_every=word("quota_every", parse_duration, was.quota_every),
        destinations=word("to", Destinations.parse, was.destinations),
        sessions=word("sessions", _within("sessions", _MOST_SESSIONS), was.sessions),
        accepted_risks=word("accept_risk", _read_risks, was.accepted_risks),
    )


def words_of_grant(grant: Grant, base: Grant | None = None) -> dict[str, Any]:
    """The words that `parse_grant` reads back to the grant, without those that are as in `base` (or as they
    are where nothing is said).
    """
    was, limits = base or Grant(), grant.limits
    usual = was.limits
    said = {
        "ports": (grant.ports != was.ports, ",".join(map(str, grant.ports)) or "none"),
        "on": (grant.on != was.on, "any" if grant.on is None else [str(each) for each in grant.on]),
        "most": (grant.most != was.most, grant.most),
        "from": (grant.sources != was.sources, str(grant.sources or "lan").split(",")),
        "for": (grant.lifetime != was.lifetime, format_duration(grant.lifetime)),
        "hold": (grant.hold != was.hold, format_duration(grant.hold) if grant.hold else "none"),
        "limit": (limits.per_source != usual.per_source, str(limits.per_source or "none")),
        "limit_total": (limits.total != usual.total, str(limits.total or "none")),
        "max_connections": (limits.connections != usual.connections, limits.connections or "none"),
        "quota": (grant.quota != was.quota, "none" if grant.quota is None else format_size(grant.quota)),
        "quota_every": (grant.quota_every != was.quota_every, format_duration(grant.quota_every)),
        "to": (grant.destinations != was.destinations, str(grant.destinations).split(",")),
        "sessions": (grant.sessions != was.sessions, grant.sessions),
        "accept_risk": (grant.accepted_risks != was.accepted_risks, list(grant.accepted_risks)),
    }
    return {key: value for key, (differs, value) in said.items() if differs}


def parse_size(text: str) -> int:
    """Bytes of `500M` or `10G`: a whole number, in units of 1024.

    Raises:
        Problem: `bad-value`.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[match[2].upper()] if match is not None else 0
    if not 0 < size <= _LARGEST:
        raise Problem("bad-value", key="quota", text=text, why=cause("not-a-size"))
    return size


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads back."""
    unit = next(each for each in reversed(_UNITS) if size % _UNITS[each] == 0)
    return f"{size // _UNITS[unit]}{unit}"


def _read_on(text: str) -> tuple[IPAddress, ...] | None:
    if text.lower() == "any":  # an empty list, or `none`, is no way to say everywhere
        return None
    return tuple(dict.fromkeys(parse_address(part) for part in text.split(",")))


def _read_hold(text: str) -> int:
    return 0 if text.lower() in ("none", "0s", "0") else parse_duration(text)


def _read_risks(text: str) -> tuple[str, ...]:
    words = {word.strip().lower() for word in text.split(",") if word.strip()}
    return () if words == {"none"} else tuple(sorted(words))


def _unless_none(read: Callable[[str], _T]) -> Callable[[str], _T | None]:
    return lambda text: None if text.lower() in _NONE else read(text)


def _within(key: str, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= most:
            raise Problem("bad-value", key=key, text=text, why=cause("not-in-range", first=1, last=most))
        return int(text)

    return read


def _listed(key: str, value: object) -> str:
    """A word as text: it may also be written as a list of words."""
    if isinstance(value, list | tuple):
        return ",".join(_listed(key, each) for each in value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Problem("bad-value", key=key, text=str(value), why=cause("not-text"))
    return str(value).strip()
