"""Watches many descriptors of short lives for reading, at the price of one that an event loop watches.

A watcher of uvloop's is an object that is made, started, stopped and closed in a later turn, and six calls of
epoll_ctl(2): with a connection each, some 5 % of all that a process does. Here that is one call for each.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

__all__ = ["Readers", "readers_of"]

_BATCH: Final = 256
"""Most handlers called before the loop goes on with all else."""


class Readers:
    """Handlers by descriptor, called while there is something to read (or the end, or an error)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._call)

    def add(self, fd: int, handler: Callable[[], None]) -> None:
        """Begin to watch a descriptor that is not watched."""
        self._epoll.register(fd, select.EPOLLIN)
        self._handlers[fd] = handler

    def remove(self, fd: int) -> None:
        """Watch it no longer. To be called before it is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def _call(self) -> None:
        for fd, _events in self._epoll.poll(0, _BATCH):
            # One before it in the batch may have removed it. Where it is another by now, its read says so.
            handler = self._handlers.get(fd)
            if handler is not None:
                handler()


_of_loops: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Readers]] = WeakKeyDictionary()


def readers_of(loop: asyncio.AbstractEventLoop) -> Readers:
    """A loop's."""
    readers = _of_loops.get(loop)
    if readers is None:
        readers = _of_loops[loop] = Readers(loop)
    return readers
