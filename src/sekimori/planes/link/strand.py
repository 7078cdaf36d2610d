"""One SSH connection of a link, kept: made again whenever it is lost, fast at first and then slowly."""

from __future__ import annotations

import asyncio
import random
import time
from asyncio import Event
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from asyncssh import SSHClientConnection

from sekimori.host.sshline import Line
from sekimori.host.sshpump import Pump
from sekimori.model.errors import Problem
from sekimori.model.link import LinkPhase
from sekimori.planes.link.joining import REFUSALS, SILENCE, Joined, join, unnumbered
from sekimori.planes.link.liveness import ping, watch
from sekimori.planes.link.resolving import Plan

__all__ = ["Condition", "Strand", "wait_before"]

_WAITS: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds before each attempt at the most. With the last of them, and the time that a connection takes, the
ports of a server that comes back are served again within 15 s, however long it was away.
"""
_REFUSED: Final = 60.0
_HEALTHY: Final = 5.0
"""Seconds for which a connection must have lasted for the next to be made at once."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How a connection is.

    Attributes:
        since: Unix seconds.
        why: what keeps it from being up.
        next_try: Unix seconds; None while one is under way, or none is needed.
        rtt: seconds of the last round trip.
    """

    phase: LinkPhase
    since: float
    why: Problem | None = None
    next_try: float | None = None
    rtt: float | None = None
    server: str = ""
    algorithms: dict[str, str] = field(default_factory=dict)
    sekimori: bool | None = None


def wait_before(attempt: int, chance: Callable[[float, float], float]) -> float:
    """Seconds to wait before an attempt; the first, 0, is at once. `chance` takes one of two bounds: many
    links that were lost together must not all come back together.
    """
    return chance(0.0, _WAITS[min(attempt, len(_WAITS) - 1)])


class Strand:
    """Keeps one connection while `run` runs.

    Args:
        link: `Link.to_document`.
        changed: told that its condition is another.

    Attributes:
        joined: the connection; None while there is none.
        pumps: the flows it carries.
        condition: how it is.
        up: set while there is a connection.
    """

    def __init__(self, link: Mapping[str, Any], changed: Callable[[Strand], None]) -> None:
        self.joined: Joined | None = None
        self.pumps: set[Pump] = set()
        self.condition = Condition(LinkPhase.CONNECTING, time.time())
        self._link = link
        self._changed = changed
        self.up = Event()
        self._down = Event()
        self._again = Event()

    @property
    def load(self) -> tuple[int, int, int]:
        """What it has to do now: flows that moved anything in the last second, bytes that wait, flows."""
        now = asyncio.get_running_loop().time()
        busy = sum(now - each.busy_at < 1.0 for each in self.pumps)
        return busy, 0 if self.joined is None else self.joined.line.waiting, len(self.pumps)

    @property
    def live(self) -> tuple[SSHClientConnection, Line]:
        """The connection and its wire.

        Raises:
            ConnectionError: there is none now.
        """
        if self.joined is None:
            raise ConnectionError("the link is down")
        return self.joined.conn, self.joined.line

    async def lost(self, joined: Joined) -> None:
        """Wait until a connection that has ended is no more the one that is kept."""
        if self.joined is joined:
            await self._down.wait()

    def retry(self) -> None:
        """Try at once, where it waits."""
        self._again.set()

    async def run(self) -> None:
        """Keep it up until cancelled."""
        attempt = 0
        while True:
            begun = time.monotonic()
            why = await self._once()
            if time.monotonic() - begun >= _HEALTHY and self.condition.phase is LinkPhase.UP:
                attempt = 0
            refused = why.code in REFUSALS
            wait = _REFUSED if refused else wait_before(attempt, random.uniform)
            attempt += 1
            phase = LinkPhase.REFUSED if refused else LinkPhase.WAITING
            self._turn(Condition(phase, time.time(), why, time.time() + wait))
            if await self._sleep(wait):
                attempt = 0

    async def _once(self) -> Problem:
        """One connection, to its end; why that came."""
        self._again.clear()  # what is told from now on is news that this attempt may not have had
        before = self.condition
        if before.phase is not LinkPhase.CONNECTING:
            self._turn(Condition(LinkPhase.CONNECTING, time.time(), before.why))
        try:
            # Anew each time, as a file may have been mended; in a thread, as `Match exec` runs programs.
            joined = await join(await asyncio.to_thread(Plan.read, self._link))
        except Problem as problem:
            return problem
        try:
            return await self._keep(joined)
        finally:
            self.joined = None
            self.up.clear()
            self._down.set()
            await joined.close()

    async def _keep(self, joined: Joined) -> Problem:
        place, name = self._link["place"], self._link["name"]
        try:
            async with asyncio.timeout(SILENCE):
                await ping(joined.conn)  # the first answer waits for what sshd says after a login
                joined.line.rtt = rtt = await ping(joined.conn)
        except TimeoutError:
            return Problem("link-silent", place=place, link=name, seconds=int(SILENCE))
        if joined.conn.is_closed():  # the pings are answered by that, too
            return self._cut(joined)
        self.joined = joined
        self.up.set()
        self._down.clear()
        self._turn(
            Condition(
                LinkPhase.UP,
                time.time(),
                rtt=rtt,
                server=joined.server,
                algorithms=joined.algorithms,
                sekimori=joined.is_sekimori,
            )
        )
        silent = await watch(joined.conn, joined.line, self._measured)
        if silent:
            return Problem("link-silent", place=place, link=name, seconds=int(SILENCE))
        return self._cut(joined)

    def _cut(self, joined: Joined) -> Problem:
        lost = getattr(joined.conn.get_owner(), "lost", None)
        why = unnumbered(str(lost or "closed"))
        return Problem("link-cut", place=self._link["place"], link=self._link["name"], why=why)

    def _measured(self, rtt: float) -> None:
        self.condition = replace(self.condition, rtt=rtt)
        self._changed(self)

    def _turn(self, condition: Condition) -> None:
        self.condition = condition
        self._changed(self)

    async def _sleep(self, seconds: float) -> bool:
        """Wait; whether it was told to try again before."""
        try:
            async with asyncio.timeout(seconds):
                await self._again.wait()
        except TimeoutError:
            return False
        return True
