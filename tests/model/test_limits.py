"""Rates."""

from __future__ import annotations

import pytest
from hypothesis import given

from sekimori.model.errors import Problem
from sekimori.model.limits import Rate
from sekimori.testing.strategies import rates


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("20/min", Rate(20, 60), "20/min"),
        ("20/m", Rate(20, 60), "20/min"),
        (" 5 / S ", Rate(5, 1), "5/s"),
        ("5/sec", Rate(5, 1), "5/s"),
        ("1/h", Rate(1, 3600), "1/hour"),
        ("1/day", Rate(1, 86400), "1/day"),
        ("1/d", Rate(1, 86400), "1/day"),
    ],
)
def test_rates_are_read(text: str, rate: Rate, shown: str) -> None:
    assert (Rate.parse(text), str(rate)) == (rate, shown)


@pytest.mark.parametrize(
    "text", ["", "20", "20/", "/min", "20/fortnight", "-1/s", "0/s", "1.5/s", "20 min", "1/s/s"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Problem) as caught:
        Rate.parse(text)
    assert caught.value.code == "bad-rate"


@given(rates())
def test_rates_are_read_back(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate
