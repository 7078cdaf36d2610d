"""Connections that have not logged in yet: how many there may be, and which one gives way. Pure.

Nobody is turned away because the place is full: whoever said nothing for the longest goes instead. So a
thousand that connect and are silent cost each other their places, and one that speaks logs in meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from sekimori.model.address import IPNetwork

__all__ = ["MOST", "MOST_OF_A_SOURCE", "Stage", "Waiting"]

MOST: Final = 100
MOST_OF_A_SOURCE: Final = 10

T = TypeVar("T")


class Stage(IntEnum):
    """How far one has come. Who has not come as far gives way first."""

    SILENT = 0
    """Connected, and said nothing."""
    SPEAKING = 1
    """Said something."""
    KEYED = 2
    """The connection is encrypted: to come this far took a key exchange."""


@dataclass(slots=True)
class _One:
    source: IPNetwork
    at: float
    stage: Stage = Stage.SILENT


class Waiting(Generic[T]):
    """Those that wait, each known by whatever its keeper gives."""

    def __init__(self, most: int = MOST, most_of_a_source: int = MOST_OF_A_SOURCE) -> None:
        self._most = most
        self._most_of_a_source = most_of_a_source
        self._all: dict[T, _One] = {}

    def come(self, who: T, source: IPNetwork, now: float) -> T | None:
        """Take in one more; who is to go in its place, or None."""
        same = [each for each, one in self._all.items() if one.source == source]
        gone: T | None = None
        if len(same) >= self._most_of_a_source:
            gone = self._last_of(same)
        elif len(self._all) >= self._most:
            gone = self._last_of(list(self._all))
        if gone is not None:
            del self._all[gone]
        self._all[who] = _One(source, now)
        return gone

    def reach(self, who: T, stage: Stage) -> None:
        """One has come this far."""
        one = self._all.get(who)
        if one is not None:
            one.stage = max(one.stage, stage)

    def leave(self, who: T) -> Stage | None:
        """One waits no more; how far it had come, or None where it had gone already."""
        one = self._all.pop(who, None)
        return None if one is None else one.stage

    def late(self, before: float) -> list[T]:
        """Those that came before a time."""
        return [who for who, one in self._all.items() if one.at < before]

    def _last_of(self, some: list[T]) -> T:
        return min(some, key=lambda who: (self._all[who].stage, self._all[who].at))

    def __len__(self) -> int:
        """How many wait."""
        return len(self._all)

    def __iter__(self) -> Iterator[T]:
        """Those that wait."""
        return iter(list(self._all))
