"""Has a router make, renew and take away the entries of one mapping, and keeps book of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from math import inf
from typing import Any, Final

import structlog

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.planes.router.asking import Asker, Grant, OtherPort, PortTaken, Refusal, Silence, Wish
from sekimori.planes.router.facts import Presence
from sekimori.planes.router.holdings import Entry, Held, Holdings
from sekimori.planes.router.igd import LABEL
from sekimori.planes.router.refusals import kept, no_router, problem_of, silent
from sekimori.planes.router.router import Router
from sekimori.planes.router.terms import Run, nonce_for, runs_of
from sekimori.reconcile.ports import Clock, Wanted

__all__ = ["Opening"]

_TRIES: Final = 5
"""Times that a router may refuse to take an entry away; then it keeps it until it ends."""
_AGAIN: Final = 5.0
"""Seconds at least between two tries to renew an entry."""

_Failure = Refusal | OtherPort | PortTaken | Silence

_log = structlog.get_logger("router")


class Opening:
    """Asks routers for entries. Whoever calls has the lock of the mapping's `Held`.

    Args:
        holdings: the book.
        secret: what nonces are made of.
        clock: the time.
        steady: seconds that only go forward, in sleep too.
    """

    def __init__(self, holdings: Holdings, secret: bytes, clock: Clock, steady: Callable[[], float]) -> None:
        self._holdings = holdings
        self._secret = secret
        self._clock = clock
        self._steady = steady

    async def open_on(self, router: Router, held: Held) -> Problem | None:
        """Have a router hand on all ports of a mapping, or none: what went wrong."""
        runs = runs_of(held.wanted.mapping)
        asker = await router.ready()
        before = set(held.entries)
        failures: list[tuple[Run, _Failure]] = []
        while asker is not None:
            failures = await self._open_runs(router, asker, held, runs)
            if not failures:
                return None
            if not any(isinstance(error, Refusal) and error.of_protocol for _, error in failures):
                break
            asker = router.pass_over(asker)
        if not failures:
            return self.unanswered(router, runs)
        run, error = min(failures, key=lambda each: isinstance(each[1], Silence))
        if isinstance(error, Silence):  # then nothing can be given back now
            return silent(runs, router.line, router.last_protocol)
        await self.shut(held, [entry for entry in held.entries if entry not in before])
        return problem_of(error, run, runs, router.line)

    def unanswered(self, router: Router, runs: Iterable[Run]) -> Problem:
        """Nobody is there to be asked."""
        last = router.last_protocol
        return silent(runs, router.line, last) if last else no_router(runs, router.line)

    async def shut(self, held: Held, entries: Iterable[Entry]) -> Problem | None:
        """Have routers take entries away; what is still there, and why."""
        listed = list(entries)
        failures = await _all(self._shut_one(held, entry) for entry in listed)
        for entry, failure in zip(listed, failures, strict=True):
            if failure is not None:
                why = cause("router-says-silent")
                if isinstance(failure, Refusal):
                    why = cause(f"router-says-{failure.meaning}", holder="")
                return kept([entry.run], entry.router.line, why)
        return None

    async def renew(self, held: Held) -> bool:
        """Renew what is due; whether all of it is still sure."""
        due = [entry for entry in held.entries if entry.renew_at <= self._steady()]
        await _all(self._renew_one(held, entry) for entry in due)
        return all(entry.sure for entry in due)

    async def _open_runs(
        self, router: Router, asker: Asker, held: Held, runs: Iterable[Run]
    ) -> list[tuple[Run, _Failure]]:
        """What failed, each with its ports."""
        rest: list[Run] = []
        for run in runs:
            if run.size == 1 or not asker.runs:
                rest.extend(run.singles())
                continue
            try:
                granted = await self._open_one(router, asker, held, run)
            except (Refusal, OtherPort, PortTaken, Silence) as error:
                return [(run, error)]
            rest.extend(run.singles(granted.size))
        found = await _all(self._open_one(router, asker, held, single) for single in rest)
        return [(run, error) for run, error in zip(rest, found, strict=True) if error is not None]

    async def _open_one(self, router: Router, asker: Asker, held: Held, run: Run) -> Grant:
        entry = next((each for each in held.on(router) if each.run == run), None)
        fresh = entry is None
        wish = self._wish(held.wanted, run)
        if entry is not None and entry.asker is asker and self._will_do(entry, wish):
            entry.wish = wish
            return Grant(run.size, None)
        if entry is None:
            entry = self._enter(router, asker, held, wish)
        entry.asker, entry.wish = asker, wish
        try:
            async with router.turn(asker):
                asked_at = self._steady()
                grant = await asker.open(wish)
        except Silence:
            router.suspect()
            raise
        except (Refusal, OtherPort, PortTaken):
            entry.sure = False
            if fresh:
                self._holdings.drop(held.wanted.mapping.id, entry)
            raise
        self._note(held, entry, grant, asked_at)
        router.note_address(grant.address)
        return grant

    def _will_do(self, entry: Entry, wish: Wish) -> bool:
        """Whether what is there already is as it should be: an earlier try had come so far."""
        now = self._steady()
        if not entry.sure or entry.renew_at <= now:
            return False
        if entry.until is None:
            return True
        left = entry.until - now
        if wish.lifetime is not None and wish.lifetime < left - 1:
            return False  # it would outlive the mapping
        return entry.renew_at != inf or (wish.lifetime is not None and wish.lifetime <= left + 1)

    def _enter(self, router: Router, asker: Asker, held: Held, wish: Wish) -> Entry:
        """Put into the book what is going to be asked for: if no answer comes, it may be there all the same.

        Raises:
            Refusal: the router could not tell it from another of ours.
        """
        if asker.one_outside:
            other = self._holdings.other_outside(router, wish.run)
            holder = self._holdings.get(other) if other is not None else None
            if holder is not None:
                name = holder.wanted.mapping.name
                raise Refusal(asker.protocol, None, "", "one-outside", holder=name)
        lifetime = asker.longest if wish.lifetime is None else min(wish.lifetime, asker.longest)
        entry = Entry(router, asker, wish, self._steady() + lifetime)
        self._holdings.add(held.wanted.mapping.id, entry)
        return entry

    def _note(self, held: Held, entry: Entry, grant: Grant, asked_at: float) -> None:
        """Put down what was granted; its life counts from the asking: never longer than at the router."""
        key = held.wanted.mapping.id
        run = entry.run.first(grant.size)
        if run != entry.run:
            self._holdings.shrink(key, entry, self._wish(held.wanted, run))
        for other in held.on(entry.router):  # of an earlier asking, by other sizes
            if other is not entry and _within(other.run, run):
                self._holdings.drop(key, other)
        entry.sure, entry.tries = True, 0
        entry.until = None if grant.lifetime is None else asked_at + grant.lifetime
        entry.renew_at = self._renewal(entry, grant, asked_at)

    def _renewal(self, entry: Entry, grant: Grant, asked_at: float) -> float:
        """At half of its life or a little later, so that not all come at once (RFC 6887 §11.2.1)."""
        if grant.lifetime is None or (
            entry.wish.lifetime is not None and entry.wish.lifetime <= grant.lifetime
        ):
            return inf  # it lasts as long as it is wanted
        return asked_at + grant.lifetime * (0.5 + 0.1 * entry.wish.nonce[0] / 255)

    async def _renew_one(self, held: Held, entry: Entry) -> None:
        router, asker, now = entry.router, entry.asker, self._steady()
        try:
            if router.presence is not Presence.THERE:
                raise Silence("it is away")
            async with router.turn(asker):
                if not await asker.stands(entry.run):
                    _log.warning("router_forgot", gateway=str(router.line.gateway), ports=str(entry.run))
            wish = self._wish(held.wanted, entry.run)
            async with router.turn(asker):
                asked_at = self._steady()
                grant = await asker.open(wish)
        except Silence:
            router.suspect()
            left = inf if entry.until is None else entry.until - now
            entry.renew_at = now + max(_AGAIN, left / 4)
            if left <= 0:
                entry.sure, entry.renew_at = False, inf
        except (Refusal, OtherPort, PortTaken) as error:
            _log.warning(
                "not_renewed", gateway=str(router.line.gateway), ports=str(entry.run), why=str(error)
            )
            entry.sure, entry.renew_at = False, inf
        else:
            entry.wish = wish
            self._note(held, entry, grant, asked_at)

    async def _shut_one(self, held: Held, entry: Entry) -> None:
        router, key = entry.router, held.wanted.mapping.id
        over = entry.until is not None and entry.until <= self._steady()
        if router.closed or over:
            self._holdings.drop(key, entry)
            return
        entry.sure, entry.renew_at = False, inf
        if router.presence is not Presence.THERE:
            raise Silence("it is away")
        try:
            async with router.turn(entry.asker):
                await entry.asker.shut(entry.wish)
        except Silence:
            router.suspect()
            raise
        except Refusal as refusal:
            entry.tries += 1
            if entry.tries < _TRIES:
                raise
            _log.warning("left_at_router", ports=str(entry.run), answer=refusal.answer)
        self._holdings.drop(key, entry)

    def _wish(self, wanted: Wanted, run: Run) -> Wish:
        until = wanted.accept_until
        lifetime = None if until is None else max(1, math.ceil(until - self._clock.now()))
        mapping: PortMapping = wanted.mapping
        return Wish(run, nonce_for(self._secret, mapping.id, run), lifetime, f"{LABEL} {mapping.name}")


async def _all(coroutines: Iterable[Coroutine[Any, Any, object]]) -> list[_Failure | None]:
    """Run them side by side to their ends: how each failed at its router."""

    async def outcome(coroutine: Coroutine[Any, Any, object]) -> _Failure | None:
        try:
            await coroutine
        except (Refusal, OtherPort, PortTaken, Silence) as error:
            return error
        return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(each)) for each in coroutines]
    return [task.result() for task in tasks]


def _within(inner: Run, outer: Run) -> bool:
    """Whether one holds only ports of the other, led to the same place."""
    begin = inner.outside - outer.outside
    return (
        inner.protocol is outer.protocol
        and begin >= 0
        and begin + inner.size <= outer.size
        and inner.inside - outer.inside == begin
    )
