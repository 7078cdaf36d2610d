"""Introduces carriers and workers to each other: each pair gets a channel of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from sekimori.planes.relay.control import Control, WorkerLostError, WorkerRefusedError
from sekimori.planes.relay.crew import Crew, Hand

__all__ = ["Introductions", "Take"]

Take = Callable[[int, socket.socket], None]
"""Takes a carrier's end of a channel to the worker of an index, and owns it from then on."""

_log = structlog.get_logger("relay")


class Introductions:
    """The carriers there are, and which worker knows which."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._takers: dict[str, Take] = {}
        self._lock = asyncio.Lock()

    async def attach(self, name: str, take: Take) -> None:
        """Introduce a carrier to every worker, in the place of one of its name; and later to each new one."""
        async with self._lock:
            self._takers[name] = take
            for hand, _ in self._crew.live:
                hand.carriers.discard(name)
        await self.complete()

    async def detach(self, name: str) -> None:
        """Have the workers forget a carrier; nothing where there is none of its name."""
        async with self._lock:
            self._takers.pop(name, None)
            for hand, control in self._crew.live:
                if name in hand.carriers:
                    hand.carriers.discard(name)
                    with suppress(WorkerLostError, WorkerRefusedError):  # it is gone, and its channel with it
                        await control.carrier(name, None)

    async def complete(self) -> None:
        """Introduce every carrier to every worker that does not know it, or has lost it."""
        async with self._lock:
            if not self._takers:
                return
            for hand, control in self._crew.live:
                with suppress(WorkerLostError):  # its next one is told once it is there
                    hand.carriers &= await control.carriers()
                    for name in self._takers.keys() - hand.carriers:
                        await self._introduce(name, hand, control)

    async def _introduce(self, name: str, hand: Hand, control: Control) -> None:
        take = self._takers[name]
        ours, theirs = socket.socketpair()
        try:
            await control.carrier(name, ours)
        except (WorkerLostError, WorkerRefusedError) as error:
            # Its next version is told when it has been started; until then its dials fail.
            _log.warning("carrier_not_introduced", carrier=name, pid=control.pid, why=str(error))
            theirs.close()
            return
        hand.carriers.add(name)
        try:
            take(hand.index, theirs)
        except OSError as error:  # the carrier has just ended: who keeps it says so, or attaches the next
            _log.warning("carrier_gone", carrier=name, why=str(error))
            theirs.close()
