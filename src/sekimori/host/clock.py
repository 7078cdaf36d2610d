"""The system's clock: the only place that reads it for the deciding half."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

__all__ = ["SystemClock"]

_LONGEST_SLEEP: Final = 5.0
"""Seconds: a wall clock may be stepped, and a sleeper would not notice."""


class SystemClock:
    """Wall-clock time in Unix seconds."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    async def wait_until(self, when: float | None, wake: asyncio.Event) -> None:
        """Return at `when` (Unix seconds; None is never) or as soon as `wake` is set."""
        while not wake.is_set():
            left = _LONGEST_SLEEP if when is None else min(when - time.time(), _LONGEST_SLEEP)
            if left <= 0:
                return
            # Not wait_for: in Python 3.11 it loses a cancellation that comes with the wake,
            # and then a daemon that was told to stop never does.
            with contextlib.suppress(TimeoutError):  # the time is up, or to be looked at again
                async with asyncio.timeout(left):
                    await wake.wait()
