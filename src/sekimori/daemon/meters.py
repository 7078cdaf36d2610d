"""The readings of all planes as one, and their figures across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from sekimori.daemon.usage import from_counters, to_counters
from sekimori.ledger.store import Ledger
from sekimori.model.actual import Counters, Flow, SourceUse
from sekimori.model.address import IPNetwork
from sekimori.model.errors import Problem
from sekimori.planes.kernel.meter import KernelMeter
from sekimori.planes.kernel.opening import KernelSide
from sekimori.planes.relay.plane import RelayPlane

__all__ = ["Meters"]

_log = structlog.get_logger("figures")


class Meters:
    """Asks the plane that a mapping is on.

    Both planes' counters go on while this process does not. What the relay's workers count ends with them,
    and what the kernel counts with an element or at a reboot; so totals are kept in the ledger.
    """

    def __init__(self, ledger: Ledger, relay: RelayPlane, kernel: KernelSide) -> None:
        self._ledger = ledger
        self._relay = relay
        self._kernel = kernel

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        """Counters by mapping id, of all or of these."""
        meter = self._meter
        if meter is None:
            return await self._relay.counters(ids)
        if ids is None:
            return {**await self._relay.counters(), **await meter.counters()}
        mine = [key for key in ids if self._is_in_kernel(key)]
        others = [key for key in ids if not self._is_in_kernel(key)]
        found: dict[str, Counters] = {}
        if others:
            found.update(await self._relay.counters(others))
        if mine:
            found.update(await meter.counters(mine))
        return found

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        """The live flows of a mapping."""
        meter = self._meter
        if meter is not None and self._is_in_kernel(mapping_id):
            return await meter.flows(mapping_id)
        return await self._relay.flows(mapping_id)

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        """What each source did with a mapping."""
        meter = self._meter
        if meter is not None and self._is_in_kernel(mapping_id):
            return await meter.sources(mapping_id)
        return await self._relay.sources(mapping_id)

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """End live flows at once: of a mapping, from a prefix, or those that are both; how many."""
        count = 0
        if mapping_id is None or not self._is_in_kernel(mapping_id):
            count += await self._relay.kill(mapping_id, source)
        if mapping_id is None or self._is_in_kernel(mapping_id):
            count += await self._kernel.kill(mapping_id, source)
        return count

    def planes(self) -> list[dict[str, Any]]:
        """The planes as plain JSON values; one that cannot work here says why."""
        kernel: dict[str, Any] = {"name": self._kernel.name}
        if self._kernel.obstacle is not None:
            kernel["why_not"] = self._kernel.obstacle.titles
        return [kernel, {"name": self._relay.name, "workers": self._relay.worker_pids}]

    def load(self) -> None:
        """Take up the totals of earlier runs, before anything is counted."""
        kept = to_counters(self._ledger.load_usage())
        mine = {key: value for key, value in kept.items() if self._is_in_kernel(key)}
        self._relay.figures.carried = {key: value for key, value in kept.items() if key not in mine}
        if self._meter is not None:
            self._meter.carried = mine

    async def settle(self) -> None:
        """Take from the kernel's totals what its counters still have from earlier runs. Once, at start."""
        meter = self._meter
        if meter is None or not meter.carried:
            return
        kept, meter.carried = meter.carried, {}
        now = await asyncio.to_thread(meter.totals)
        meter.carried = {key: _less(value, now.get(key, Counters())) for key, value in kept.items()}

    async def packets_in(self, mapping_id: str) -> int:
        """How many packets came in by a mapping; 0 for one that nobody counts."""
        found = (await self.counters([mapping_id])).get(mapping_id)
        return 0 if found is None else found.packets_in

    def save(self) -> None:
        """Keep what has ended of the relay's figures."""
        standing = {mapping.id for mapping in self._ledger.snapshot}
        carried = self._relay.figures.carried
        for key in carried.keys() - standing:
            del carried[key]
        self._save(carried)

    async def save_kernel(self) -> None:
        """Keep the kernel's totals."""
        if self._meter is None:
            return
        try:
            totals = await asyncio.to_thread(self._meter.totals)
        except Problem as problem:
            _log.warning("figures_not_read", problem=problem.title())
            return
        self._save(totals)

    def _save(self, totals: Mapping[str, Counters]) -> None:
        try:
            self._ledger.save_usage({key: from_counters(value) for key, value in totals.items()})
        except Problem as problem:  # figures are worth a word, not an outage
            _log.warning("figures_not_saved", problem=problem.title())

    @property
    def _meter(self) -> KernelMeter | None:
        return self._kernel.meter

    def _is_in_kernel(self, mapping_id: str) -> bool:
        mapping = self._ledger.snapshot.get(mapping_id)
        return mapping is not None and mapping.plane == "kernel"


def _less(total: Counters, counted: Counters) -> Counters:
    """What of a total was counted by elements that are gone."""
    return replace(
        total,
        flows_total=max(0, total.flows_total - counted.flows_total),
        bytes_in=max(0, total.bytes_in - counted.bytes_in),
        bytes_out=max(0, total.bytes_out - counted.bytes_out),
        packets_in=max(0, total.packets_in - counted.packets_in),
        packets_out=max(0, total.packets_out - counted.packets_out),
        refused={
            key: left
            for key, count in total.refused.items()
            if (left := count - sum(counted.refused.values())) > 0
        },
    )
