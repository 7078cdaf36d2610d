"""Never lock the admin out: what could cut the way its asker came by is taken back unless they confirm it.

A revision that would keep its asker from coming again (`policy.reach`) is applied all the same, and the
ledger writes with it, in one transaction, until when it has to be confirmed. Whoever confirms shows by
another connection that the way is open; until then the deadline runs, over the daemon's own end too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

import structlog

from sekimori.gate.takeback import recollect, touched_by
from sekimori.model.address import IPAddress
from sekimori.model.causes import cause
from sekimori.model.decision import Made
from sekimori.model.errors import Problem
from sekimori.model.events import Armed, Committed, Confirmed, Reverted, Settled
from sekimori.model.mapping import OwnerKind
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.policy.reach import reaches, would_cut
from sekimori.policy.rules import Rules
from sekimori.reconcile.ports import Clock
from sekimori.reconcile.writer import Writer

__all__ = ["Confirming", "TakeBack", "Waiting"]

_REMEMBERED: Final = 100
"""Ends of waits that are told to who asks later."""

_AGAIN: Final = 1.0
"""Seconds until a taking back that could not be written is tried again."""

_DOOR: Final = "confirm"
_log = structlog.get_logger("gate")

TakeBack = Callable[
    [Committed, Context, Sequence[int], Sequence[Unconfirmed]], Awaitable[tuple[int | None, list[str]]]
]
"""Takes a revision back, has others wait to be confirmed no longer, and keeps texts that are not to be
applied again by themselves, as one revision: its number (None: nothing of the old one stood any more), and
the names of what was left as it is."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be confirmed, and how the latest waits ended; the oldest first."""

    pending: tuple[Pending, ...]
    settled: tuple[Settled, ...]


class Confirming:
    """Revisions that wait to be confirmed."""

    def __init__(self, writer: Writer, clock: Clock, rules: Rules, take_back: TakeBack) -> None:
        self._writer = writer
        self._clock = clock
        self._rules = rules
        self._take_back = take_back
        self._settled: deque[Settled] = deque(maxlen=_REMEMBERED)
        self._leaving: Pending | None = None
        """What is being taken back: it waits until it is wholly gone, not until that is written."""
        self._lock = asyncio.Lock()
        """Held while a wait ends, either way."""
        self._wake = asyncio.Event()
        self._ends: dict[int, float] = {}
        """The deadlines on the loop's own clock, which nobody can put back."""
        self._not_before = 0.0
        """On the same clock: when a taking back that failed is tried again."""
        self._older: dict[int, frozenset[tuple[IPAddress, int]]] = {}
        """By revision, the connections there were when it had been applied. They prove nothing."""

    @property
    def waiting(self) -> Waiting:
        """How things stand."""
        standing = {each.revision: each for each in self._pending()}
        if self._leaving is not None:
            standing[self._leaving.revision] = self._leaving
        return Waiting(tuple(standing[number] for number in sorted(standing)), tuple(self._settled))

    def needed(self, changes: Sequence[Made], snapshot: Snapshot, context: Context, now: float) -> int | None:
        """The seconds within which changes must be confirmed; None where they need not be.

        While something waits that may have cut the caller off already, whatever leaves it so must be
        confirmed too: else it would stand in the way of taking that back.
        """
        caller = context.caller
        if caller is None or not changes:
            return None
        after = snapshot.fork()
        for change in changes:
            after.apply(change)
        network = self._rules.machine.network()
        cut = would_cut(snapshot, after, caller, network, now)
        if not cut and self._writer.ledger.pending:
            cut = not reaches(after, caller, network, now)
        return self._rules.confirm_within if cut else None

    def wake(self) -> None:
        """Look again at what waits: a revision was written."""
        if self._writer.ledger.pending or self._ends:  # else nothing waits, and nothing did
            self._wake.set()

    def arm(self, pending: Pending) -> None:
        """Tell that a revision was applied, and waits."""
        self._note_older(pending)
        self._writer.tell(Armed(self._clock.now(), pending))

    async def confirm(self, context: Context) -> tuple[Pending, ...]:
        """Let everything stand that waits for this actor; and what a file asked for, whoever had it applied.

        Somebody at the machine itself (no caller) may confirm: whoever sits there cannot be locked out.

        Raises:
            Problem: `nothing-to-confirm`; `confirm-same-connection` by a connection that was there before;
                `disk-full` or `ledger-failed`: everything still waits.
        """
        async with self._lock:
            mine = [each for each in self._pending() if _may_confirm(context, each)]
            if not mine:
                raise Problem("nothing-to-confirm", who=context.actor.label, others=self._others())
            if any(self._is_older(context, each) for each in mine):
                raise Problem("confirm-same-connection", revision=_listed(mine))
            async with self._writer.turn:
                await self._writer.settle([each.revision for each in mine])
            for each in mine:
                self._end(Confirmed(self._clock.now(), each, context.actor))
        return tuple(mine)

    async def run(self) -> None:
        """Take back what is not confirmed in time, for ever."""
        while True:
            self._wake.clear()
            for pending in self._pending():
                if pending.revision not in self._older:  # of an earlier daemon, or its asker is gone
                    self._note_older(pending)
            await self.revert_overdue()
            await self._until_next()

    async def revert_overdue(self) -> None:
        """Take back what was not confirmed in time."""
        if not any(map(self._is_overdue, self._pending())):
            return
        async with self._lock:
            overdue = {each.revision for each in self._pending() if self._is_overdue(each)}
            try:
                chosen = self._with_later(overdue)
            except Problem as problem:
                self._try_again(problem)
            else:
                await self._revert(chosen, None)

    async def revert_all(self, why: str) -> None:
        """Take back everything that waits, for nobody will be here to do it in time."""
        async with self._lock:
            await self._revert(self._pending(), why)

    def _pending(self) -> tuple[Pending, ...]:
        return tuple(sorted(self._writer.ledger.pending.values(), key=lambda each: each.revision))

    def _note_older(self, pending: Pending) -> None:
        self._older[pending.revision] = self._rules.connected(pending.caller.dport)

    def _is_older(self, context: Context, pending: Pending) -> bool:
        """Whether who asks came by a connection that was there before."""
        if context.caller is None:
            return False
        came = context.caller.source, context.caller.sport
        first = pending.caller.source, pending.caller.sport
        return came == first or came in self._older.get(pending.revision, ())

    def _is_overdue(self, pending: Pending) -> bool:
        now, ticks = self._clock.now(), asyncio.get_running_loop().time()
        # After a start of the daemon too, nothing waits for longer than it was said to.
        left = min(pending.deadline - now, float(pending.within))
        return left <= 0 or ticks >= self._ends.setdefault(pending.revision, ticks + left)

    def _with_later(self, overdue: AbstractSet[int]) -> tuple[Pending, ...]:
        """What is overdue, and what waits and was built on it: that stands in the way of taking it back."""
        chosen: list[Pending] = []
        touched: set[tuple[str, str]] = set()
        for each in self._pending():
            subjects = touched_by(self._writer.ledger.revision_of(each.revision))
            if each.revision in overdue or touched & subjects:
                chosen.append(each)
                touched |= subjects
        return tuple(chosen)

    async def _revert(self, pending: Sequence[Pending], why: str | None) -> None:
        """Take revisions back, the newest first."""
        for each in reversed(pending):
            context = Context(each.actor, _DOOR, why or f"not confirmed within {each.within} s")
            texts = self._texts_of(each, pending)
            self._leaving = each
            try:
                committed = recollect(self._writer.ledger.revision_of(each.revision))
                number, left = await self._take_back(committed, context, (each.revision,), texts)
            except Problem as problem:
                self._try_again(problem)
                return
            finally:
                self._leaving = None
            self._end(Reverted(self._clock.now(), each, number, tuple(left)))

    def _texts_of(self, pending: Pending, leaving: Sequence[Pending]) -> list[Unconfirmed]:
        """The text of a config file that is not to be applied again: of each file, what was said last."""
        newer = any(each.actor == pending.actor and each.revision > pending.revision for each in leaving)
        if newer or not pending.text:
            return []
        return [Unconfirmed(pending.actor, pending.text, self._clock.now())]

    def _try_again(self, problem: Problem) -> None:
        _log.error("not_taken_back", problem=problem.title())
        self._not_before = asyncio.get_running_loop().time() + _AGAIN

    def _end(self, settled: Settled) -> None:
        pending = settled.pending
        self._ends.pop(pending.revision, None)
        self._older.pop(pending.revision, None)
        self._settled.append(settled)
        self._writer.tell(settled)
        how = "confirmed" if isinstance(settled, Confirmed) else "reverted"
        _log.info(how, revision=pending.revision, actor=str(pending.actor))

    async def _until_next(self) -> None:
        """Wait for the next deadline, or until something else waits."""
        waiting = self._pending()
        when = min((each.deadline for each in waiting), default=None)
        ticks = min(
            (self._ends[each.revision] for each in waiting if each.revision in self._ends), default=None
        )
        if self._not_before > asyncio.get_running_loop().time():
            when, ticks = None, self._not_before
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ticks):
                await self._clock.wait_until(when, self._wake)

    def _others(self) -> object:
        """Who has something to confirm, as part of a sentence."""
        names = ", ".join(f"{each.revision} ({each.actor})" for each in self._pending())
        return cause("others-pending", names=names) if names else ""


def _may_confirm(context: Context, pending: Pending) -> bool:
    return pending.actor == context.actor or pending.actor.kind is OwnerKind.FILE


def _listed(pending: Iterable[Pending]) -> str:
    return ", ".join(str(each.revision) for each in pending)
