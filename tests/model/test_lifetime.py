"""Durations, times as people write them, and lifetimes."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.model.errors import Problem
from sekimori.model.lifetime import (
    Asked,
    Lifetime,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
TEN_YEARS = 10 * 365 * 86400


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("2h", 7200),
        ("1d12h", 129600),
        ("1w", 604800),
        ("1W2d3h4m5s", 788645),
        (" 30m ", 1800),
        ("3650d", TEN_YEARS),
        ("0h1s", 1),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a number with a unit"),
        ("90", "not a number with a unit"),
        ("h", "not a number with a unit"),
        ("1.5h", "not a number with a unit"),
        ("-1h", "not a number with a unit"),
        ("12h1d", "not a number with a unit"),
        ("1h 30m", "not a number with a unit"),
        ("2 hours", "not a number with a unit"),
        ("0s", "no time at all"),
        ("0d0h", "no time at all"),
        ("3651d", "more than ten years"),
        ("999999w", "more than ten years"),
    ],
)
def test_what_is_no_duration_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_duration(text)
    assert caught.value.code == "bad-duration"
    assert why in str(caught.value.fact("why"))


@given(st.integers(1, TEN_YEARS))
def test_durations_are_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("24h", "24h"),
        ("1d", "24h"),
        ("36h", "36h"),
        ("1d12h30m", "36h30m"),
        ("48h", "2d"),
        ("30d", "30d"),
        ("4w2d", "30d"),
        ("1w", "7d"),
        ("400d", "400d"),
        ("2d5m", "2d5m"),
        ("90m", "1h30m"),
        ("90s", "1m30s"),
    ],
)
def test_durations_are_told_in_hours_up_to_two_days_and_never_in_weeks(typed: str, told: str) -> None:
    assert format_duration(parse_duration(typed)) == told


def test_no_duration_is_still_told() -> None:
    assert format_duration(0) == "0s"


# A Wednesday, 12:00 in Berlin (summer time, UTC+2).
NOON = at("2025-06-18T12:00:00+02:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-06-18", "2025-06-19T00:00:00+02:00"),
        ("2025-12-01", "2025-12-02T00:00:00+01:00"),
        ("18:00", "2025-06-18T18:00:00+02:00"),
        ("12:01", "2025-06-18T12:01:00+02:00"),
        ("12:00", "2025-06-19T12:00:00+02:00"),
        ("9:30", "2025-06-19T09:30:00+02:00"),
        ("tonight", "2025-06-19T00:00:00+02:00"),
        ("today", "2025-06-19T00:00:00+02:00"),
        ("today 18:00", "2025-06-18T18:00:00+02:00"),
        ("tomorrow", "2025-06-20T00:00:00+02:00"),
        ("Tomorrow 09:00", "2025-06-19T09:00:00+02:00"),
        ("tomorrow  9:00", "2025-06-19T09:00:00+02:00"),
        ("2025-12-01 18:00", "2025-12-01T18:00:00+01:00"),
        ("2025-12-01T18:00", "2025-12-01T18:00:00+01:00"),
        ("2025-12-01T18:00:30", "2025-12-01T18:00:30+01:00"),
        ("2025-12-01T18:00Z", "2025-12-01T18:00:00+00:00"),
        ("2025-12-01t18:00-05:00", "2025-12-01T18:00:00-05:00"),
    ],
)
def test_times_are_read(text: str, moment: str) -> None:
    assert parse_instant(text, NOON, BERLIN) == at(moment)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not a time"),
        ("soon", "it is not a time"),
        ("25:00", "it is not a time"),
        ("tomorrow noon", "it is not a time"),
        ("tomorrow 09:00+05:00", "it is not a time"),
        ("tomorrow 09:00 sharp", "it is not a time"),
        ("2025-13-01", "it is not a time"),
        ("20261201", "it is not a time"),
        ("2026-W49", "it is not a time"),
        ("9999-12-31", "it is not a time"),
        ("2025-06-17", "it has passed"),
        ("2025-06-18 12:00", "it has passed"),
        ("today 11:59", "it has passed"),
        ("0001-01-01T00:00", "it has passed"),
        ("2035-07-01", "it is more than ten years away; use --permanent with a reason"),
    ],
)
def test_what_is_no_time_ahead_is_refused(text: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_instant(text, NOON, BERLIN)
    assert (caught.value.code, caught.value.fact("why")) == ("bad-time", why)


@pytest.mark.parametrize(
    ("zone", "text", "moment"),
    [
        # Clocks went from 02:00 to 03:00: read with the offset before the gap (PEP 495).
        (BERLIN, "2026-03-29 02:30", "2026-03-29T03:30:00+02:00"),
        (NEW_YORK, "2026-03-08 02:30", "2026-03-08T03:30:00-04:00"),
        # And back from 03:00 (02:00 in New York): the first of the two.
        (BERLIN, "2026-10-25 02:30", "2026-10-25T02:30:00+02:00"),
        (NEW_YORK, "2026-11-01 01:30", "2026-11-01T01:30:00-04:00"),
        # Half an hour only, from 02:00 back to 01:30.
        (ZoneInfo("Australia/Lord_Howe"), "2026-04-05 01:45", "2026-04-05T01:45:00+11:00"),
        (ZoneInfo("Australia/Lord_Howe"), "2026-10-04 02:15", "2026-10-04T02:45:00+11:00"),
        # A day of 23 hours ends at its own midnight.
        (BERLIN, "2026-03-29", "2026-03-30T00:00:00+02:00"),
    ],
)
def test_times_in_the_hours_that_clocks_skip_or_repeat(zone: ZoneInfo, text: str, moment: str) -> None:
    assert parse_instant(text, NOON, zone) == at(moment)


def test_a_time_of_day_between_its_two_comings_is_tomorrows() -> None:
    # 02:30 has been once, in summer time; the one an hour later is not taken for a new one.
    between = at("2026-10-25T02:40:00+02:00")
    assert parse_instant("02:30", between, BERLIN) == at("2026-10-26T02:30:00+01:00")


@given(st.text(max_size=16))
def test_any_text_is_a_time_or_a_problem(text: str) -> None:
    code, instant = "", NOON + 1
    try:
        instant = parse_instant(text, NOON, BERLIN)
    except Problem as problem:
        code = problem.code
    assert code in {"", "bad-time"}
    assert NOON < instant <= NOON + TEN_YEARS


def test_instants_are_told_in_utc_unless_a_zone_is_given() -> None:
    assert format_instant(0.9) == "1970-01-01T00:00:00+00:00"
    assert format_instant(NOON, BERLIN) == "2025-06-18T12:00:00+02:00"
    assert datetime.fromisoformat(format_instant(NOON)).astimezone(UTC).timestamp() == NOON


def test_a_lifetime_ends_at_its_second() -> None:
    lifetime = Lifetime.lasting(60, 1000.7)
    assert lifetime == Lifetime(Asked.FOR, "1m", 1060)
    assert not lifetime.has_ended(1059.999)
    assert lifetime.has_ended(1060.0)


def test_a_permanent_one_needs_a_reason_and_never_ends() -> None:
    lifetime = Lifetime.permanent("  family server ")
    assert lifetime == Lifetime(Asked.PERMANENT, "family server", None)
    assert not lifetime.has_ended(1e12)
    for blank in ("", " \t"):
        with pytest.raises(Problem) as caught:
            Lifetime.permanent(blank)
        assert caught.value.code == "bad-value"


def test_only_a_length_runs_again() -> None:
    assert Lifetime.lasting(3600, 0).renewed(100.5) == Lifetime(Asked.FOR, "1h", 3700)
    for fixed in (Lifetime.until(5000), Lifetime.permanent("why not")):
        assert fixed.renewed(100) is fixed
    assert Lifetime.until(0).value == "1970-01-01T00:00:00+00:00"
