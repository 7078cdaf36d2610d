"""Sees within nine seconds that a client is there no more, frozen or cut off."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from asyncssh.connection import SSHServerConnection

from sekimori.host.sshline import Line

__all__ = ["DEAD", "watch"]

DEAD: Final = 8.5
"""Seconds without a byte from a client that was asked."""
_QUIET: Final = 2.5
"""Seconds of silence after which it is asked."""
_MEASURE: Final = 10.0
"""Seconds between measurements of the round trip, which windows are made by."""
_LOOK: Final = 0.5
_STALLED: Final = 2.0


async def watch(conn: SSHServerConnection, wire: Line) -> None:
    """Ask a client whenever it is silent, and end the connection where it does not answer."""
    looked, measured = time.monotonic(), 0.0
    asking: asyncio.Task[None] | None = None
    while not conn.is_closed():
        await asyncio.sleep(_LOOK)
        now = time.monotonic()
        if now - looked > _LOOK + _STALLED:  # it was this process that did not listen
            wire.heard = now
        looked = now
        if now - wire.heard > DEAD:
            conn.abort()
            return
        due = now - wire.heard > _QUIET or now - measured > _MEASURE
        if due and (asking is None or asking.done()):
            measured = now
            asking = conn.create_task(_ask(conn, wire))


async def _ask(conn: SSHServerConnection, wire: Line) -> None:
    """A request that every client answers (OpenSSH's PROTOCOL §2.6 has it from servers too)."""
    begun = time.monotonic()
    await conn._make_global_request(b"keepalive@openssh.com")
    wire.rtt = time.monotonic() - begun
