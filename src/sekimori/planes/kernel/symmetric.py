"""Who has the outbound port of an inside one, where several mappings lead to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sekimori.planes.kernel.elements import Item

__all__ = ["SYMMETRIC", "Symmetric", "Turn"]

SYMMETRIC = "sym4"
"""The set whose elements several mappings may ask for."""

_Claims = dict[bytes, tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What changes in the kernel when claims do; nothing is settled until `Symmetric.settle`."""

    claims: _Claims
    drop: tuple[Item, ...]
    add: tuple[Item, ...]


@dataclass(slots=True)
class Symmetric:
    """Claims on inside ports: what leaves from one can have one outside port only, that of the mapping
    that came first. When it goes, the next one's turn comes.
    """

    _claims: _Claims = field(default_factory=dict)
    _lost: set[bytes] = field(default_factory=set)
    """Inside ports whose element is not there, though it should be."""

    def plan(self, drop: Iterable[Item], add: Iterable[Item]) -> Turn:
        """What dropping and adding these claims means for the kernel."""
        touched: dict[bytes, list[Item]] = {}
        for item in drop:
            queue = touched.setdefault(item.key, list(self._claims.get(item.key, ())))
            if item in queue:
                queue.remove(item)
        for item in add:
            queue = touched.setdefault(item.key, list(self._claims.get(item.key, ())))
            if item not in queue:
                queue.append(item)
        goes, comes = [], []
        for key, queue in touched.items():
            first = None if key in self._lost else self._claims.get(key, (None,))[0]
            heir = queue[0] if queue else None
            if first != heir:
                goes += [first] if first else []
                comes += [heir] if heir else []
        return Turn({key: tuple(queue) for key, queue in touched.items()}, tuple(goes), tuple(comes))

    def settle(self, turn: Turn) -> None:
        """Take a turn that the kernel took."""
        for key, queue in turn.claims.items():
            self._lost.discard(key)
            if queue:
                self._claims[key] = queue
            else:
                self._claims.pop(key, None)

    def is_first(self, item: Item) -> bool:
        """Whether the kernel should have just this element."""
        return self._claims.get(item.key, (None,))[0] == item

    def lose(self, key: bytes) -> None:
        """The element of an inside port is not there: it comes with the next claim on it, old or new."""
        self._lost.add(key)
