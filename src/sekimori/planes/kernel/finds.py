"""Elements that were read from the table, until a mapping claims them or they are swept away."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sekimori.planes.kernel.elements import Item
from sekimori.planes.kernel.table import Found, Table
from sekimori.wire.nftelements import Seen

__all__ = ["Finds"]

_SLACK: Final = 2.0
"""Seconds by which two readings of one timeout may differ: what passes between reading and comparing."""


@dataclass(slots=True)
class Finds:
    """What is there and nobody has claimed.

    Attributes:
        late: seconds by which elements may end later than they were meant to, for they were written slowly.
    """

    late: float = 0.0
    _rows: Found = field(default_factory=dict)
    _read_at: dict[str, float] = field(default_factory=dict)
    """When each set was read (Unix seconds)."""

    def __bool__(self) -> bool:
        return any(self._rows.values())

    @property
    def sets(self) -> set[str]:
        """The sets that hold something."""
        return {name for name, rows in self._rows.items() if rows}

    def read(self, table: Table, sets: Iterable[str], now: float) -> None:
        """Read these sets; to read all of 60,000 mappings takes seconds, so each has a time of its own.

        Raises:
            NetfilterError: it cannot be read.
        """
        begun = time.monotonic()
        self.clear()
        for name in sets:
            self._read_at[name] = now + time.monotonic() - begun
            self._rows |= table.read((name,))

    def clear(self) -> None:
        """Forget them: they were swept away, or the table was."""
        self._rows, self._read_at = {}, {}

    def has(self, item: Item) -> bool:
        """Whether an element was found just as it shall be."""
        seen = self._rows.get(item.set, {}).get(item.key)
        return seen is not None and self._is(seen, item)

    def covers(self, item: Item) -> bool:
        """Whether something was found in an element's place."""
        return item.key in self._rows.get(item.set, {})

    def claim(self, item: Item) -> None:
        """It is a mapping's from now on."""
        del self._rows[item.set][item.key]

    def meet(self, item: Item, gone: list[Item], come: list[Item]) -> None:
        """Have an element added, unless it was found; what was found in its place goes."""
        seen = self._rows.get(item.set, {}).pop(item.key, None)
        if seen is not None:
            if self._is(seen, item):
                return
            gone.append(Item(item.set, seen.key, seen.key_end))
        come.append(item)

    def unclaimed(self) -> Iterator[Item]:
        """All that is left."""
        for name, rows in self._rows.items():
            for seen in rows.values():
                yield Item(name, seen.key, seen.key_end)

    def _is(self, seen: Seen, item: Item) -> bool:
        if (seen.key_end or item.key) != (item.end or item.key):
            return False
        if (seen.data, seen.chain) != (item.data, item.chain):
            return False
        if item.until is None or seen.expires_ms is None:
            return item.until is None and seen.timeout_ms is None
        ends = self._read_at[item.set] + seen.expires_ms / 1000
        return abs(ends - item.until) < _SLACK + self.late
