"""What every call needs, and the quick way to show every mapping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sekimori.doors.api.ports import Views
from sekimori.doors.api.render import Edges, Json, find_edges, render_now, render_terms
from sekimori.model.mapping import Mapping

if TYPE_CHECKING:
    from sekimori.gate import Gate

__all__ = ["Desk"]

_BATCH: Final = 200
"""Mappings shown before other calls get their turn: a few milliseconds of work."""


@dataclass(slots=True)
class _Kept:
    mapping: Mapping
    terms: str
    """The unchanging part of its view as JSON, without the last brace."""
    edges: Edges


class Desk:
    """The gate, the views, and what was shown before."""

    def __init__(self, gate: Gate, views: Views) -> None:
        self.gate = gate
        self.views = views
        self.in_turn = asyncio.Lock()
        """Held while something is read that is then changed as a whole, so that no change is lost."""
        self._kept: dict[str, _Kept] = {}

    async def show(self, mappings: Iterable[Mapping], language: str, new: Collection[str] = ()) -> list[Json]:
        """The views of some mappings, planned ones too. Of those that are `new`, nothing was counted yet."""
        mappings = tuple(mappings)
        counted = [each.id for each in mappings if each.id not in new]
        counters = await self.views.counters(counted) if counted else {}
        now, snapshot = self.views.reading().now, self.views.snapshot()
        shown = []
        for mapping in mappings:
            status = self.views.status_of(mapping.id) if snapshot.get(mapping.id) else None
            moving = render_now(
                mapping, now, find_edges(mapping, now), status, counters.get(mapping.id), language
            )
            shown.append(render_terms(mapping, self.views.presets) | moving)
        return shown

    async def encode_all(self, language: str) -> str:
        """The views of every mapping as a JSON array.

        What only a commit changes is rendered once: of 10,000 mappings this takes a third of the
        time of `show`, and never holds up other calls for more than a batch.
        """
        snapshot = self.views.snapshot()
        counters = await self.views.counters() if len(snapshot) else {}
        now = self.views.reading().now
        shown = []
        for index, mapping in enumerate(tuple(snapshot), 1):
            if index % _BATCH == 0:
                await asyncio.sleep(0)
            if snapshot.get(mapping.id) is None:  # closed while others had their turn
                continue
            entry = self._keep(mapping, now)
            status = self.views.status_of(mapping.id)
            moving = render_now(mapping, now, entry.edges, status, counters.get(mapping.id), language)
            shown.append(f"{entry.terms}, {json.dumps(moving, ensure_ascii=False)[1:]}")
        if len(self._kept) > len(snapshot):
            self._kept = {key: entry for key, entry in self._kept.items() if snapshot.get(key)}
        return f"[{', '.join(shown)}]"

    def _keep(self, mapping: Mapping, now: float) -> _Kept:
        known = self._kept.get(mapping.id)
        if known is None or known.mapping is not mapping:
            terms = json.dumps(render_terms(mapping, self.views.presets), ensure_ascii=False)
            known = _Kept(mapping, terms.removesuffix("}"), find_edges(mapping, now))
            self._kept[mapping.id] = known
        if not known.edges.since <= now < known.edges.until:
            known.edges = find_edges(mapping, now)
        return known
