"""Totals of sessions become additions to what their users have carried."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sekimori.doors.ssh.tally import Tally


class Book:
    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    def carried(self, user: str, count: int) -> None:
        self.bytes[user] += count

    def used_up(self) -> frozenset[str]:
        return frozenset()


def row(session: int, into: int, out: int = 0, user: str = "bob") -> dict[str, Any]:
    return {"session": session, "user": user, "bytes_in": into, "bytes_out": out}


def test_what_is_told_twice_counts_once() -> None:
    book = Book()
    tally = Tally(book)
    for _ in range(2):
        tally.told(row(1, 100, 50))
        tally.told(row(2, 7))
    tally.told(row(1, 100, 60))
    assert book.bytes == {"bob": 167}


def test_the_last_figures_count_of_a_session_that_was_never_told_before_too() -> None:
    book = Book()
    tally = Tally(book)
    tally.told(row(1, 100))
    tally.gone(row(1, 130))
    tally.gone(row(2, 5, user="eve"))
    assert book.bytes == {"bob": 130, "eve": 5}


def test_sessions_of_a_process_that_ended_stay_counted() -> None:
    book = Book()
    tally = Tally(book)
    tally.told(row(1, 100))
    tally.clear()
    tally.told(row(1, 10))
    assert book.bytes == {"bob": 110}
