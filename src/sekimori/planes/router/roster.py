"""Which routers stand above now: made, watched and let go of as the network changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.router.facts import RouterFacts
from sekimori.planes.router.hearing import Ears
from sekimori.planes.router.router import Hooks, Router
from sekimori.planes.router.terms import Line, lines_behind_a_router, lines_for
from sekimori.reconcile.ports import Clock

__all__ = ["Roster"]


class Roster:
    """The routers above, one for each line.

    Args:
        network: the machine's place in the network, as it is now.
        clock: the time.
        steady: seconds that only go forward, in sleep too.
        hooks: what the routers tell.
    """

    def __init__(
        self, network: Callable[[], Network], clock: Clock, steady: Callable[[], float], hooks: Hooks
    ) -> None:
        self._network = network
        self._clock = clock
        self._steady = steady
        self._hooks = hooks
        self._routers: dict[Line, Router] = {}
        self._ears: dict[Line, Ears] = {}
        self._tasks: dict[Line, asyncio.Task[None]] = {}
        self._former: dict[tuple[str, IPv4Address], frozenset[IPv4Address]] = {}
        self._group: asyncio.TaskGroup | None = None

    def __iter__(self) -> Iterator[Router]:
        return iter(self._routers.values())

    def match(self) -> tuple[list[Router], list[Router]]:
        """Bring the routers to what the network is now: those that were left, and those that are new."""
        lines = lines_behind_a_router(self._network())
        left = [router for line, router in self._routers.items() if line not in lines]
        for router in left:
            self._leave(router)
        return left, [self._meet(line) for line in lines if line not in self._routers]

    def watch(self, group: asyncio.TaskGroup | None) -> None:
        """Watch them, and those to come, in this group; None where it has ended."""
        self._group = group
        self._tasks.clear()
        if group is not None:
            for router in self:
                self._begin(router, group)

    def of(self, mapping: PortMapping) -> list[Router]:
        """Those that have to hand on the ports of a mapping."""
        lines = lines_for(mapping, self._network())
        return [self._routers[line] for line in lines if line in self._routers]

    def told(self) -> tuple[RouterFacts, ...]:
        """What is known of them, that of the preferred line first."""
        lines = lines_behind_a_router(self._network())
        return tuple(self._routers[line].facts() for line in lines if line in self._routers)

    def close(self) -> None:
        """Leave all of them."""
        for router in list(self):
            self._leave(router)

    def _meet(self, line: Line) -> Router:
        key = (line.interface, line.gateway)
        had = self._former.get(key, frozenset())
        self._former[key] = had | {line.local}
        router = self._routers[line] = Router(
            line, self._clock, self._steady, had - {line.local}, self._hooks
        )
        self._ears[line] = Ears(line, router.suspect, router.doubt, self._steady)
        if self._group is not None:
            self._begin(router, self._group)
        return router

    def _leave(self, router: Router) -> None:
        del self._routers[router.line]
        self._ears.pop(router.line).close()
        task = self._tasks.pop(router.line, None)
        if task is not None:
            task.cancel()
        router.close()

    def _begin(self, router: Router, group: asyncio.TaskGroup) -> None:
        self._tasks[router.line] = group.create_task(router.run(), name=f"router {router.line.gateway}")
