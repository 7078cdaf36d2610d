"""The plane that asks the router above to hand ports on to this machine.

A router forgets: it restarts, is replaced, loses entries, and ends each after its time. So what it granted is
renewed at half its life, and whatever makes it doubtful has the engine put it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

import structlog

from sekimori.model.address import IPAddress
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.line import wans_of
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.router.asking import Silence
from sekimori.planes.router.facts import Presence, RouterFacts, Standing
from sekimori.planes.router.holdings import UNSURE, Entry, Held, Holdings
from sekimori.planes.router.opening import Opening
from sekimori.planes.router.refusals import kept, listed, problem_of, slow
from sekimori.planes.router.roster import Roster
from sekimori.planes.router.router import Hooks, Router
from sekimori.planes.router.terms import lines_for, runs_of, terms_of, why_unable
from sekimori.reconcile.ports import Changes, Clock, Ground, Wanted

__all__ = ["PATIENCE", "RouterPlane"]

PATIENCE: Final = 3.0
"""Seconds that one change, or one look ahead, may take."""
_FAREWELL: Final = 8.0
"""Seconds in which everything is taken away at the end; what is left then ends by itself."""

_log = structlog.get_logger("router")


def _boottime() -> float:
    """Seconds that go on while the machine sleeps: leases do so too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RouterPlane:
    """Ports of routers above. See `reconcile.ports.Plane` for what its methods promise.

    `start` and `run` go on for as long as it is used: without `run` no router is found.

    Args:
        network: the machine's place in the network, as it is now.
        secret: makes the nonces of PCP, the same after every restart.
        clock: the time.
        steady: seconds that only go forward, in sleep too; the time of routers' epochs and leases.

    Attributes:
        on_change: called with the ids of mappings that may not be there any more, or could be now.
        on_told: called when `told` tells something else.
    """

    def __init__(
        self,
        network: Callable[[], Network],
        secret: bytes,
        clock: Clock,
        steady: Callable[[], float] = _boottime,
    ) -> None:
        self.name = "router"
        self.on_change: Callable[[Iterable[str]], None] = lambda _ids: None
        self.on_told: Callable[[], None] = lambda: None
        self._network = network
        self._clock = clock
        self._steady = steady
        self._holdings = Holdings()
        self._opening = Opening(self._holdings, secret, clock, steady)
        hooks = Hooks(self._lost, self._check, self._holds, lambda: self.on_told())
        self._routers = Roster(network, clock, steady, hooks)
        self._failed: set[str] = set()
        """Mappings that no router has granted yet."""
        self._started = False
        self._turn = 0
        self._wake = asyncio.Event()

    # -- its life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Hear what routers announce, in the running loop."""
        self._started = True
        self.reframe()

    async def run(self) -> None:
        """Find routers, watch them, and renew what they hold, for ever."""
        async with asyncio.TaskGroup() as group:
            self._routers.watch(group)
            try:
                while True:
                    self._wake.clear()
                    await self._renew_due()
                    left = self._holdings.next_due() - self._steady()
                    when = None if left == inf else self._clock.now() + max(0.0, left)
                    await self._clock.wait_until(when, self._wake)
            finally:
                self._routers.watch(None)

    def reframe(self) -> None:
        """The network may be another one: see which routers stand above now."""
        if not self._started:
            return
        left, met = self._routers.match()
        lost = [key for router in left for key in self._holdings.leave(router)]
        lost += self._missing_on(met)
        if lost:
            self.on_change(dict.fromkeys(lost))
        if left or met:
            self.on_told()

    async def close(self, *, leave: bool = False) -> None:
        """Take everything away from the routers, unless it is to be left there, and let go."""
        if not leave:
            keys = [key for key, _ in self._holdings]
            ends = asyncio.get_running_loop().time() + _FAREWELL
            failed = await self._together(
                {key: self._remove(key) for key in keys}, ends, self._too_slow_to_go
            )
            if failed:
                first = next(iter(failed.values()))
                _log.warning("not_taken_away", mappings=len(failed), first=first.title())
        self._routers.close()
        self._started = False

    # -- what others may know --------------------------------------------------------------------

    def told(self) -> tuple[RouterFacts, ...]:
        """The routers above, that of the preferred line first."""
        return self._routers.told()

    def standing(self, mapping_id: str) -> tuple[Standing, ...]:
        """What routers hold of a mapping."""
        held, later = self._holdings.get(mapping_id), self._clock.now() - self._steady()
        return tuple(entry.standing(later) for entry in held.entries) if held else ()

    def outside_address(self, version: int) -> IPAddress | None:
        """The outside address of the preferred line's router; None where it told none."""
        facts = self.told()
        address = facts[0].address if facts and version == 4 else None
        return None if address is None or address.is_unspecified else address

    def stands_before(self) -> bool:
        """Whether a router stands before the line that IPv4 goes by, and opens ports when it is asked."""
        return self._presence() is Presence.THERE

    def has_gone(self) -> bool:
        """Whether there is surely none before that line: not when one that answered is silent."""
        return self._presence() in (None, Presence.NONE)

    def _presence(self) -> Presence | None:
        """Of the router before the line that IPv4 goes by; None where that line has a public address."""
        wan, _ = wans_of(self._network())
        facts = self.told()
        return (
            facts[0].presence if wan is not None and facts and facts[0].interface == wan.interface else None
        )

    # -- Plane ---------------------------------------------------------------------------------

    def unable(self, mapping: PortMapping) -> Text | None:
        """What no router can hand on, or why none is asked here."""
        return why_unable(mapping, self._network())

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """Whether a router is there to be asked, and has not given the ports to others."""
        problems = []
        routers = self._routers.of(mapping)
        for router in routers:
            try:
                async with asyncio.timeout(PATIENCE):
                    problem = await self._look_ahead(router, mapping)
            except (TimeoutError, Silence):
                problem = slow(runs_of(mapping), str(router.line.gateway), PATIENCE)
            if problem is not None:
                problems.append(problem)
        return _worst(problems, len(routers))

    async def lay(self, ground: Ground) -> Problem | None:
        """Nothing of the machine as a whole concerns a router."""
        return None

    def fingerprint(self, wanted: Wanted) -> str:
        """A hash of the ports, where they are, and until when."""
        return terms_of(wanted)

    async def observe(self) -> Mapping[str, str]:
        """What routers said they hold, and have not lost since as far as is known."""
        return self._holdings.marks

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Take away first, then ask: a port may pass from one mapping to another."""
        self.reframe()
        ends = asyncio.get_running_loop().time() + PATIENCE
        removing = {key: self._remove(key) for key in changes.remove}
        failed = await self._together(removing, ends, self._too_slow_to_go)
        moving = {w.mapping.id: self._free(w) for w in changes.put if self._holdings.get(w.mapping.id)}
        failed |= await self._together(moving, ends, self._too_slow)
        # In the order in which they were made: miniupnpd 2.3.1 renews by taking away the first of its filter
        # rules for that port, TCP's or UDP's, and leaves the right ones only where the order never changes.
        in_order = sorted(changes.put, key=lambda wanted: (wanted.mapping.revision, wanted.mapping.id))
        putting = {w.mapping.id: self._put(w) for w in in_order if w.mapping.id not in failed}
        failed |= await self._together(putting, ends, self._too_slow)
        asked = {wanted.mapping.id for wanted in changes.put}
        self._failed -= asked | changes.remove.keys()
        self._failed |= asked & failed.keys()
        self._wake.set()
        for router in self._routers if asked else ():
            router.attend()
        return failed

    async def _together(
        self,
        jobs: Mapping[str, Coroutine[Any, Any, Problem | None]],
        ends: float,
        too_slow: Callable[[str], Problem],
    ) -> dict[str, Problem]:
        """Do something about several mappings side by side, until a time of the loop; what failed."""
        failed: dict[str, Problem] = {}

        async def within(key: str, job: Coroutine[Any, Any, Problem | None]) -> None:
            try:
                async with asyncio.timeout_at(ends):
                    problem = await job
            except TimeoutError:
                problem = too_slow(key)
            if problem is not None:
                failed[key] = problem

        async with asyncio.TaskGroup() as group:
            for key, job in jobs.items():
                group.create_task(within(key, job))
        return failed

    def _too_slow(self, key: str) -> Problem:
        held = self._holdings.get(key)
        runs = runs_of(held.wanted.mapping) if held else ()
        gateways = ", ".join(str(router.line.gateway) for router in self._routers)
        return slow(runs, gateways, PATIENCE)

    def _too_slow_to_go(self, key: str) -> Problem:
        held = self._holdings.get(key)
        if held is None or not held.entries:
            return self._too_slow(key)
        runs = [entry.run for entry in held.entries]
        return kept(runs, held.entries[0].router.line, cause("router-says-silent"))

    async def _remove(self, key: str) -> Problem | None:
        held = self._holdings.get(key)
        if held is None:
            return None
        async with held.lock:
            if self._holdings.get(key) is not held:
                return None
            held.mark = UNSURE
            try:
                return await self._opening.shut(held, held.entries)
            finally:
                self._holdings.note(key)

    async def _free(self, wanted: Wanted) -> Problem | None:
        """Take away what a mapping does not want any more, so that another may have it."""
        held = self._holdings.get(wanted.mapping.id)
        if held is None:
            return None
        routers = self._routers.of(wanted.mapping)
        keeps = {single for run in runs_of(wanted.mapping) for single in run.singles()}
        async with held.lock:
            leaving = [
                entry
                for entry in held.entries
                if entry.router not in routers or not keeps.issuperset(entry.run.singles())
            ]
            if not leaving:
                return None
            held.mark = UNSURE
            try:
                return await self._opening.shut(held, leaving)
            finally:
                self._holdings.note(wanted.mapping.id)

    async def _put(self, wanted: Wanted) -> Problem | None:
        mapping = wanted.mapping
        routers = self._routers.of(mapping)
        if not routers and not any(wan.addresses4 for wan in self._network().wans):
            return Problem("router-no-line", ports=listed(runs_of(mapping)))
        held = await self._take(wanted)
        try:
            held.wanted, held.mark = wanted, UNSURE
            problems = [await self._opening.open_on(router, held) for router in routers]
            problem = _worst([each for each in problems if each is not None], len(routers))
            if problem is None:
                held.mark = terms_of(wanted)
            return problem
        finally:
            self._holdings.note(mapping.id)
            held.lock.release()

    async def _take(self, wanted: Wanted) -> Held:
        """The record of a mapping, locked."""
        while True:
            held = self._holdings.begin(wanted)
            await held.lock.acquire()
            if self._holdings.begin(wanted) is held:
                return held
            held.lock.release()  # it was forgotten while we waited

    async def _look_ahead(self, router: Router, mapping: PortMapping) -> Problem | None:
        runs = runs_of(mapping)
        asker = await router.ready()
        if asker is None:
            return self._opening.unanswered(router, runs)
        for run in (single for each in runs for single in each.singles()):
            async with router.turn(asker):
                taken = await asker.taker(run)
            if taken is not None:
                return problem_of(taken, run, runs, router.line)
        return None

    # -- routers -------------------------------------------------------------------------------

    def _missing_on(self, met: Sequence[Router]) -> list[str]:
        """The mappings that new routers have to be asked for."""
        if not met:
            return []
        lines, network = {router.line for router in met}, self._network()
        missing = [
            key for key, held in self._holdings if lines.intersection(lines_for(held.wanted.mapping, network))
        ]
        return [*self._holdings.unmake(missing), *self._failed]

    def _holds(self, router: Router) -> bool:
        return bool(self._failed) or any(held.on(router) for _, held in self._holdings)

    def _lost(self, router: Router) -> None:
        """Nothing there is sure any more, or the router is back: the engine asks for all of it again."""
        changed = self._holdings.doubt(self._holdings.at(router))
        ids = [*changed, *self._failed.difference(changed)]
        if ids:
            self.on_change(ids)

    async def _check(self, router: Router, whole: bool) -> None:
        """See whether entries are still there: each in its turn, and all where one is not."""
        entries = [(key, entry) for key, entry in self._holdings.at(router) if entry.sure]
        if not entries:
            return
        self._turn += 1
        asked = entries if whole else [entries[self._turn % len(entries)]]
        try:
            gone = [each for each in asked if not await self._stands(each[1])]
            if gone and not whole:
                gone = [each for each in entries if not await self._stands(each[1])]
        except Silence:
            router.suspect()
            return
        if gone:
            _log.warning("router_forgot", gateway=str(router.line.gateway), entries=len(gone))
            self.on_change(self._holdings.doubt(gone))

    async def _stands(self, entry: Entry) -> bool:
        if not entry.sure:
            return True  # somebody else found out meanwhile
        async with entry.router.turn(entry.asker):
            return await entry.asker.stands(entry.run)

    async def _renew_due(self) -> None:
        keys = self._holdings.due(self._steady())
        results: list[str] = []

        async def renew(key: str) -> None:
            held = self._holdings.get(key)
            if held is None:
                return
            async with held.lock:
                if self._holdings.get(key) is held and not await self._opening.renew(held):
                    results.append(key)
                self._holdings.note(key)

        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(renew(key))
        if results:
            self.on_change(results)


def _worst(problems: Sequence[Problem], routers: int) -> Problem | None:
    """What keeps a mapping from being open: a refusal of any router, or that none of them answers."""
    for problem in problems:
        if problem.code != "no-router" or len(problems) == routers:
            return problem
    return None
