"""Connecting to a place that has several addresses: happy eyeballs (RFC 8305 §5), on asyncio."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final

from sekimori.host.carrier import Cause, DialFailed

__all__ = ["STAGGER", "cause_of", "connect"]

STAGGER: Final = 0.25
"""Seconds between attempts: RFC 8305 §5, Connection Attempt Delay, recommended value."""

_CAUSES: Final[dict[int, Cause]] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed_out",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EAFNOSUPPORT: "unreachable",
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",  # a firewall's rule here
}
_TELLING: Final[tuple[Cause, ...]] = ("refused", "timed_out", "prohibited", "unreachable", "other")
"""Of several failures the one that says most: where there is no IPv6, "unreachable" is half of them."""


def cause_of(error: OSError) -> Cause:
    """What a worker is told of an errno."""
    return _CAUSES.get(error.errno or 0, "other")


async def connect(addresses: Sequence[str], port: int) -> socket.socket:
    """A connected TCP socket to the first address that answers; they are tried in the order given.

    Raises:
        DialFailed: none did.
    """
    race = _Race(port)
    try:
        async with asyncio.TaskGroup() as group:
            await race.run(group, addresses)
        return race.take_winner()
    finally:
        race.close()


class _Race:
    """Attempts side by side. All their sockets but a winner that was taken are closed, come what may."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._running: set[asyncio.Task[socket.socket | Cause]] = set()
        self._failures: list[Cause] = []
        self._winner: socket.socket | None = None

    async def run(self, group: asyncio.TaskGroup, addresses: Sequence[str]) -> None:
        """Begin attempts one after the other, until one has connected or all have failed."""
        try:
            for address in addresses:
                self._running.add(group.create_task(_attempt(address, self._port)))
                await self._look(STAGGER)  # less where one ends: after a failure the next begins at once
                if self._winner is not None:
                    return
            while self._winner is None and self._running:
                await self._look(None)
        finally:
            for attempt in self._running:
                attempt.add_done_callback(_discard)
                attempt.cancel()

    def take_winner(self) -> socket.socket:
        """Raises DialFailed when there is none."""
        winner, self._winner = self._winner, None
        if winner is None:
            raise DialFailed(min(self._failures, key=_TELLING.index, default="unreachable"))
        return winner

    def close(self) -> None:
        """Close a winner that nobody took."""
        if self._winner is not None:
            self._winner.close()

    async def _look(self, timeout: float | None) -> None:
        """Wait for an attempt to end, so long at most."""
        done, self._running = await asyncio.wait(
            self._running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        for result in (attempt.result() for attempt in done):
            if isinstance(result, str):
                self._failures.append(result)
            elif self._winner is None:
                self._winner = result
            else:
                result.close()


async def _attempt(address: str, port: int) -> socket.socket | Cause:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return cause_of(error)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except OSError as error:
        sock.close()
        return cause_of(error)
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(attempt: asyncio.Task[socket.socket | Cause]) -> None:
    """Close what an attempt got that was given up too late."""
    if not attempt.cancelled():
        result = attempt.result()
        if not isinstance(result, str):
            result.close()
