"""What goes through the kernel's mappings: counters from the table, flows from conntrack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.network import Network
from sekimori.planes.kernel.cutting import Cutter
from sekimori.planes.kernel.elements import Item, counts, render
from sekimori.planes.kernel.readings import is_live, read_counters, read_flow, read_sources
from sekimori.planes.kernel.table import Table
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import Entry
from sekimori.wire.nftelements import Seen

__all__ = ["KernelMeter"]

_SINGLY = 50
"""Mappings up to which elements and flows are asked for one by one, rather than all of them read."""


class KernelMeter:
    """The readings of the kernel plane (`reconcile.ports.Meter`).

    Args:
        held: the plane's mappings by id, as they are at any time; those of its guests among them.

    Attributes:
        carried: figures of elements that are gone, by mapping id: a counter ends with its element.
    """

    def __init__(
        self, table: Table, cutter: Cutter, held: Mapping[str, Wanted], network: Callable[[], Network]
    ) -> None:
        self.carried: dict[str, Counters] = {}
        self._table = table
        self._cutter = cutter
        self._held = held
        self._network = network

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id, of all or of these."""
        return await asyncio.to_thread(self._counters, ids)

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping, the newest first."""
        now = time.time()
        entries = filter(is_live, await asyncio.to_thread(self._entries, mapping_id))
        return sorted((read_flow(entry, now) for entry in entries), key=lambda flow: flow.age)

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source does with a mapping, the latest first, as far as conntrack remembers."""
        return read_sources(await asyncio.to_thread(self._entries, mapping_id), time.time())

    def carry(self, ids: Iterable[str]) -> None:
        """Keep the figures of mappings whose elements are about to be replaced. Blocks."""
        wanted = {key: self._held[key] for key in ids}
        for key, seen in self._seen(wanted).items():
            self.carried[key] = self.carried.get(key, Counters()) + self._reading(seen, ())

    def totals(self) -> dict[str, Counters]:
        """The figures of all mappings that something came or went by, without flows. Blocks."""
        found = self._table.read(name for name in self._table.names()[1] if counts(name) is not None)
        moved = {
            name: {key: seen for key, seen in rows.items() if seen.packets} for name, rows in found.items()
        }
        totals = dict(self.carried)
        if not any(moved.values()):
            return totals
        for key, wanted in dict(self._held).items():
            items = render(wanted)
            seen = [
                (item, moved[item.set][item.key]) for item in items if item.key in moved.get(item.set, ())
            ]
            if seen:
                totals[key] = self._reading(seen, ()) + totals.get(key, Counters())
        return totals

    def forget(self, ids: Iterable[str]) -> None:
        """Drop the figures of mappings that are gone."""
        for key in ids:
            self.carried.pop(key, None)

    def _counters(self, ids: Sequence[str] | None) -> dict[str, Counters]:
        held = self._held  # 60,000 of them are not copied for one answer
        wanted = dict(held) if ids is None else {key: held[key] for key in ids if key in held}
        seen = self._seen(wanted)
        if len(wanted) <= _SINGLY:
            # To ask conntrack is to walk all of it (5 ms): what has let no packet in has no flows.
            flows = {
                key: self._entries(key)
                for key in wanted
                if key in self.carried or any(each.packets for _, each in seen[key])
            }
        else:
            flows = self._cutter.share_out(wanted, self._network(), tuple(held.values()))
        return {
            key: self._reading(seen[key], flows.get(key, ())) + self.carried.get(key, Counters())
            for key in wanted
        }

    def _entries(self, mapping_id: str) -> list[Entry]:
        wanted = self._held.get(mapping_id)
        if wanted is None:
            return []
        return self._cutter.flows(wanted, self._network(), tuple(self._held.values()))

    def _seen(self, wanted: Mapping[str, Wanted]) -> dict[str, list[tuple[Item, Seen]]]:
        """The elements that count, with what they counted, by mapping id."""
        if len(wanted) > _SINGLY:
            return self._read(wanted)
        return {key: self._look_up(each) for key, each in wanted.items()}

    def _look_up(self, wanted: Wanted) -> list[tuple[Item, Seen]]:
        items = [item for item in render(wanted) if counts(item.set) is not None]
        return list(self._table.look_up(items).items())

    def _read(self, wanted: Mapping[str, Wanted]) -> dict[str, list[tuple[Item, Seen]]]:
        """The same for many mappings: every set they are in is read once."""
        items = {key: [item for item in render(each) if counts(item.set)] for key, each in wanted.items()}
        found = self._table.read({item.set for each in items.values() for item in each})
        return {
            key: [(item, found[item.set][item.key]) for item in each if item.key in found[item.set]]
            for key, each in items.items()
        }

    def _reading(self, seen: Iterable[tuple[Item, Seen]], flows: Iterable[Entry]) -> Counters:
        by_way: dict[str, list[Seen]] = {}
        for item, each in seen:
            by_way.setdefault(counts(item.set) or "", []).append(each)
        return read_counters(by_way, flows)
