"""A pool of kernel pipes for splice(2): a flow has one only while bytes lie in it.

An unprivileged user may hold fs.pipe-user-pages-soft pages in all (64 MiB by
default); past that the kernel hands out smaller pipes, and past what is useful
the pool gives none and the caller copies instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

__all__ = ["PIPE_SIZE", "Pipe", "PipePool"]

Pipe = tuple[int, int]
"""Read end, write end."""

PIPE_SIZE: Final = 1 << 20
"""Bytes: the most that an unprivileged user may have in one pipe (fs.pipe-max-size). Measured through
one worker with iperf3, medians of 9 to 11 rounds: 256 KiB cost 0.46 CPU-s per GiB, this 0.36."""
_SIZES: Final = (PIPE_SIZE, 1 << 18, 1 << 16)
_RETRY: Final = 1.0
"""Seconds before asking the kernel again after it gave no pipe."""


class PipePool:
    """Takes and gives pipes, all empty and non-blocking.

    `most` bounds the pipes that exist, `spare` those kept for the next taker.
    """

    __slots__ = ("_barren_until", "_free", "_most", "_spare", "made")

    def __init__(self, most: int = 1024, spare: int = 64) -> None:
        self._free: list[Pipe] = []
        self._most = most
        self._spare = spare
        self._barren_until = 0.0
        self.made = 0

    def take(self, now: float) -> Pipe | None:
        """An empty pipe, or None when the caller should copy instead."""
        if self._free:
            return self._free.pop()
        if self.made >= self._most or now < self._barren_until:
            return None
        pipe = _make()
        if pipe is None:
            self._barren_until = now + _RETRY
        else:
            self.made += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back an *empty* pipe."""
        if len(self._free) < self._spare:
            self._free.append(pipe)
        else:
            self.discard(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Close a pipe, whatever lies in it."""
        self.made -= 1
        os.close(pipe[0])
        os.close(pipe[1])

    def close(self) -> None:
        """Close the pipes that nobody holds (also to free descriptors when they run out)."""
        while self._free:
            self.discard(self._free.pop())


def _make() -> Pipe | None:
    try:
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            return None
        raise
    for size in _SIZES:
        if _resize(pipe[1], size):
            return pipe
    os.close(pipe[0])
    os.close(pipe[1])
    return None


def _resize(fd: int, size: int) -> bool:
    try:
        return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size) >= size
    except OSError as error:
        # EPERM: over pipe-max-size or the user's page limit; EBUSY cannot be, the pipe is empty.
        if error.errno in (errno.EPERM, errno.ENOMEM):
            return False
        raise
