"""Who is served when: the requests of one host in order, those of different hosts at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import structlog

__all__ = ["Turns"]

Work = Callable[[], Awaitable[None]]

_HOSTS: Final = 256
_EACH: Final = 16
_log = structlog.get_logger("portmap")


class Turns:
    """Lines of requests, one for each host that has any.

    Each host has one request in work at most. So where they meet, at the gate, as many wait as there are
    hosts, in the order in which they came: one that asks for much waits for itself.

    Args:
        tasks: the parent of the work.
        hosts: how many hosts may be served at one time.
        each: how many requests of a host may wait.
    """

    def __init__(self, tasks: asyncio.TaskGroup, hosts: int = _HOSTS, each: int = _EACH) -> None:
        self._tasks = tasks
        self._hosts = hosts
        self._each = each
        self._lines: dict[Hashable, dict[Hashable, Work]] = {}

    def put(self, host: Hashable, request: Hashable, work: Work) -> bool:
        """Have a request worked on when it is its turn; False where too many wait.

        A request that waits already, or is in work, is not put a second time: its answer is on its way.
        """
        line = self._lines.get(host)
        if line is None:
            if len(self._lines) >= self._hosts:
                return False
            line = self._lines[host] = {request: work}
            self._tasks.create_task(self._serve(host, line))
            return True
        if request in line:
            return True
        if len(line) >= self._each:
            return False
        line[request] = work
        return True

    def __len__(self) -> int:
        """How many hosts are being served."""
        return len(self._lines)

    async def _serve(self, host: Hashable, line: dict[Hashable, Work]) -> None:
        try:
            while line:
                request, work = next(iter(line.items()))
                try:
                    await work()
                except Exception:  # one request must not end the door for everybody
                    _log.exception("request_broke", host=str(host))
                finally:
                    del line[request]
        finally:
            del self._lines[host]
