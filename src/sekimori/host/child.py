"""A process of this program, and the channel by which it is told what to do (asyncio).

It is started with one end of a socket pair, and speaks the frames of `host.frames` there. It has to end when
that channel ends: so it never outlives who started it, however that came to its end. It has to send `{"op":
"ping"}` back whenever it is sent one: one that does not is stuck or stopped, and is killed, so that whoever
keeps it sees it end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from sekimori.host.frames import BadFrameError, FrameReader, Outbox

__all__ = ["Child", "start"]

_FAREWELL: Final = 3.0
"""Seconds that a process may take to end once its channel has ended; then it is killed."""

_LOOK: Final = 1.0
_PING: Final = 2.0
"""Seconds without a word from a process after which it is asked for one."""
_SILENCE: Final = 8.0
"""Seconds without a word after which it is killed; no step of its work takes nearly as long."""
_START: Final = 60.0
"""The same before its first word: a busy machine may take long to start it."""

_log = structlog.get_logger("child")

OnFrame = Callable[[dict[str, Any], list[int]], None]
"""Takes a frame and its descriptors, which it owns."""


class Child:
    """A process and our end of its channel. Made by `start`."""

    def __init__(self, process: Process, sock: socket.socket, on_frame: OnFrame) -> None:
        self._process = process
        self._sock = sock
        self._on_frame = on_frame
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._writing = False
        self._loop.add_reader(sock.fileno(), self._readable)
        self._heard, self._patience = self._loop.time(), _START
        self._asked = False
        self._looked = self._heard
        self._timer = self._loop.call_later(_LOOK, self._look)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def tell(self, message: dict[str, Any], fds: Iterable[int] = ()) -> None:
        """Send a frame, with descriptors that are owned from now on. One that has ended is told nothing."""
        owned = list(fds)
        if not self._open:
            _close_all(owned)
            return
        self._outbox.put(message, owned)
        self._send()

    async def wait(self) -> int:
        """Its exit code, once it has ended; a signal's number with a minus before it."""
        return await self._process.wait()

    async def end(self) -> None:
        """End it by the end of its channel, and by force where that is not heeded; again is harmless."""
        self._hang_up()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._process.wait()
        except TimeoutError:
            _log.warning("killed", pid=self.pid, why="it did not end with its channel")
        finally:
            if self._process.returncode is None:
                self._signal(signal.SIGKILL)
                await self._process.wait()

    def _readable(self) -> None:
        try:
            more = self._reader.read()
            self._heard, self._patience, self._asked = self._loop.time(), _SILENCE, False
            while (frame := self._reader.next()) is not None:
                if frame[0].get("op") != "ping":
                    self._on_frame(*frame)
        except BlockingIOError:
            return
        except (BadFrameError, OSError) as error:
            _log.warning("channel_broke", pid=self.pid, why=str(error))
            self._give_up()
            return
        if not more:
            self._give_up()

    def _look(self) -> None:
        """See whether it still goes on."""
        now = self._loop.time()
        if now - self._looked > 2 * _LOOK:  # it was this process that stood still: its words may be waiting
            self._heard = max(self._heard, now - _PING)
        self._looked = now
        self._timer = self._loop.call_later(_LOOK, self._look)
        silence = now - self._heard
        if silence >= self._patience:
            _log.warning("killed", pid=self.pid, why="it does not answer", seconds=round(silence, 1))
            self._timer.cancel()
            self._signal(signal.SIGKILL)
        elif silence >= _PING and not self._asked:
            self._asked = True
            self.tell({"op": "ping"})

    def _send(self) -> None:
        try:
            waiting = not self._outbox.send()
        except OSError:  # it has ended; `wait` tells
            self._give_up()
            return
        if waiting and not self._writing:
            self._loop.add_writer(self._sock.fileno(), self._send)
        elif not waiting and self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._writing = waiting

    def _give_up(self) -> None:
        """Without its channel a process is of no use, and knows nobody who would end it."""
        self._hang_up()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended.

        Not by `Process.send_signal`: that collects a process that has just ended, and its exit code with it.
        """
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended this moment
                os.kill(self.pid, number)

    def _hang_up(self) -> None:
        if not self._open:
            return
        self._open = False
        self._timer.cancel()
        self._loop.remove_reader(self._sock.fileno())
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()


async def start(module: str, on_frame: OnFrame, options: Sequence[str] = ()) -> Child:
    """Start `python -m MODULE --control FD OPTIONS…`. It inherits our environment and standard error.

    Raises:
        OSError: it could not be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        try:
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                "--control",
                str(theirs.fileno()),
                *options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            ours.close()
            raise
    return Child(process, ours, on_frame)


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
