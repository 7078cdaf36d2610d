"""The gate in the daemon's own process: decide, look ahead, commit, apply, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog

from sekimori.gate.confirm import Confirming, Waiting
from sekimori.gate.following import Following
from sekimori.gate.ports import Outcome
from sekimori.gate.takeback import collapse, still_standing
from sekimori.gate.undo import asks_to_undo, newest_undoable
from sekimori.ledger.journal import Revision
from sekimori.model.actual import State
from sekimori.model.causes import cause
from sekimori.model.decision import Deny, Made, NamedList, Notice, Verb
from sekimori.model.errors import Problem, not_applied
from sekimori.model.events import Committed
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.request import Ask, Context
from sekimori.policy.decide import decide
from sekimori.policy.rules import Rules
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.engine import GROUND, Engine
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Clock, Plane
from sekimori.reconcile.writer import Writer

__all__ = ["LocalGate"]

_PAGE = 100
_SPARING = frozenset({Verb.EXTEND, Verb.PAUSE})
"""Changes that ask nothing new of a plane: neither looked ahead for, nor taken back when it fails."""
_PASSING = frozenset({"client-away", "link-down", "link-slow"})
"""Codes of what keeps a mapping from being open only for now: its link is not up yet, or who opened it by a
session has not been told its port. It stands, and opens by itself."""
_log = structlog.get_logger("gate")


class LocalGate:
    """The one way in. See `ports.Gate` for what its methods promise.

    Attributes:
        confirming: what waits to be confirmed; its `run` is to run for as long as the gate is used.
    """

    def __init__(
        self,
        writer: Writer,
        engine: Engine,
        planes: Mapping[str, Plane],
        names: Names,
        devices: Devices,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._writer = writer
        self._engine = engine
        self._planes = planes
        self._following = Following(names, devices, lambda: writer.ledger.snapshot)
        self._clock = clock
        self._rules = rules
        self.confirming = Confirming(writer, clock, rules, self._take_back)

    @property
    def waiting(self) -> Waiting:
        """What waits to be confirmed, and how the latest waits ended."""
        return self.confirming.waiting

    async def confirm(self, context: Context) -> tuple[Pending, ...]:
        """Let stand what waits for this actor (`ports.Gate.confirm`)."""
        return await self.confirming.confirm(context)

    async def enact(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """Do all of `asks` as one revision, or none of them (`ports.Gate.enact`)."""
        return await self._enact(lambda: asks, context)

    async def explain(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """The dry run of the same path (`ports.Gate.explain`)."""
        return await self._enact(lambda: asks, context, plan=True)

    async def undo(
        self, revision: int | None, context: Context, *, lifetime: Lifetime | None = None, plan: bool = False
    ) -> Outcome:
        """Take a revision back as a new one (`ports.Gate.undo`)."""
        ledger = self._writer.ledger
        # Chosen once: what is the newest now is what was meant.
        chosen = ledger.revision_of(revision) if revision is not None else self._newest()

        if not context.why:
            context = replace(context, why=f"undo of revision {chosen.number}")

        def asks() -> Sequence[Ask]:
            return asks_to_undo(chosen, ledger.snapshot, self._last_revision, self._clock.now(), lifetime)

        return await self._enact(asks, context, plan=plan, undoing=True)

    async def _enact(
        self,
        make_asks: Callable[[], Sequence[Ask]],
        context: Context,
        *,
        plan: bool = False,
        undoing: bool = False,
    ) -> Outcome:
        # Before the turn is taken: a slow name server must not hold up every other door.
        async with self._following.learned(make_asks) as make_again:
            async with self._writer.turn:
                now = self._clock.now()
                # Made again: what an undo is made from may have changed while names were looked up.
                asks, snapshot = make_again(), self._writer.ledger.snapshot
                decision = decide(asks, snapshot, context, now, self._rules, undoing=undoing)
                if isinstance(decision, Deny):
                    raise decision.problem
                await self._look_ahead(decision.changes)
                notices = [*decision.notices, *self._following.notices(decision.changes)]
                within = self.confirming.needed(decision.changes, snapshot, context, now)
                if not plan and not decision.changes:
                    await self._note_standing(context)
                if plan or not decision.changes:
                    return Outcome(plan, None, decision.changes, tuple(notices), within)
                committed = await self._commit(decision.changes, context, now, within)
            notices += await self._see_applied(committed, context)
        if committed.pending is not None:
            self.confirming.arm(committed.pending)
        return Outcome(False, committed, committed.changes, tuple(notices), within)

    async def _look_ahead(self, changes: Sequence[Made]) -> None:
        """Ask the planes what on this machine stands in the way.

        Raises:
            Problem: the first obstacle.
        """
        final = collapse(changes)
        leaving = tuple(each.before for each in final if isinstance(each.before, PortMapping))
        for change in final:
            after = change.after
            if not isinstance(after, PortMapping) or after.paused or change.verb in _SPARING:
                continue
            for hop in after.path:
                problem = await self._planes[hop.plane].preflight(after, leaving)
                if problem is not None:
                    raise problem

    async def _commit(
        self,
        changes: Sequence[Made],
        context: Context,
        now: float,
        within: int | None = None,
        settles: Sequence[int] = (),
        unconfirmed: Sequence[Unconfirmed] = (),
    ) -> Committed:
        try:
            committed = await self._writer.commit(changes, context, now, within, settles, unconfirmed)
        except asyncio.CancelledError:  # who asked went away, but it was written
            self._tell_engine(changes)
            raise
        self._tell_engine(committed.changes)
        return committed

    async def _note_standing(self, context: Context) -> None:
        """A config file's text asks for nothing new: what was once taken back of the file is over."""
        if context.text and context.actor in self._writer.ledger.unconfirmed:
            await self._writer.settle((), (Unconfirmed(context.actor, "", self._clock.now()),))

    def _tell_engine(self, changes: Sequence[Made]) -> None:
        self.confirming.wake()
        self._following.follow(changes)
        for change in changes:
            if change.cut and isinstance(change.before, PortMapping):
                self._engine.cut_next(change.before.id)
        if any(isinstance(change.subject, NamedList) for change in changes):
            self._engine.wake()
        if any(isinstance(change.subject, Gateway | Ban) for change in changes):
            self._engine.wake([GROUND])
        self._engine.wake(change.subject.id for change in changes if isinstance(change.subject, PortMapping))

    async def _see_applied(self, committed: Committed, context: Context) -> list[Notice]:
        """Have the engine apply a revision; take back what could not be opened.

        Raises:
            Problem: `not-applied`, after the revision was taken back.
        """
        await self._engine.ensure()
        final = collapse(committed.changes)
        for change in final:
            problem = self._failure(change)
            if problem is not None:
                why = Context(context.actor, context.door, f"taken back: {problem.title()}")
                await self._take_back(committed, why, (committed.revision,) if committed.pending else (), ())
                raise problem
        found = (notice for change in final for notice in (self._lingering(change), self._awaited(change)))
        return [notice for notice in found if notice is not None]

    def _failure(self, change: Made) -> Problem | None:
        """Why a mapping that should have opened did not, or the gateway or a ban is not there."""
        if isinstance(change.after, Gateway | Ban):
            unlaid = self._engine.problem(GROUND)
            return unlaid and not_applied(change.after.name, unlaid)
        if not isinstance(change.after, PortMapping) or change.verb in _SPARING:
            return None
        status = self._engine.status(change.after.id)
        if status.state is not State.FAILED or status.problem is None or change.after.paused:
            return None
        if status.problem.code in _PASSING:
            return None
        return not_applied(change.after.name, status.problem)

    def _awaited(self, change: Made) -> Notice | None:
        """Word that what was opened is not open before its link is up."""
        after = change.after
        if not isinstance(after, PortMapping) or change.verb in _SPARING or after.lease is not None:
            return None
        problem = self._engine.status(after.id).problem
        if problem is None or problem.code not in _PASSING:
            return None
        return Notice(
            "not-open-yet",
            f"'{after.name}' is not open yet: {problem.title()}. It opens by itself as soon as it can.",
            f"「{after.name}」はまだ開いていません: {problem.title('ja')}。"
            "開けるようになり次第、自動で開きます。",
        )

    def _lingering(self, change: Made) -> Notice | None:
        """Word that what was closed or paused could not be taken away yet."""
        subject = change.subject
        if isinstance(subject, Gateway | Ban) and change.after is None:
            return _standing_still(subject, self._engine.problem(GROUND))
        gone = isinstance(subject, PortMapping) and (change.after is None or subject.paused)
        problem = self._engine.problem(subject.id) if gone and isinstance(subject, PortMapping) else None
        if problem is None:
            return None
        return Notice(
            "still-there",
            f"'{subject.name}' may still accept: {problem.title()}. It is tried again until it is gone.",
            f"「{subject.name}」はまだ接続を受けるかもしれません: {problem.title('ja')}。"
            "なくなるまで再試行します。",
        )

    async def _take_back(
        self,
        committed: Committed,
        context: Context,
        settles: Sequence[int],
        unconfirmed: Sequence[Unconfirmed],
    ) -> tuple[int | None, list[str]]:
        """Take a revision back (`confirm.TakeBack`)."""
        number = None
        async with self._writer.turn:
            back, left = still_standing(committed, self._writer.ledger.snapshot)
            if left:
                _log.warning("not_all_taken_back", revision=committed.revision, left=left)
            if back:
                taken = await self._commit(back, context, self._clock.now(), None, settles, unconfirmed)
                number = taken.revision
            elif settles:
                await self._writer.settle(settles, unconfirmed)
        await self._engine.ensure()
        return number, left

    def _newest(self) -> Revision:
        found = newest_undoable(self._revisions())
        if found is None:
            raise Problem("no-such-revision", revision=cause("any-to-undo"))
        return found

    def _revisions(self) -> Iterator[Revision]:
        """Every revision, the newest first."""
        before: int | None = None
        while page := self._writer.ledger.history(limit=_PAGE, before=before):
            yield from page
            before = page[-1].number

    def _last_revision(self, subject_id: str) -> int:
        row = self._writer.ledger.last_change(subject_id)
        return row.revision if row else 0


def _standing_still(subject: Gateway | Ban, problem: Problem | None) -> Notice | None:
    """Word that what was ended could not be taken back on the machine yet."""
    if problem is None:
        return None
    return Notice(
        "still-there",
        f"'{subject.name}' is not wholly taken back yet: {problem.title()}. It is tried again until it is.",
        f"「{subject.name}」はまだ完全には元に戻っていません: {problem.title('ja')}。"
        "元に戻るまで再試行します。",
    )
