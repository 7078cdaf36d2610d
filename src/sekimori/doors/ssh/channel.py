"""The process's end of its control channel to the daemon (frames of `host.frames`, asyncio)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from itertools import count
from typing import Any

from sekimori.host.frames import BadFrameError, FrameReader, Outbox

__all__ = ["Channel", "EndedError"]


class EndedError(Exception):
    """The daemon has gone, or went before it answered."""


class Channel:
    """Frames to and from the daemon. A frame with `n` that the daemon sends answers ours of that number.

    Args:
        sock: owned from now on.
        heed: takes each frame that answers nothing, and owns its descriptors.

    Attributes:
        ended: set once the daemon has gone.
    """

    def __init__(self, sock: socket.socket, heed: Callable[[dict[str, Any], list[int]], None]) -> None:
        sock.setblocking(False)
        self.ended = asyncio.Event()
        self._sock = sock
        self._heed = heed
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._answered = False
        self._loop.add_reader(sock.fileno(), self._read)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a frame. A daemon that has gone is told nothing."""
        if not self.ended.is_set():
            self._outbox.put(message)
            self._send()

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a frame, and wait for its answer.

        Raises:
            EndedError: there will be none.
        """
        if self.ended.is_set():
            raise EndedError
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        try:
            self.tell({**message, "n": number})
            answer: dict[str, Any] = await future
            return answer
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Hang up."""
        if self.ended.is_set():
            return
        self.ended.set()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EndedError())

    def _read(self) -> None:
        try:
            more = self._reader.read()
            self._hear()
        except BlockingIOError:
            return
        except (BadFrameError, OSError):  # the daemon is gone, or of another mind: so do we go
            more = False
        if not more:
            self.close()

    def _hear(self) -> None:
        """Take the frames that are there, up to an answer.

        What was said after it may be about what it grants, and is heard once who asked has made that so.
        """
        while not (self._answered or self.ended.is_set()) and (frame := self._reader.next()) is not None:
            self._take(*frame)

    def _hear_on(self) -> None:
        self._answered = False
        try:
            self._hear()
        except BadFrameError:
            self.close()

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        number = message.get("n")
        if number is None:
            self._heed(message, fds)
            return
        for fd in fds:
            os.close(fd)
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(message)
            self._answered = True
            self._loop.call_soon(self._hear_on)  # after the task that this wakes

    def _send(self) -> None:
        try:
            done = self._outbox.send()
        except OSError:  # reading tells the same, after what the daemon said last
            done = True
        if done:
            self._loop.remove_writer(self._sock.fileno())
        else:
            self._loop.add_writer(self._sock.fileno(), self._send)
