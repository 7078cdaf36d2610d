"""Paths that were chosen when the network was another: chosen anew when a router before us comes or goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from sekimori.gate.ports import Gate
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context, Reroute
from sekimori.model.snapshot import Snapshot
from sekimori.policy.allocate import choose_path
from sekimori.policy.rules import Rules

__all__ = ["Paths"]

_NETWORK: Final = Owner(OwnerKind.TRIGGER, "network")
_log = structlog.get_logger("paths")


class Paths:
    """Keeps the paths of mappings whose plane was left to us as policy would choose them now."""

    def __init__(self, gate: Gate, snapshot: Callable[[], Snapshot], rules: Rules) -> None:
        self._gate = gate
        self._snapshot = snapshot
        self._rules = rules
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """What paths go by may be another now."""
        self._changed.set()

    async def run(self) -> None:
        """Look whenever woken, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.look()

    async def look(self) -> None:
        """Choose anew, as one revision."""
        asks = [Reroute(each.id) for each in self._snapshot() if self._is_outdated(each)]
        if not asks:
            return
        context = Context(_NETWORK, "guard", "a router before this machine came or went")
        try:
            await self._gate.enact(asks, context)
        except Problem as problem:
            # One that cannot be applied takes them all back; each alone shows which one it is.
            _log.warning("not_rerouted", count=len(asks), problem=problem.title())
            if len(asks) > 1:
                await self._one_by_one(asks, context)

    async def _one_by_one(self, asks: list[Reroute], context: Context) -> None:
        for ask in asks:
            try:
                await self._gate.enact([ask], context)
            except Problem as problem:
                _log.warning("not_rerouted", mapping=ask.ref, problem=problem.title())

    def _is_outdated(self, mapping: Mapping) -> bool:
        if mapping.via != "auto" or mapping.sources.is_lan:
            return False
        try:
            path = choose_path(mapping, self._snapshot(), self._rules)
        except Problem:  # it cannot be made now at all, which its status says
            return False
        router = self._rules.router
        if len(path) < len(mapping.path) and router is not None and not router.has_gone():
            return False  # a router that is restarting still has what it was told, or will be told again
        return path != mapping.path
