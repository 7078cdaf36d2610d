"""The workers a daemon works with: found alive from an earlier one, or started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from sekimori.planes.relay.bans import Ban
from sekimori.planes.relay.control import Control, Held, WorkerLostError, connect, spawn

__all__ = ["Crew", "Hand"]

_log = structlog.get_logger("relay")


@dataclass(slots=True)
class Hand:
    """One worker as the daemon knows it.

    Attributes:
        control: the connection; None while the worker is gone.
        held: the entries it has, by id: what it said when we connected, and what was set since.
        bans: those it was told; None until it was, as it may have an earlier daemon's.
        carriers: the names of those that it was introduced to.
    """

    index: int
    control: Control | None = None
    held: dict[str, Held] = field(default_factory=dict)
    bans: tuple[Ban, ...] | None = None
    carriers: set[str] = field(default_factory=set)


class Crew:
    """Keeps `size` workers, each at its own socket in `directory`."""

    def __init__(
        self,
        directory: Path,
        size: int,
        user: tuple[int, int] | None,
        on_lost: Callable[[Hand], None],
    ) -> None:
        self.hands = [Hand(index) for index in range(size)]
        self._directory = directory
        self._user = user
        self._on_lost = on_lost
        self._lock = asyncio.Lock()

    @property
    def live(self) -> list[tuple[Hand, Control]]:
        """The workers that are there now, with their connections."""
        return [(hand, hand.control) for hand in self.hands if hand.control is not None]

    async def ensure(self) -> None:
        """Have every worker there: take over the living, start the missing.

        Raises:
            WorkerLostError: one could not be started.
        """
        async with self._lock:
            missing = [hand for hand in self.hands if hand.control is None]
            await asyncio.gather(*(self._fill(hand) for hand in missing))

    async def dismiss_others(self, grace: float) -> None:
        """Tell workers beyond our number, left by a daemon that wanted more, to end."""
        for path in sorted(self._directory.glob("worker-*.sock")):
            if path not in {self._path(hand.index) for hand in self.hands}:
                try:
                    control = await connect(path)
                except WorkerLostError:
                    path.unlink(missing_ok=True)
                    continue
                _log.info("worker_dismissed", pid=control.pid)
                await control.quit(grace)
                control.close()

    async def release(self) -> None:
        """Hang up; the workers serve on."""
        for hand in self.hands:
            if hand.control is not None:
                hand.control.close()
                hand.control = None

    async def quit(self) -> None:
        """End the workers and their flows, now."""
        for hand in self.hands:
            control, hand.control = hand.control, None
            if control is None:
                continue
            control.on_lost = None
            try:
                await control.quit(0.0)
            except WorkerLostError as lost:
                _log.warning("worker_lost", why=str(lost))
            control.close()

    async def _fill(self, hand: Hand) -> None:
        path = self._path(hand.index)
        try:
            control = await connect(path)
        except WorkerLostError:
            control = await spawn(path, user=self._user)
            _log.info("worker_started", pid=control.pid)
        else:
            _log.info("worker_adopted", pid=control.pid)
        control.on_lost = lambda: self._lose(hand)
        hand.control = control
        hand.bans = None
        hand.carriers = set()
        hand.held = await control.state()

    def _lose(self, hand: Hand) -> None:
        _log.warning("worker_lost", pid=hand.control.pid if hand.control else None)
        hand.control = None
        self._on_lost(hand)
        hand.held = {}

    def _path(self, index: int) -> Path:
        return self._directory / f"worker-{index}.sock"
