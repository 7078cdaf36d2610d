"""When to try again."""

from __future__ import annotations

from sekimori.reconcile.backoff import Backoff


def test_delays_double_from_one_second_to_thirty() -> None:
    backoff = Backoff()
    assert [backoff.failed("a") for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_each_key_has_its_own_and_success_forgets_it() -> None:
    backoff = Backoff()
    backoff.failed("a")
    assert (backoff.failed("a"), backoff.failed("b")) == (2.0, 1.0)
    backoff.succeeded("a")
    backoff.succeeded("never failed")
    assert (backoff.failed("a"), backoff.failed("b")) == (1.0, 2.0)
