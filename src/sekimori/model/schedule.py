"""Hours: weekly windows in local time, right across daylight-saving changes.

A window is wall-clock time, so each day's two ends are turned into instants by
themselves: on a 23- or 25-hour day a window begins and ends when the clock on
the wall says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = ["Schedule", "Window", "load_zone"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_GROUPS: Final = {
    "daily": range(7),
    "everyday": range(7),
    "weekdays": range(5),
    "weekends": range(5, 7),
}
_MINUTES: Final = 24 * 60


@lru_cache(maxsize=16)
def load_zone(key: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        Problem: `bad-value`, when no such zone is known.
    """
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Problem("bad-value", key="zone", text=key, why=cause("not-a-zone")) from None


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes `start` to `end` of a wall-clock day, on `days` (0 is Monday).

    `end` at or before `start` runs past midnight into the next day.
    """

    days: tuple[int, ...]
    start: int
    end: int

    def __str__(self) -> str:
        return f"{_format_days(self.days)}/{_format_minute(self.start)}-{_format_minute(self.end)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a mapping is open: the union of its windows, in `zone`."""

    windows: tuple[Window, ...]
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str) -> Schedule:
        """Read `mon-fri/09:00-18:00`, `daily/22:00-06:00`, several with commas.

        Raises:
            Problem: `bad-hours`, or `bad-value` for an unknown zone.
        """
        load_zone(zone)
        try:
            windows = tuple(_parse_window(part) for part in _split_windows(text))
        except Unreadable as error:
            raise Problem("bad-hours", text=text, why=error.why) from None
        return cls(windows, zone)

    def is_open(self, now: float) -> bool:
        """Whether `now` lies in a window."""
        return any(start <= now < end for start, end in self._spans(now))

    def next_change(self, now: float) -> float | None:
        """The next instant at which `is_open` changes; None when it never does."""
        here = self.is_open(now)
        edges = sorted({edge for span in self._spans(now) for edge in span if edge > now})
        return next((edge for edge in edges if self.is_open(edge) is not here), None)

    def _spans(self, now: float) -> Iterator[tuple[float, float]]:
        zone = load_zone(self.zone)
        today = datetime.fromtimestamp(now, zone).date()
        # A day back for windows that run past midnight, eight ahead to see a weekly one return.
        for offset in range(-2, 9):
            day = today + timedelta(days=offset)
            for window in self.windows:
                if day.weekday() in window.days:
                    end_day = day + timedelta(days=1) if window.end <= window.start else day
                    yield _instant(day, window.start, zone), _instant(end_day, window.end, zone)

    def __str__(self) -> str:
        return ",".join(map(str, self.windows))


def _instant(day: date, minute: int, zone: ZoneInfo) -> float:
    if minute == _MINUTES:
        day, minute = day + timedelta(days=1), 0
    # A wall time that the clocks skip is read with the offset before the gap, which is the moment
    # after it; one that comes twice is the first of the two (fold 0, PEP 495).
    return datetime.combine(day, time(minute // 60, minute % 60), zone).astimezone(UTC).timestamp()


def _split_windows(text: str) -> list[str]:
    # 'mon,wed/09:00-12:00' has a comma inside its days: a part without '/' belongs to the next.
    parts: list[str] = []
    pending = ""
    for piece in text.lower().replace(" ", "").split(","):
        pending = f"{pending},{piece}" if pending else piece
        if "/" in piece or ":" in piece:
            parts.append(pending)
            pending = ""
    if pending:
        raise Unreadable("no-times", text=pending)
    if not parts:
        raise Unreadable("names-no-time")
    return parts


def _parse_window(text: str) -> Window:
    days, slash, hours = text.rpartition("/")
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?", hours)
    if match is None:
        raise Unreadable("not-a-span", text=hours)
    start = _parse_minute(match[1], match[2])
    end = _parse_minute(match[3], match[4])
    if start in (_MINUTES, end):
        raise Unreadable("empty-span", text=hours)
    return Window(_parse_days(days) if slash else tuple(range(7)), start, end)


def _parse_minute(hour: str, minute: str | None) -> int:
    value = int(hour) * 60 + int(minute or 0)
    if int(minute or 0) > 59 or value > _MINUTES:
        raise Unreadable("not-a-clock", text=f"{hour}:{minute or '00'}")
    return value


def _parse_days(text: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in text.split(","):
        if part in _GROUPS:
            days.update(_GROUPS[part])
            continue
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise Unreadable("not-a-day", text=part)
        low, high = _DAYS.index(first), _DAYS.index(last) if dash else _DAYS.index(first)
        days.update(range(low, high + 1) if low <= high else [*range(low, 7), *range(high + 1)])
    return tuple(sorted(days))


def _format_days(days: tuple[int, ...]) -> str:
    if days == tuple(range(7)):
        return "daily"
    if len(days) > 2 and days == tuple(range(days[0], days[-1] + 1)):
        return f"{_DAYS[days[0]]}-{_DAYS[days[-1]]}"
    return ",".join(_DAYS[day] for day in days)


def _format_minute(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
