"""What routers hold for us, by mapping: which entries, until when, and whether they are sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final

from sekimori.model.address import IpProtocol
from sekimori.planes.router.asking import Asker, Wish
from sekimori.planes.router.facts import Standing
from sekimori.planes.router.router import Router
from sekimori.planes.router.terms import Run
from sekimori.reconcile.ports import Wanted

__all__ = ["UNSURE", "Entry", "Held", "Holdings"]

UNSURE: Final = "unsure"
"""The fingerprint of what is not known to be there: no mapping has it."""


@dataclass(slots=True, eq=False)
class Entry:
    """One entry of a router's table.

    Attributes:
        until: when the router takes it away by itself, by the steady clock; None for never.
        renew_at: when it is to be renewed, by the same.
        sure: whether the router said that it has it, and has lost nothing since.
        tries: how often the router has refused to take it away.
    """

    router: Router
    asker: Asker
    wish: Wish
    until: float | None
    renew_at: float = inf
    sure: bool = False
    tries: int = 0

    @property
    def run(self) -> Run:
        """Its ports."""
        return self.wish.run

    def standing(self, later: float) -> Standing:
        """It, for others to read; `later` is how much Unix time is ahead of the steady clock."""
        return Standing(
            interface=self.router.line.interface,
            gateway=self.router.line.gateway,
            protocol=self.asker.protocol,
            ports=str(self.run),
            until=None if self.until is None else self.until + later,
            sure=self.sure,
        )


@dataclass(slots=True, eq=False)
class Held:
    """What is held of one mapping.

    Attributes:
        wanted: what was put last.
        mark: the fingerprint of that; `UNSURE` while it could not be made real.
        lock: whoever asks routers about the mapping has it.
    """

    wanted: Wanted
    mark: str = UNSURE
    entries: list[Entry] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_sure(self) -> bool:
        """Whether all of it is there."""
        return self.mark != UNSURE and all(entry.sure for entry in self.entries)

    def on(self, router: Router) -> list[Entry]:
        """Its entries at one router."""
        return [entry for entry in self.entries if entry.router is router]


class Holdings:
    """All that is held. `marks` is what `observe` tells."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._marks: dict[str, str] = {}
        self.marks = MappingProxyType(self._marks)
        self._insides: dict[tuple[Router, IpProtocol, int], tuple[str, Entry]] = {}

    def __iter__(self) -> Iterator[tuple[str, Held]]:
        return iter(self._held.items())

    def __len__(self) -> int:
        return len(self._held)

    def get(self, mapping_id: str) -> Held | None:
        """What is held of a mapping."""
        return self._held.get(mapping_id)

    def begin(self, wanted: Wanted) -> Held:
        """The record of a mapping, made where there is none."""
        return self._held.setdefault(wanted.mapping.id, Held(wanted))

    def note(self, mapping_id: str) -> None:
        """Bring `marks` up to date after a change; what has no entries and is not made is forgotten."""
        held = self._held.get(mapping_id)
        if held is None:
            return
        if not held.entries and held.mark == UNSURE:
            self.forget(mapping_id)
        else:
            self._marks[mapping_id] = held.mark if held.is_sure else UNSURE

    def forget(self, mapping_id: str) -> None:
        """Nothing is held of a mapping any more."""
        held = self._held.pop(mapping_id, None)
        self._marks.pop(mapping_id, None)
        for entry in held.entries if held else ():
            self._drop_insides(entry)

    def add(self, mapping_id: str, entry: Entry) -> None:
        """A router has, or may have, an entry."""
        self._held[mapping_id].entries.append(entry)
        for single in entry.run.singles():
            self._insides[entry.router, single.protocol, single.inside] = (mapping_id, entry)

    def drop(self, mapping_id: str, entry: Entry) -> None:
        """A router does not have an entry."""
        self._held[mapping_id].entries.remove(entry)
        self._drop_insides(entry)

    def shrink(self, mapping_id: str, entry: Entry, wish: Wish) -> None:
        """An entry holds fewer ports than were asked for."""
        self._drop_insides(entry)
        entry.wish = wish
        for single in wish.run.singles():
            self._insides[entry.router, single.protocol, single.inside] = (mapping_id, entry)

    def other_outside(self, router: Router, run: Run) -> str | None:
        """The mapping that has one of these inside ports by another outside port; None where nobody has."""
        for single in run.singles():
            found = self._insides.get((router, single.protocol, single.inside))
            if found is None:
                continue
            other = found[1].run
            if other.outside - other.inside != single.outside - single.inside:
                return found[0]
        return None

    def at(self, router: Router) -> list[tuple[str, Entry]]:
        """The entries at one router, with their mappings' ids."""
        return [(key, entry) for key, held in self._held.items() for entry in held.on(router)]

    def leave(self, router: Router) -> list[str]:
        """A router is not there any more: the mappings that it had ports of, none of them made now."""
        entries = self.at(router)
        for key, entry in entries:
            self.drop(key, entry)
        return self.unmake(dict.fromkeys(key for key, _ in entries))

    def unmake(self, keys: Iterable[str]) -> list[str]:
        """These mappings are not made any more."""
        changed = list(keys)
        for key in changed:
            held = self._held.get(key)
            if held is not None:
                held.mark = UNSURE
                self.note(key)
        return changed

    def due(self, now: float) -> list[str]:
        """The mappings of which something is to be renewed."""
        return [key for key, held in self._held.items() if any(each.renew_at <= now for each in held.entries)]

    def next_due(self) -> float:
        """When `due` will tell of the next one, by the steady clock; `inf` for never."""
        times = (entry.renew_at for held in self._held.values() for entry in held.entries)
        return min(times, default=inf)

    def doubt(self, entries: Iterable[tuple[str, Entry]]) -> list[str]:
        """These are not sure any more; the mappings that looked whole until now."""
        changed = []
        for key, entry in entries:
            entry.sure = False
            if self._marks.get(key, UNSURE) != UNSURE:
                changed.append(key)
                self._marks[key] = UNSURE
        return changed

    def _drop_insides(self, entry: Entry) -> None:
        for single in entry.run.singles():
            key = (entry.router, single.protocol, single.inside)
            if key in self._insides and self._insides[key][1] is entry:
                del self._insides[key]
