"""Steps that are made ahead of being done."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sekimori.planes.kernel.filling import MANY, in_parts, one_ahead
from sekimori.testing.peers import eventually


def test_parts_are_the_whole_in_its_order() -> None:
    whole = {str(number): number for number in range(2 * MANY + 1)}
    parts = list(in_parts(whole))
    assert [len(part) for part in parts] == [MANY, MANY, 1]
    assert [entry for part in parts for entry in part.items()] == list(whole.items())
    assert list(in_parts({})) == []


def test_each_step_is_done_while_the_next_one_is_made() -> None:
    made: list[int] = []

    def steps() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    def do(number: int) -> tuple[int, int]:
        eventually(lambda: len(made) > min(number + 1, 2))  # the next one is there before this one is done
        return number * 10, threading.get_ident()

    done = list(one_ahead(steps(), do))
    assert [(step, result) for step, (result, _) in done] == [(0, 0), (1, 10), (2, 20)]
    assert {thread for _, (_, thread) in done}.isdisjoint({threading.get_ident()})


def test_what_fails_is_raised_and_ends_it() -> None:
    tried: list[int] = []

    def do(number: int) -> None:
        tried.append(number)
        if number == 1:
            raise ValueError(number)

    steps = one_ahead(range(5), do)
    assert next(steps) == (0, None)
    with pytest.raises(ValueError, match="1"):
        next(steps)
    assert tried == [0, 1]
