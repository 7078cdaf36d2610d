"""A clock that tests own."""

from __future__ import annotations

import asyncio

__all__ = ["FakeClock"]


class FakeClock:
    """Stands still until `advance`; sleepers wake when their time is passed."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Unix seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass; nothing sleeps in between."""
        self._now += seconds
        self._moved.set()

    async def wait_until(self, when: float | None, wake: asyncio.Event) -> None:
        """Return at `when` or as soon as `wake` is set."""
        while not wake.is_set() and (when is None or self._now < when):
            self._moved.clear()
            waits = [asyncio.ensure_future(event.wait()) for event in (wake, self._moved)]  # noqa: TID251
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
