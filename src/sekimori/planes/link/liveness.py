"""Notices a peer that is gone: a ping whenever it has been quiet, and an end to patience."""

from __future__ import annotations

import asyncio
import time
from asyncio import Event, TaskGroup
from collections.abc import Callable
from typing import Final

from asyncssh.connection import SSHConnection

from sekimori.host.sshline import Line
from sekimori.planes.link.joining import SILENCE

__all__ = ["ping", "watch"]

_QUIET: Final = 2.5
"""Seconds without a word before a ping."""
_ROUND: Final = 30.0
"""Seconds between pings that are for the round trip alone."""
_LOOK: Final = 0.5

PING: Final = b"keepalive@openssh.com"
"""A request that every server answers, as unknown at the least (RFC 4254 §4); OpenSSH's own."""


async def ping(conn: SSHConnection) -> float:
    """Seconds of one round trip."""
    begun = time.monotonic()
    await conn._make_global_request(PING)
    return time.monotonic() - begun


async def watch(conn: SSHConnection, line: Line, measured: Callable[[float], None]) -> bool:
    """Ping a peer until its connection has ended.

    Args:
        conn: the connection.
        line: its wire; its `rtt` is kept here.
        measured: told every round trip.

    Returns:
        Whether that was because it answered nothing for `SILENCE` seconds; the connection is still open then.
    """
    closed = Event()
    async with TaskGroup() as tasks:
        closing = tasks.create_task(_tell_closed(conn, closed))
        pinging: asyncio.Task[None] | None = None
        last = 0.0
        try:
            while not closed.is_set():
                now = time.monotonic()
                if now - line.heard >= SILENCE:
                    return True
                due = now - line.heard >= _QUIET or now - last >= _ROUND
                if due and (pinging is None or pinging.done()) and now - last >= _QUIET:
                    last = now
                    pinging = tasks.create_task(_measure(conn, line, measured))
                await _wait(closed, _LOOK)
            return False
        finally:
            closing.cancel()
            if pinging is not None:
                pinging.cancel()


async def _tell_closed(conn: SSHConnection, closed: Event) -> None:
    await conn.wait_closed()
    closed.set()


async def _measure(conn: SSHConnection, line: Line, measured: Callable[[float], None]) -> None:
    rtt = await ping(conn)
    if not conn.is_closed():
        line.rtt = rtt if line.rtt is None else min(rtt, 0.75 * line.rtt + 0.25 * rtt)
        measured(rtt)


async def _wait(event: Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
