"""Telling the devices of a LAN, unasked, that mappings were lost or that the outside address has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

__all__ = ["announce", "pauses"]

_TIMES: Final = 10
_FIRST: Final = 0.25


def pauses() -> Iterator[float]:
    """Seconds to wait before each time: ten times, after 250 ms and then twice as long as before, because
    multicast is lost easily and devices may be asleep (RFC 6886 §3.2.1).
    """
    yield 0.0
    for step in range(_TIMES - 1):
        yield _FIRST * 2**step


async def announce(
    tell: Callable[[], None], pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Tell it as often as it is to be told; takes two minutes."""
    for seconds in pauses():
        await pause(seconds)
        tell()
