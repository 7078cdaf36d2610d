"""Keeps the direct dialler running while a mapping needs it (daemon's side)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from sekimori.host.child import Child, start
from sekimori.reconcile.backoff import Backoff

__all__ = ["NAME", "Attach", "Dialler"]

NAME: Final = "@direct"
"""The carrier's name among relay workers."""

Attach = Callable[[str, Callable[[int, socket.socket], None]], Awaitable[None]]
"""Gives the carrier's end of a channel for each relay worker, those of workers that come later too."""

_MODULE: Final = "sekimori.planes.dialler"
_HEALTHY_AFTER: Final = 60.0
"""Seconds that a process must have lived for the next one to be started at once."""

_log = structlog.get_logger("dialler")


class Dialler:
    """The process, started anew when it ends.

    Args:
        attach: introduces it to the relay workers.
        detach: takes its name from them.
        user: UID and GID that it becomes (root only).
    """

    def __init__(
        self,
        attach: Attach,
        detach: Callable[[str], Awaitable[None]],
        user: tuple[int, int] | None = None,
    ) -> None:
        self._attach = attach
        self._detach = detach
        self._options = () if user is None else ("--user", f"{user[0]}:{user[1]}")
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._backoff = Backoff()
        self._child: Child | None = None
        self._is_up = False

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._child is None else self._child.pid

    @property
    def is_up(self) -> bool:
        """Whether there is a process, and the relay workers know it."""
        return self._is_up

    def want(self, wanted: bool) -> None:
        """Whether there is a mapping that needs it. Saying so again changes nothing."""
        if wanted:
            self._unwanted.clear()
            self._wanted.set()
        else:
            self._wanted.clear()
            self._unwanted.set()

    async def run(self) -> None:
        """Keep it running while it is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            loop = asyncio.get_running_loop()
            since = loop.time()
            await self._run_once()
            if not self._wanted.is_set():
                self._backoff.succeeded(NAME)
                continue
            if loop.time() - since >= _HEALTHY_AFTER:
                self._backoff.succeeded(NAME)
            await asyncio.sleep(self._backoff.failed(NAME))

    async def _run_once(self) -> None:
        """Start it, and return when it has ended, or is not wanted and has been ended."""
        try:
            child = await start(_MODULE, _ignore, self._options)
        except OSError as error:
            _log.warning("not_started", why=str(error))
            return
        self._child = child
        try:
            await self._attach(NAME, lambda index, sock: _introduce(child, index, sock))
            self._is_up = True
            _log.info("started", pid=child.pid)
            if await self._ended(child):
                _log.warning("ended", pid=child.pid, code=await child.wait())
        finally:
            self._child = None
            self._is_up = False
            await self._detach(NAME)
            await child.end()

    async def _ended(self, child: Child) -> bool:
        """Wait for the process to end, or for nobody to want it (then False)."""
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(child.wait())
            unwanted = group.create_task(self._unwanted.wait())
            await asyncio.wait((ended, unwanted), return_when=asyncio.FIRST_COMPLETED)
            found = ended.done()
            ended.cancel()
            unwanted.cancel()
        return found


def _introduce(child: Child, index: int, sock: socket.socket) -> None:
    child.tell({"op": "worker", "index": index}, [sock.detach()])


def _ignore(_message: dict[str, Any], fds: list[int]) -> None:
    """It has nothing to tell."""
    for fd in fds:
        socket.close(fd)
