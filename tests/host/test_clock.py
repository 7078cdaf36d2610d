"""The two clocks keep one promise."""

from __future__ import annotations

import asyncio
import time

import pytest

from sekimori.host import clock as host_clock
from sekimori.host.clock import SystemClock
from sekimori.testing.clock import FakeClock


def test_the_systems_clock_tells_unix_seconds() -> None:
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


async def test_a_time_that_has_come_is_not_waited_for() -> None:
    for clock in (SystemClock(), FakeClock()):
        async with asyncio.timeout(5):
            await clock.wait_until(clock.now() - 1, asyncio.Event())
            await clock.wait_until(clock.now(), asyncio.Event())


async def test_a_wake_ends_the_wait() -> None:
    for clock in (SystemClock(), FakeClock()):
        for when in (None, clock.now() + 3600):
            wake = asyncio.Event()
            asyncio.get_running_loop().call_soon(wake.set)
            async with asyncio.timeout(5):
                await clock.wait_until(when, wake)
            assert wake.is_set()


async def test_the_system_wakes_at_the_time_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_clock, "_LONGEST_SLEEP", 0.01)  # a few looks at the clock on the way
    clock = SystemClock()
    when = clock.now() + 0.05
    async with asyncio.timeout(5):
        await clock.wait_until(when, asyncio.Event())
    assert clock.now() >= when


async def test_the_fake_wakes_everyone_whose_time_was_passed() -> None:
    clock = FakeClock(100.0)
    never = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        soon = [group.create_task(clock.wait_until(110, never)) for _ in range(3)]
        late = group.create_task(clock.wait_until(200, never))
        await asyncio.sleep(0)
        clock.advance(10)
        async with asyncio.timeout(5):
            await asyncio.gather(*soon)
        assert not late.done()
        clock.advance(90)
    assert clock.now() == 200


async def test_a_cancellation_that_comes_with_the_wake_is_not_lost() -> None:
    wake = asyncio.Event()

    async def sleep_again_and_again() -> None:
        while True:
            wake.clear()
            await SystemClock().wait_until(None, wake)

    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(sleep_again_and_again())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        wake.set()
        await asyncio.sleep(0)  # the waiter is woken, and its caller has not run yet
        sleeper.cancel()
        done, _ = await asyncio.wait([sleeper], timeout=5)
        sleeper.cancel()
        assert done == {sleeper}
