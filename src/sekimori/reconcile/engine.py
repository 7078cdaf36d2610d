"""The level-triggered loop: compare what is wanted with what is there, close the difference.

It wakes on a ledger change, the next deadline, a plane that noticed something, and a
slow resync, and need not know which: so a killed worker heals by the code that
applies a first mapping.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

import structlog

from sekimori.model.actual import HopStatus, State, Status
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Event, StatusChanged
from sekimori.model.gateway import Ban
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.reconcile.backoff import Backoff
from sekimori.reconcile.desired import Desired, Want
from sekimori.reconcile.diff import diff
from sekimori.reconcile.ports import Clock, Plane, Wanted
from sekimori.reconcile.writer import Writer

__all__ = ["GROUND", "RESYNC", "Engine"]

RESYNC: Final = 30.0
"""Seconds between two looks at everything, for what no notice told."""

_REST: Final = 300
"""How many times as long as a look at everything took, the next one is put off at least."""

_EVERYTHING: Final = ""
"""Stands among the deadlines for a look at everything. No mapping has this id."""

GROUND: Final = "/"
"""Stands among the ids for what holds for the whole machine (`ports.Ground`). No mapping has this id."""

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
        """As first seen so; `checked_at` is that of the last look at it alone."""
        self._all_checked_at = 0.0
        """Unix seconds of the last look at everything, which leaves open mappings' statuses as they are."""
        self._hops: dict[str, tuple[HopStatus, ...]] = {}
        """Of mappings with several hops, each of them as last looked at, by mapping id."""
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
        if found is None:
            now = self._clock.now()
            return Status(State.STARTING, now, now)
        return replace(found, checked_at=max(found.checked_at, self._all_checked_at))

    def problem(self, mapping_id: str) -> Problem | None:
        """What went wrong with a mapping when it was last looked at, also one that is closed."""
        status = self._statuses.get(mapping_id)
        return status.problem if status else self._lingering.get(mapping_id)

    async def run(self) -> None:
        """Keep the planes as the ledger wants them, for ever."""
        resync = self._clock.now() + RESYNC
        while True:
            self._wake.clear()
            whole, begun = self._everything, self._clock.now()
            await self.ensure()
            if (
                whole
            ):  # with tens of thousands of mappings a look takes its time, and nobody else has the loop
                resync = max(resync, self._clock.now() + _REST * (self._clock.now() - begun))
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
            keys, whole = self._take_keys()
            try:
                await self._expire(None if whole else keys)
                if whole:
                    await self._sweep(keys)
                elif keys:
                    await self._look_at(keys)
            except BaseException:
                # Who waited went away in the middle: what was taken up must not be forgotten.
                self.wake(keys)
                if whole:
                    self.wake()
                raise

    def _is_due(self) -> bool:
        return bool(self._deadlines) and self._deadlines[0][0] <= self._clock.now()

    def _take_keys(self) -> tuple[set[str], bool]:
        """The ids to look at, and whether everything is to be looked at beside them."""
        now = self._clock.now()
        while self._deadlines and self._deadlines[0][0] <= now:
            self._dirty.add(heapq.heappop(self._deadlines)[1])
        keys, self._dirty = self._dirty, set()
        whole = self._everything or _EVERYTHING in keys
        keys.discard(_EVERYTHING)
        self._everything = False
        return keys, whole

    async def _expire(self, keys: AbstractSet[str] | None) -> None:
        """Write the end of every mapping and ban (None), or of these, whose time has come."""
        if not self._ended(keys):
            return  # without the turn, which a slow disk may hold
        async with self._writer.turn:
            ended = self._ended(keys)  # somebody may have given it more time meanwhile
            if not ended:
                return
            changes = [Made(Verb.EXPIRE, subject, None) for subject in ended]
            try:
                await self._writer.commit(changes, _EXPIRY, self._clock.now())
            except Problem as problem:
                # The planes stop accepting all the same: `wants_open` is false from that second on.
                _log.error("expiry_not_written", problem=problem.title(), names=[each.name for each in ended])
                self._unwritten.update((_key(subject), problem) for subject in ended)
                return
        for subject in ended:
            self._unwritten.pop(_key(subject), None)

    def _ended(self, keys: AbstractSet[str] | None) -> list[PortMapping | Ban]:
        now, snapshot = self._clock.now(), self._writer.ledger.snapshot
        found = snapshot if keys is None else filter(None, map(snapshot.get, keys))
        ended: list[PortMapping | Ban] = [mapping for mapping in found if mapping.lifetime.has_ended(now)]
        if keys is None or GROUND in keys:
            ended += [ban for ban in snapshot.bans.values() if ban.has_ended(now)]
        return ended

    async def _look_at(self, keys: set[str]) -> None:
        now = self._clock.now()
        wanted, failed = await self._close_difference(keys, now, whole=False)
        for key in keys | failed.keys():
            self._conclude(key, wanted.get(key), failed.get(key), now)

    async def _sweep(self, keys: set[str]) -> None:
        """Look at everything, `keys` too and whatever the planes hold that nobody knows."""
        now = self._clock.now()
        self._deadlines.clear()  # each is found anew
        # Gathered only now: what came in while expiries were written would be unknown, and so unwanted.
        keys.update(mapping.id for mapping in self._writer.ledger.snapshot)
        keys.update(self._statuses, self._lingering, (GROUND,))
        wanted, failed = await self._close_difference(keys, now, whole=True)
        self._all_checked_at = now
        for key in keys.union(failed):
            self._conclude(key, wanted.get(key), failed.get(key), now)

    async def _close_difference(
        self, keys: AbstractSet[str], now: float, *, whole: bool
    ) -> tuple[Mapping[str, Want], Mapping[str, Problem]]:
        """Have the planes make what is wanted of these mappings, and with `whole` nothing beside.

        What was wanted, and what failed, by mapping id.
        """
        failed: dict[str, Problem] = {}
        by_plane: dict[str, Mapping[str, Problem]] = {}
        several: dict[str, Wanted] = {}
        wanted = self._desired.compute(keys, now)
        if whole:
            self._backoff.succeeded(_EVERYTHING)
        for name, plane in self._planes.items():
            here = {key: (want, mark) for key, (hop, want, mark) in wanted.items() if hop == name}
            # What comes after the planes here, a link or a router before us, opens only what would be taken.
            beyond = self._desired.beyond(name, wanted)
            here |= {key: want for key, want in beyond.items() if key not in failed}
            several |= {key: want for key, (want, _) in beyond.items()}
            try:
                found = await self._bring(plane, keys, here, whole=whole)
            except Problem as problem:
                # A plane that cannot be asked holds up neither the others nor the next try.
                elsewhere = wanted.keys() - here.keys()
                found = dict.fromkeys(keys - elsewhere, problem)
                if whole:
                    self._retry(_EVERYTHING)
            by_plane[name] = found
            failed |= found
        for key, want in several.items():
            hops = want.mapping.path
            self._hops[key] = tuple(HopStatus(hop.plane, by_plane[hop.plane].get(key)) for hop in hops)
        return wanted, failed

    async def _bring(
        self, plane: Plane, keys: AbstractSet[str], here: Mapping[str, tuple[Wanted, str]], *, whole: bool
    ) -> Mapping[str, Problem]:
        """Close the difference on one plane; what failed, by mapping id.

        Raises:
            Problem: the plane cannot be asked.
        """
        unlaid = await plane.lay(self._desired.ground(self._clock.now())) if GROUND in keys else None
        actual = await plane.observe()
        looked_at = keys | actual.keys() if whole else keys
        changes = diff(looked_at, here, actual, self._graces, self._desired.grace)
        failed = await plane.apply(changes) if changes else {}
        for key in changes.remove.keys() - failed.keys():
            self._graces.pop(key, None)
        return failed if unlaid is None else {**failed, GROUND: unlaid}

    def _conclude(self, key: str, want: Want | None, failure: Problem | None, now: float) -> None:
        mapping = self._writer.ledger.snapshot.get(key)
        if mapping is None:
            self._conclude_gone(key, self._next_ban(failure, now) if key == GROUND else failure)
            return
        if want is not None and failure is None and want[1].mapping is mapping:
            self._conclude_open(want[1], now)
            deadline = want[1].accept_until
        else:
            self._conclude_otherwise(mapping, want, failure, now)
            deadline = mapping.next_change(now)
        if deadline is not None:
            self._look_again(deadline, key)

    def _conclude_open(self, wanted: Wanted, now: float) -> None:
        """All that was wanted of a mapping that still stands so is there: nothing is in its way."""
        mapping = wanted.mapping
        old = self._statuses.get(mapping.id)
        # Where everything is looked at, what was open and stays open costs no new value.
        is_news = old is None or old.state is not State.OPEN or old.targets is not wanted.targets
        if is_news or now > self._all_checked_at:
            self._unwritten.pop(mapping.id, None)
            self._backoff.succeeded(mapping.id)
            self._set_status(mapping, State.OPEN, None, wanted.targets, now)

    def _conclude_otherwise(
        self, mapping: PortMapping, want: Want | None, failure: Problem | None, now: float
    ) -> None:
        if not mapping.lifetime.has_ended(now):
            self._unwritten.pop(mapping.id, None)
        problem = failure or self._unwritten.get(mapping.id)
        if problem is None and mapping.wants_open(now):
            problem = self._desired.obstacle(mapping)
        state = _state(mapping, want is not None, problem, now)
        self._set_status(mapping, state, problem, want[1].targets if want else (), now)
        if problem is None:
            self._backoff.succeeded(mapping.id)
        else:
            self._retry(mapping.id)

    def _next_ban(self, failure: Problem | None, now: float) -> Problem | None:
        """Look at the ground again when the next ban ends; what is wrong with it now."""
        bans = self._writer.ledger.snapshot.bans.values()
        ends = [ban.expires_at for ban in bans if ban.expires_at is not None and not ban.has_ended(now)]
        if ends:
            self._look_again(float(min(ends)), GROUND)
        return failure or self._unwritten.get(GROUND)

    def _conclude_gone(self, key: str, failure: Problem | None) -> None:
        self._statuses.pop(key, None)
        self._unwritten.pop(key, None)
        self._hops.pop(key, None)
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
        targets: tuple[str, ...],
        now: float,
    ) -> None:
        old = self._statuses.get(mapping.id)
        changed = old is None or old.state is not state
        since = now if old is None or changed else old.since
        hops = self._hops.get(mapping.id, ()) if len(mapping.path) > 1 else ()
        status = Status(state, since, now, problem, targets, hops)
        self._statuses[mapping.id] = status
        if changed:
            self._publish(StatusChanged(now, mapping.id, mapping.name, status))


def _key(subject: PortMapping | Ban) -> str:
    """What stands for a subject among the ids."""
    return GROUND if isinstance(subject, Ban) else subject.id


def _state(mapping: PortMapping, wanted: bool, problem: Problem | None, now: float) -> State:
    if problem is not None:  # also of one that is paused: it may still accept
        return State.FAILED
    if mapping.paused:
        return State.PAUSED
    if not mapping.wants_open(now):
        return State.OUTSIDE_HOURS
    return State.OPEN if wanted else State.STARTING
