"""Hand events to any number of readers without ever waiting for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sekimori.doors.api.ports import Lagged
from sekimori.model.events import Event

__all__ = ["Feed"]


class Feed:
    """A fan-out of events. Each reader has a queue of `depth`; one that lets it fill is cut off."""

    def __init__(self, depth: int = 1000) -> None:
        self._depth = depth
        self._readers: set[_Reader] = set()

    def __len__(self) -> int:
        return len(self._readers)

    def publish(self, event: Event) -> None:
        """Put an event into every reader's queue. Never waits."""
        for reader in tuple(self._readers):
            if not reader.offer(event):
                self._readers.discard(reader)

    def close(self) -> None:
        """End every reader once it has read what it was given."""
        for reader in self._readers:
            reader.end()
        self._readers.clear()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Event]]:
        """Events from now on; the iterator raises `Lagged` where some were lost."""
        reader = _Reader(self._depth)
        self._readers.add(reader)
        try:
            yield reader.events()
        finally:
            self._readers.discard(reader)


class _Reader:
    def __init__(self, depth: int) -> None:
        # One place more than the depth, for the mark that ends it.
        self._queue: asyncio.Queue[Event | Lagged | None] = asyncio.Queue(depth + 1)
        self._depth = depth

    def offer(self, event: Event) -> bool:
        fits = self._queue.qsize() < self._depth
        self._queue.put_nowait(event if fits else Lagged())
        return fits

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._queue.get()) is not None:
            if isinstance(event, Lagged):
                raise event
            yield event
