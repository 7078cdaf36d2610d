"""Until when: durations, times and the lifetime every mapping has.

Instants are Unix seconds (UTC). Local time comes in only where a person writes
it, with the zone as an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from sekimori.model.causes import cause
from sekimori.model.errors import Problem

__all__ = [
    "Asked",
    "Lifetime",
    "format_duration",
    "format_instant",
    "parse_duration",
    "parse_instant",
    "tell_instant",
]

_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN: Final = {unit: size for unit, size in _UNITS.items() if unit != "w"}
_IN_HOURS: Final = {unit: size for unit, size in _WRITTEN.items() if unit != "d"}
_IN_DAYS: Final = 2 * 86400
_DURATION = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_LONGEST: Final = 10 * 365 * 86400
"""Ten years: beyond it a lifetime is a permanent one in disguise."""


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `2h`, `1d12h`, `1w`.

    Raises:
        Problem: `bad-duration`.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise Problem("bad-duration", text=text, why=cause("not-a-duration"))
    seconds = sum(
        int(count) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True) if count
    )
    if seconds == 0:
        raise Problem("bad-duration", text=text, why=cause("no-time"))
    if seconds > _LONGEST:
        raise Problem("bad-duration", text=text, why=cause("too-long"))
    return seconds


def format_duration(seconds: int) -> str:
    """The text that reads best of those that `parse_duration` reads back.

    Weeks are never written, and days only from two on: `24h` and `36h`, `30d`.
    """
    text = ""
    for unit, size in _WRITTEN.items() if seconds >= _IN_DAYS else _IN_HOURS.items():
        count, seconds = divmod(seconds, size)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def parse_instant(text: str, now: float, zone: ZoneInfo) -> int:
    """Unix seconds of a time as people write it, in `zone` unless it names its own offset.

    `2026-12-01` ends with that day; `18:00` is the next one; a time that the clocks skip
    is read as the moment after the gap, one that comes twice as the first (PEP 495).

    Raises:
        Problem: `bad-time`, also when it is not ahead of `now`.
    """
    words = text.strip().lower()
    today = datetime.fromtimestamp(now, zone).date()
    try:
        instant = int(_read_moment(words, today, now, zone).timestamp())
    except (ValueError, OverflowError):  # the calendar ends with the year 9999
        raise Problem("bad-time", text=text, why=cause("not-a-time")) from None
    if instant <= now:
        raise Problem("bad-time", text=text, why=cause("passed"))
    if instant - now > _LONGEST:
        raise Problem("bad-time", text=text, why=cause("too-far"))
    return instant


def format_instant(instant: float, zone: ZoneInfo | None = None) -> str:
    """ISO 8601 with its offset, to the second (in UTC unless a zone is given)."""
    return datetime.fromtimestamp(int(instant), zone or UTC).isoformat()


def tell_instant(instant: float) -> str:
    """An instant as a sentence has it, to the minute: `2026-12-01 18:00 UTC`."""
    return f"{datetime.fromtimestamp(int(instant), UTC):%Y-%m-%d %H:%M} UTC"


def _read_moment(words: str, today: date, now: float, zone: ZoneInfo) -> datetime:
    if words == "tonight":
        return _end_of(today, zone)
    day = {"today": today, "tomorrow": today + timedelta(days=1)}.get(words.split(" ")[0])
    if day is not None:
        _, _, rest = words.partition(" ")
        return datetime.combine(day, _read_clock(rest.strip()), zone) if rest else _end_of(day, zone)
    if _CLOCK.fullmatch(words):
        at = datetime.combine(today, _read_clock(words), zone)
        return at if at.timestamp() > now else datetime.combine(today + timedelta(days=1), at.time(), zone)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", words):
        return _end_of(date.fromisoformat(words), zone)
    if ":" not in words:
        raise ValueError(words)  # `20261201` would be the beginning of the day that `2026-12-01` ends
    moment = datetime.fromisoformat(words.upper())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _read_clock(words: str) -> time:
    if not _CLOCK.fullmatch(words):
        raise ValueError(words)
    return time.fromisoformat(words.zfill(5))


def _end_of(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(0), zone)


class Asked(StrEnum):
    """How a lifetime was asked for."""

    FOR = "for"
    UNTIL = "until"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Until when a mapping stands, and how that was asked for.

    Attributes:
        asked: for a duration, until a time, or permanent.
        value: the duration in text, the time in ISO 8601, or the written reason.
        expires_at: Unix seconds; None only when permanent.
    """

    asked: Asked
    value: str
    expires_at: int | None

    @classmethod
    def lasting(cls, seconds: int, now: float) -> Lifetime:
        """A lifetime of `seconds` from `now`."""
        return cls(Asked.FOR, format_duration(seconds), int(now) + seconds)

    @classmethod
    def until(cls, instant: int) -> Lifetime:
        """A lifetime that ends at `instant`."""
        return cls(Asked.UNTIL, format_instant(instant), instant)

    @classmethod
    def permanent(cls, reason: str) -> Lifetime:
        """A lifetime without an end, for a written reason.

        Raises:
            Problem: `bad-value`, when the reason is blank.
        """
        if not reason.strip():
            raise Problem("bad-value", key="permanent", text="''", why=cause("no-reason"))
        return cls(Asked.PERMANENT, reason.strip(), None)

    def has_ended(self, now: float) -> bool:
        """Whether the second of its end has come."""
        return self.expires_at is not None and now >= self.expires_at

    def renewed(self, now: float) -> Lifetime:
        """The same length again from `now`, where it was a length that was asked for."""
        if self.asked is not Asked.FOR:
            return self
        return Lifetime.lasting(parse_duration(self.value), now)
