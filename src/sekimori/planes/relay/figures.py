"""What went through each mapping, over all workers, those that are gone included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sekimori.model.actual import Counters
from sekimori.planes.relay.control import Control, WorkerLostError
from sekimori.planes.relay.crew import Crew, Hand
from sekimori.planes.relay.readings import read_counters

__all__ = ["Figures"]


class Figures:
    """Adds up workers, and keeps the last word of each.

    Attributes:
        carried: readings of workers that are gone, by mapping id.
    """

    def __init__(self, crew: Crew) -> None:
        self.carried: dict[str, Counters] = {}
        self._crew = crew
        self._last: dict[int, dict[str, Counters]] = {}

    async def read(self, ids: Sequence[str] | None) -> dict[str, Counters]:
        """Counters by mapping id, of all or of these."""
        found: list[tuple[Hand, Control, dict[str, Counters]]] = []
        for hand, control in self._crew.live:
            with suppress(WorkerLostError):  # what it last told is carried on
                rows = await control.stats(ids)
                found.append((hand, control, {key: read_counters(row) for key, row in rows.items()}))
        chosen = self.carried.keys() if ids is None else self.carried.keys() & set(ids)
        total = {key: self.carried[key] for key in chosen}
        for hand, control, readings in found:
            if hand.control is not control:  # lost since: its figures are among the carried
                continue
            self._last.setdefault(hand.index, {}).update(readings)
            for key, reading in readings.items():
                total[key] = total[key] + reading if key in total else reading
        return total

    def lose(self, index: int) -> None:
        """A worker is gone: carry what it last told."""
        self._carry(self._last.pop(index, {}))

    async def conclude(self) -> None:
        """Carry the last word of every worker, before they are ended."""
        await self.read(None)
        for index in list(self._last):
            self.lose(index)

    def _carry(self, readings: Mapping[str, Counters]) -> None:
        for key, reading in readings.items():
            ended = replace(reading, flows_active=0)
            self.carried[key] = self.carried[key] + ended if key in self.carried else ended
