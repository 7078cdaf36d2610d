"""The epoch: when it goes on, and when it begins again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.doors.portmap.epoch import Epoch, Instant, has_moved, resume
from sekimori.doors.portmap.note import read_epoch, read_instant, write_epoch

HERE = ("203.0.113.5", "")
SAVED = Epoch(100.0, Instant("one", 500.0, 1_750_000_000.0), HERE)  # 400 s counted


def test_it_goes_on_over_a_restart_of_the_daemon_whatever_the_wall_clock_does() -> None:
    epoch, is_new = resume(SAVED, Instant("one", 560.0, 0.0), HERE)
    assert not is_new
    assert epoch.seconds(560.0) == 460


def test_it_goes_on_over_a_reboot_by_the_wall_clock() -> None:
    epoch, is_new = resume(SAVED, Instant("two", 12.0, 1_750_000_090.0), HERE)
    assert not is_new
    assert [epoch.seconds(up) for up in (12.0, 13.0)] == [490, 491]


def test_it_begins_again_when_the_wall_clock_went_back_over_a_reboot() -> None:
    epoch, is_new = resume(SAVED, Instant("two", 12.0, 1_749_999_999.0), HERE)
    assert is_new
    assert epoch.seconds(12.0) == 0


def test_it_begins_again_without_a_note() -> None:
    assert resume(None, Instant("one", 560.0, 0.0), HERE)[1]


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        (("192.0.2.1", ""), ("192.0.2.2", ""), True),
        (("192.0.2.1", "2001:db8::1"), ("192.0.2.1", "2001:db8::2"), True),
        (("192.0.2.1", "2001:db8::1"), ("", "2001:db8::1"), False),
        (("", ""), ("192.0.2.1", "2001:db8::1"), False),
    ],
)
def test_it_begins_again_when_an_outside_address_is_another(
    before: tuple[str, str], now: tuple[str, str], moved: bool
) -> None:
    assert has_moved(before, now) is moved
    saved = replace(SAVED, outside=before)
    epoch, is_new = resume(saved, Instant("one", 560.0, 0.0), now)
    assert is_new is moved
    if not moved:  # one that is not there now is remembered, to know whether it comes back
        assert epoch.outside == (now[0] or before[0], now[1] or before[1])


def test_a_note_of_this_boot_that_is_ahead_of_it_is_none() -> None:
    assert resume(SAVED, Instant("one", 499.0, 1_750_000_100.0), HERE)[1]


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_the_count_fits_its_field(began: float, up: float) -> None:
    assert 0 <= Epoch(began, SAVED.seen).seconds(up) < 1 << 32


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_epoch(tmp_path, SAVED)
    assert read_epoch(tmp_path) == SAVED
    assert [each.name for each in tmp_path.iterdir()] == ["portmap-epoch.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({**SAVED.to_document(), "outside": [1]})])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "portmap-epoch.json").write_text(text)
    assert read_epoch(tmp_path) is None


def test_where_nothing_can_be_written_the_count_goes_on_all_the_same(tmp_path: Path) -> None:
    write_epoch(tmp_path / "missing", SAVED)
    assert read_epoch(tmp_path / "missing") is None


def test_this_machine_has_its_clocks() -> None:
    first, second = read_instant(), read_instant()
    assert first.boot == second.boot != ""
    assert second.up >= first.up > 0


def test_a_ledger_that_is_behind_is_another_one() -> None:
    written = replace(SAVED, seen=replace(SAVED.seen, revision=7))
    assert not resume(written, Instant("one", 560.0, 0.0, 7), HERE)[1]
    assert resume(written, Instant("one", 560.0, 0.0, 6), HERE)[1]
