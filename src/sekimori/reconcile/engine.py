"""The level-triggered loop: compare what is wanted with what is there, close the difference.

It wakes on a ledger change, the next deadline, a plane that noticed something, and a
slow resync, and need not know which: so a killed worker heals by the code that
applies a first mapping.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from sekimori.model.actual import State, Status
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Event, StatusChanged
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.reconcile.backoff import Backoff
from sekimori.reconcile.desired import Desired
from sekimori.reconcile.diff import diff
from sekimori.reconcile.ports import Clock, Plane, Wanted
from sekimori.reconcile.writer import Writer

__all__ = ["RESYNC", "Engine"]

RESYNC: Final = 30.0
"""Seconds between two looks at everything, for what no notice told."""

_EXPIRY = Context(Owner(OwnerKind.TRIGGER, "clock"), "expiry", "its time ended")
_log = structlog.get_logger("engine")


class Engine:
    """Makes the ledger real on the planes, and tells how far that went."""

    def __init__(
        self,
        writer: Writer,
        planes: Mapping[str, Plane],
        clock: Clock,
        desired: Desired,
        publish: Callable[[Event], None],
    ) -> None:
        self._writer = writer
        self._planes = planes
        self._clock = clock
        self._desired = desired
        self._publish = publish
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._dirty: set[str] = set()
        self._everything = True
        self._deadlines: list[tuple[float, str]] = []
        self._statuses: dict[str, Status] = {}
        self._graces: dict[str, float] = {}
        self._lingering: dict[str, Problem] = {}
        """Why what nobody wants any more is still on a plane, by mapping id."""
        self._unwritten: dict[str, Problem] = {}
        """Why the end of a mapping could not be written, by its id."""
        self._backoff = Backoff()

    def wake(self, ids: Iterable[str] | None = None) -> None:
        """Look at these mappings again soon; None looks at everything."""
        if ids is None:
            self._everything = True
        else:
            self._dirty.update(ids)
        self._wake.set()

    def cut_next(self, mapping_id: str) -> None:
        """End the flows of a mapping without grace when it is taken away."""
        self._graces[mapping_id] = 0.0

    def status(self, mapping_id: str) -> Status:
        """The state of a mapping as last seen."""
        found = self._statuses.get(mapping_id)
        now = self._clock.now()
        return found or Status(State.STARTING, now, now)

    def problem(self, mapping_id: str) -> Problem | None:
        """What went wrong with a mapping when it was last looked at, also one that is closed."""
        status = self._statuses.get(mapping_id)
        return status.problem if status else self._lingering.get(mapping_id)

    async def run(self) -> None:
        """Keep the planes as the ledger wants them, for ever."""
        resync = self._clock.now() + RESYNC
        while True:
            self._wake.clear()
            await self.ensure()
            when = min(self._deadlines[0][0], resync) if self._deadlines else resync
            await self._clock.wait_until(when, self._wake)
            if self._clock.now() >= resync:
                # Counted from the last one, not from the last wake: a busy day must not put it off.
                self._everything = True
                resync = self._clock.now() + RESYNC

    async def settle(self) -> None:
        """Return once nothing is left to do for now. For tests and for start-up."""
        for _ in range(100):
            await self.ensure()
            if not self._everything and not self._dirty and not self._is_due():
                return
        raise Problem("unexpected", what="the engine does not converge")

    async def ensure(self, ids: Iterable[str] = ()) -> None:
        """One pass over what is dirty, due, or named in `ids`; over everything when that was asked."""
        self._dirty.update(ids)
        async with self._lock:
            keys = self._take_keys()
            try:
                await self._expire(keys)
                if keys:
                    await self._close_difference(keys)
            except BaseException:
                # Who waited went away in the middle: what was taken up must not be forgotten.
                self.wake(None if "" in keys else keys)
                raise

    def _is_due(self) -> bool:
        return bool(self._deadlines) and self._deadlines[0][0] <= self._clock.now()

    def _take_keys(self) -> set[str]:
        now = self._clock.now()
        while self._deadlines and self._deadlines[0][0] <= now:
            self._dirty.add(heapq.heappop(self._deadlines)[1])
        keys, self._dirty = self._dirty, set()
        if self._everything or "" in keys:
            self._everything = False
            self._deadlines.clear()
            keys |= {mapping.id for mapping in self._writer.ledger.snapshot}
            keys |= self._statuses.keys() | self._lingering.keys()
            keys.add("")  # and whatever the planes hold that nobody knows
        return keys

    async def _expire(self, keys: set[str]) -> None:
        """Write the end of every mapping whose time has come."""
        if not self._ended(keys):
            return  # without the turn, which a slow disk may hold
        async with self._writer.turn:
            ended = self._ended(keys)  # somebody may have given it more time meanwhile
            if not ended:
                return
            changes = [Made(Verb.EXPIRE, mapping, None) for mapping in ended]
            try:
                await self._writer.commit(changes, _EXPIRY, self._clock.now())
            except Problem as problem:
                # The planes stop accepting all the same: `wants_open` is false from that second on.
                _log.error("expiry_not_written", problem=problem.title(), mappings=[m.name for m in ended])
                self._unwritten.update((mapping.id, problem) for mapping in ended)
                return
        for mapping in ended:
            self._unwritten.pop(mapping.id, None)

    def _ended(self, keys: Iterable[str]) -> list[PortMapping]:
        now = self._clock.now()
        found = map(self._writer.ledger.snapshot.get, keys)
        return [mapping for mapping in found if mapping and mapping.lifetime.has_ended(now)]

    async def _close_difference(self, keys: set[str]) -> None:
        now = self._clock.now()
        failed: dict[str, Problem] = {}
        if "" in keys:  # also what came in while expiries were written: unknown would mean unwanted
            keys = keys | {mapping.id for mapping in self._writer.ledger.snapshot}
        wanted = self._desired.compute(keys - {""}, now)
        self._backoff.succeeded("")
        for name, plane in self._planes.items():
            here = {key: (want, mark) for key, (hop, want, mark) in wanted.items() if hop == name}
            try:
                failed |= await self._bring(plane, keys, here)
            except Problem as problem:
                # A plane that cannot be asked holds up neither the others nor the next try.
                elsewhere = wanted.keys() - here.keys()
                failed |= dict.fromkeys(keys - elsewhere - {""}, problem)
                if "" in keys:
                    self._retry("")
        for key in (keys | failed.keys()) - {""}:
            self._conclude(key, wanted.get(key), failed.get(key), now)

    async def _bring(
        self, plane: Plane, keys: set[str], here: Mapping[str, tuple[Wanted, str]]
    ) -> Mapping[str, Problem]:
        """Close the difference on one plane; what failed, by mapping id.

        Raises:
            Problem: the plane cannot be asked.
        """
        actual = await plane.observe()
        looked_at = keys | actual.keys() if "" in keys else keys
        changes = diff(looked_at, here, actual, self._graces, self._desired.grace)
        failed = await plane.apply(changes) if changes else {}
        for key in changes.remove.keys() - failed.keys():
            self._graces.pop(key, None)
        return failed

    def _conclude(
        self, key: str, want: tuple[str, Wanted, str] | None, failure: Problem | None, now: float
    ) -> None:
        mapping = self._writer.ledger.snapshot.get(key)
        if mapping is None:
            self._conclude_gone(key, failure)
            return
        if not mapping.lifetime.has_ended(now):
            self._unwritten.pop(key, None)
        problem = failure or self._unwritten.get(key)
        if problem is None and mapping.wants_open(now):
            problem = self._desired.obstacle(mapping)
        self._set_status(mapping, _state(mapping, want is not None, problem, now), problem, want, now)
        if problem is None:
            self._backoff.succeeded(key)
        else:
            self._retry(key)
        deadline = mapping.next_change(now)
        if deadline is not None:
            self._look_again(deadline, key)

    def _conclude_gone(self, key: str, failure: Problem | None) -> None:
        self._statuses.pop(key, None)
        self._unwritten.pop(key, None)
        if failure is None:
            self._lingering.pop(key, None)
            self._graces.pop(key, None)
            self._backoff.succeeded(key)
        else:
            self._lingering[key] = failure
            self._retry(key)

    def _retry(self, key: str) -> None:
        self._look_again(self._clock.now() + self._backoff.failed(key), key)

    def _look_again(self, when: float, key: str) -> None:
        if not self._deadlines or when < self._deadlines[0][0]:
            self._wake.set()  # `run` may be asleep until a later one
        heapq.heappush(self._deadlines, (when, key))

    def _set_status(
        self,
        mapping: PortMapping,
        state: State,
        problem: Problem | None,
        want: tuple[str, Wanted, str] | None,
        now: float,
    ) -> None:
        old = self._statuses.get(mapping.id)
        since = old.since if old and old.state is state else now
        targets = want[1].targets if want else ()
        status = Status(state, since, now, problem, targets)
        self._statuses[mapping.id] = status
        if old is None or old.state is not state:
            self._publish(StatusChanged(now, mapping.id, mapping.name, status))


def _state(mapping: PortMapping, wanted: bool, problem: Problem | None, now: float) -> State:
    if problem is not None:  # also of one that is paused: it may still accept
        return State.FAILED
    if mapping.paused:
        return State.PAUSED
    if not mapping.wants_open(now):
        return State.OUTSIDE_HOURS
    return State.OPEN if wanted else State.STARTING
