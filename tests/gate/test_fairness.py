"""How much of the work each of many askers gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.gate.fairness import Fairness


def admitted(fairness: Fairness, host: str, now: float, times: int) -> int:
    return sum(fairness.admits(host, now) for _ in range(times))


def test_a_host_begins_with_its_burst_and_goes_on_at_its_rate() -> None:
    fairness = Fairness(2, 5, 10)
    assert admitted(fairness, "a", 0, 100) == 5
    assert admitted(fairness, "a", 0.4, 100) == 0
    assert admitted(fairness, "a", 1, 100) == 2
    assert admitted(fairness, "a", 100, 100) == 5  # no more than the burst is saved up


def test_a_flood_of_one_leaves_the_others_theirs() -> None:
    fairness = Fairness(1, 3, 10)
    admitted(fairness, "flood", 0, 10_000)
    assert admitted(fairness, "calm", 0, 3) == 3


def test_those_not_heard_of_for_longest_are_forgotten_first() -> None:
    fairness = Fairness(1, 2, 3)
    for host in ("a", "b", "c"):
        admitted(fairness, host, 0, 2)
    assert not fairness.admits("a", 0)  # heard of again, so b is the one to go
    fairness.admits("d", 0)
    assert len(fairness) == 3
    assert not fairness.admits("a", 0)
    assert fairness.admits("b", 0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    fairness = Fairness(1, 1, 3)
    assert fairness.admits("a", 10)
    assert not fairness.admits("a", 0)
    assert not fairness.admits("a", 10.5)
    assert fairness.admits("a", 11)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_what_would_admit_nobody_is_no_fairness(wrong: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="nobody"):
        Fairness(*wrong)


@given(st.lists(st.floats(0, 100), max_size=200), st.integers(1, 20), st.integers(1, 20))
def test_no_span_of_time_has_more_than_burst_and_rate(steps: list[float], rate: int, burst: int) -> None:
    fairness, now, taken = Fairness(rate, burst, 1), 0.0, 0
    for step in steps:
        now += step
        taken += fairness.admits("a", now)
        assert taken <= burst + now * rate + 1e-6
