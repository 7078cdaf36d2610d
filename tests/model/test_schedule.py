"""Hours in local time, across daylight-saving changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.model.errors import Problem
from sekimori.model.schedule import Schedule, Window
from sekimori.testing.strategies import schedules

WORKDAYS = (0, 1, 2, 3, 4)
ALL = tuple(range(7))


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "windows", "shown"),
    [
        ("mon-fri/09:00-18:00", (Window(WORKDAYS, 540, 1080),), "mon-fri/09:00-18:00"),
        ("weekdays/9-18", (Window(WORKDAYS, 540, 1080),), "mon-fri/09:00-18:00"),
        ("weekends/0:30-1", (Window((5, 6), 30, 60),), "sat,sun/00:30-01:00"),
        ("daily/22:00-06:00", (Window(ALL, 1320, 360),), "daily/22:00-06:00"),
        ("22:00-06:00", (Window(ALL, 1320, 360),), "daily/22:00-06:00"),
        ("everyday/00:00-24:00", (Window(ALL, 0, 1440),), "daily/00:00-24:00"),
        ("fri-mon/10:00-11:00", (Window((0, 4, 5, 6), 600, 660),), "mon,fri,sat,sun/10:00-11:00"),
        ("mon,wed/09:00-12:00", (Window((0, 2), 540, 720),), "mon,wed/09:00-12:00"),
        (
            "Mon, Wed/09:00-12:00, sat/10:00-11:00",
            (Window((0, 2), 540, 720), Window((5,), 600, 660)),
            "mon,wed/09:00-12:00,sat/10:00-11:00",
        ),
        ("mon/18:00-24:00", (Window((0,), 1080, 1440),), "mon/18:00-24:00"),
    ],
)
def test_hours_are_read(text: str, windows: tuple[Window, ...], shown: str) -> None:
    schedule = Schedule.parse(text, "UTC")
    assert (schedule.windows, str(schedule)) == (windows, shown)
    assert Schedule.parse(shown, "UTC") == schedule


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it names no time"),
        (" , ", "it names no time"),
        ("mon-fri", "'mon-fri' has no times"),
        ("09:00-18:00,mon", "'mon' has no times"),
        ("mon/09:00", "'09:00' is not a span of times"),
        ("mon/09:00-18:00-20:00", "'09:00-18:00-20:00' is not a span of times"),
        ("mon/25:00-26:00", "25:00 is not a time of day"),
        ("mon/09:60-10:00", "09:60 is not a time of day"),
        ("mon/09:00-24:01", "24:01 is not a time of day"),
        ("mon/09:00-09:00", "'09:00-09:00' is no time at all; for the whole day write 00:00-24:00"),
        ("mon/24:00-06:00", "'24:00-06:00' is no time at all; for the whole day write 00:00-24:00"),
        ("holidays/09:00-10:00", "'holidays' is not a day; write mon to sun, or daily"),
        ("mon-/09:00-10:00", "'mon-' is not a day; write mon to sun, or daily"),
        ("/09:00-10:00", "'' is not a day; write mon to sun, or daily"),
    ],
)
def test_what_are_no_hours_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        Schedule.parse(text, "UTC")
    assert (caught.value.code, caught.value.fact("why")) == ("bad-hours", why)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(Problem) as caught:
        Schedule.parse("daily/09:00-10:00", zone)
    assert (caught.value.code, caught.value.fact("key")) == ("bad-value", "zone")


@given(schedules())
def test_hours_are_read_back(schedule: Schedule) -> None:
    assert Schedule.parse(str(schedule), schedule.zone) == schedule


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        ("mon-fri/09:00-18:00", "2025-06-18 08:59:59", False),
        ("mon-fri/09:00-18:00", "2025-06-18 09:00", True),
        ("mon-fri/09:00-18:00", "2025-06-18 17:59:59", True),
        ("mon-fri/09:00-18:00", "2025-06-18 18:00", False),
        ("mon-fri/09:00-18:00", "2025-06-21 12:00", False),
        # Past midnight it is still Friday's window, and Monday has none from Sunday.
        ("fri/22:00-06:00", "2025-06-21 05:59", True),
        ("fri/22:00-06:00", "2025-06-20 05:59", False),
        ("daily/00:00-24:00", "2025-06-18 00:00", True),
        ("daily/00:00-24:00", "2026-03-29 03:00", True),
        ("sun/00:00-24:00", "2026-03-29 23:59:59", True),
        ("sun/00:00-24:00", "2026-03-30 00:00", False),
    ],
)
def test_a_window_is_open_by_the_clock_on_the_wall(hours: str, moment: str, is_open: bool) -> None:
    assert Schedule.parse(hours, "Europe/Berlin").is_open(at(moment)) is is_open


@pytest.mark.parametrize(
    ("zone", "day", "hours_long"),
    [
        ("Europe/Berlin", "2026-03-29", 23.0),
        ("Europe/Berlin", "2026-10-25", 25.0),
        ("America/New_York", "2026-03-08", 23.0),
        ("America/New_York", "2026-11-01", 25.0),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Asia/Tokyo", "2026-03-29", 24.0),
    ],
)
def test_a_whole_day_is_as_long_as_that_day_is(zone: str, day: str, hours_long: float) -> None:
    name = datetime.fromisoformat(day).strftime("%a").lower()
    schedule = Schedule.parse(f"{name}/00:00-24:00", zone)
    begins = schedule.next_change(at(f"{day} 00:00", zone) - 60)
    assert begins == at(f"{day} 00:00", zone)
    ends = schedule.next_change(begins)
    assert ends is not None
    assert (ends - begins) / 3600 == hours_long


@pytest.mark.parametrize(
    ("hours", "opens", "closes"),
    [
        # 02:30 does not come on that day: the moment an hour later is meant (PEP 495).
        ("daily/02:30-05:00", "2026-03-29T03:30:00+02:00", "2026-03-29T05:00:00+02:00"),
        ("daily/01:00-02:30", "2026-03-29T01:00:00+01:00", "2026-03-29T03:30:00+02:00"),
        # 02:30 comes twice: it opens at the first and closes at the first.
        ("sun/02:30-05:00", "2026-10-25T02:30:00+02:00", "2026-10-25T05:00:00+01:00"),
        ("sun/01:00-02:30", "2026-10-25T01:00:00+02:00", "2026-10-25T02:30:00+02:00"),
    ],
)
def test_windows_that_begin_or_end_in_a_gap_or_a_fold(hours: str, opens: str, closes: str) -> None:
    schedule = Schedule.parse(hours, "Europe/Berlin")
    begin = datetime.fromisoformat(opens).timestamp()
    assert schedule.next_change(begin - 1800) == begin
    assert schedule.next_change(begin) == datetime.fromisoformat(closes).timestamp()


def test_a_weekly_window_is_seen_a_week_ahead() -> None:
    schedule = Schedule.parse("mon/09:00-10:00", "Europe/Berlin")
    over = at("2026-03-23 10:00")
    assert schedule.next_change(over) == at("2026-03-30 09:00")


def test_what_is_always_open_never_changes() -> None:
    for hours in ("daily/00:00-24:00", "daily/00:00-12:00,daily/12:00-24:00", "daily/12:00-00:00,daily/0-12"):
        schedule = Schedule.parse(hours, "Europe/Berlin")
        assert schedule.next_change(at("2026-03-29 01:59")) is None
        assert schedule.is_open(at("2026-03-29 03:00"))


# Weeks in which the clocks change, where they do.
WEEKS = ("2026-03-07", "2026-03-27", "2026-04-03", "2026-10-02", "2026-10-23", "2026-10-30")


@settings(max_examples=12, deadline=None)
@given(schedules(), st.sampled_from(WEEKS), st.integers(0, 86399))
def test_the_next_change_is_what_a_scan_finds(schedule: Schedule, day: str, second: int) -> None:
    now = at(day, schedule.zone) + second
    found = schedule.next_change(now)
    here = schedule.is_open(now)
    # Every edge lies on a whole minute, so looking at each minute misses none.
    minute = now // 60 * 60 + 60
    for _ in range(2 * 1440):
        if schedule.is_open(minute) is not here:
            assert found == minute
            return
        minute += 60
    assert found is None or found >= minute


def _by_the_wall(schedule: Schedule, now: float) -> bool:
    """Whether the clock on the wall stands within a window: right wherever no clock is changed."""
    local = datetime.fromtimestamp(now, ZoneInfo(schedule.zone))
    minute = local.hour * 60 + local.minute
    yesterday = (local - timedelta(days=1)).weekday()
    for window in schedule.windows:
        if window.end > window.start:
            found = local.weekday() in window.days and window.start <= minute < window.end
        else:
            found = (local.weekday() in window.days and minute >= window.start) or (
                yesterday in window.days and minute < window.end
            )
        if found:
            return True
    return False


@settings(deadline=None)
@given(schedules(), st.integers(0, 7 * 86400))
def test_being_open_agrees_with_the_wall_clock(schedule: Schedule, second: int) -> None:
    now = at("2026-06-15", "UTC") + second  # no clock changes in any zone this week
    assert schedule.is_open(now) is _by_the_wall(schedule, now)
