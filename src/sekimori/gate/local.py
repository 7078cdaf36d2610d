"""The gate in the daemon's own process: decide, look ahead, commit, apply, answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sekimori.gate.ports import Outcome
from sekimori.gate.undo import asks_to_undo, is_undoable
from sekimori.ledger.journal import Revision
from sekimori.model.actual import State
from sekimori.model.decision import Deny, Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.request import Ask, Change, Context, Submit
from sekimori.model.target import Target, TargetKind
from sekimori.policy.decide import decide
from sekimori.policy.rules import Rules
from sekimori.reconcile.engine import Engine
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Clock, Plane
from sekimori.reconcile.writer import Writer

__all__ = ["LocalGate"]


class LocalGate:
    """The one way in. See `ports.Gate` for what its methods promise."""

    def __init__(
        self,
        writer: Writer,
        engine: Engine,
        planes: Mapping[str, Plane],
        names: Names,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._writer = writer
        self._engine = engine
        self._planes = planes
        self._names = names
        self._clock = clock
        self._rules = rules

    async def enact(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """Do all of `asks` as one revision, or none of them (`ports.Gate.enact`)."""
        return await self._enact(asks, context)

    async def explain(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """The dry run of the same path (`ports.Gate.explain`)."""
        return await self._enact(asks, context, plan=True)

    async def undo(
        self, revision: int | None, context: Context, *, lifetime: Lifetime | None = None, plan: bool = False
    ) -> Outcome:
        """Take a revision back as a new one (`ports.Gate.undo`)."""
        ledger = self._writer.ledger
        chosen = ledger.revision_of(revision) if revision is not None else self._newest()
        asks = asks_to_undo(chosen, ledger.snapshot, self._last_revision, self._clock.now(), lifetime)
        return await self._enact(asks, context, plan=plan, undoing=True)

    async def _enact(
        self, asks: Sequence[Ask], context: Context, *, plan: bool = False, undoing: bool = False
    ) -> Outcome:
        await self._learn_names(asks)
        async with self._writer.turn:
            now = self._clock.now()
            snapshot = self._writer.ledger.snapshot
            decision = decide(asks, snapshot, context, now, self._rules, undoing=undoing)
            if isinstance(decision, Deny):
                raise decision.problem
            await self._look_ahead(decision.changes)
            if plan or not decision.changes:
                return Outcome(plan, None, decision.changes, decision.notices)
            committed = await self._writer.commit(decision.changes, context, now)
        await self._see_applied(committed, context)
        return Outcome(False, committed, committed.changes, decision.notices)

    async def _learn_names(self, asks: Sequence[Ask]) -> None:
        # Before the turn is taken: a slow name server must not hold up every other door.
        for ask in asks:
            target = ask.wish.target if isinstance(ask, Submit | Change) else None
            if isinstance(target, Target) and target.kind is TargetKind.NAME:
                await self._names.learn(target.host)

    async def _look_ahead(self, changes: Iterable[Made]) -> None:
        """Ask the planes what on this machine stands in the way.

        Raises:
            Problem: the first obstacle.
        """
        leaving = {c.before.id: c.before for c in changes if isinstance(c.before, PortMapping)}
        for change in changes:
            if isinstance(change.after, PortMapping):
                for hop in change.after.path:
                    problem = await self._planes[hop.plane].preflight(change.after, tuple(leaving.values()))
                    if problem is not None:
                        raise problem

    async def _see_applied(self, committed: Committed, context: Context) -> None:
        """Have the engine apply a revision; take back what could not be opened.

        Raises:
            Problem: `not-applied`, after the revision was taken back.
        """
        self._follow_names()
        ids = [change.subject.id for change in committed.changes if isinstance(change.subject, PortMapping)]
        for change in committed.changes:
            if change.cut and isinstance(change.before, PortMapping):
                self._engine.cut_next(change.before.id)
        if any(isinstance(change.subject, NamedList) for change in committed.changes):
            self._engine.wake()
        await self._engine.ensure(ids)
        failed = [found for found in map(self._failure, committed.changes) if found is not None]
        if failed:
            await self._take_back(committed, context, failed[0])

    def _failure(self, change: Made) -> Problem | None:
        """Why a mapping that should have opened did not."""
        if not isinstance(change.after, PortMapping):
            return None
        status = self._engine.status(change.after.id)
        if status.state is not State.FAILED or status.problem is None:
            return None
        return Problem("not-applied", name=change.after.name, why=status.problem.title())

    async def _take_back(self, committed: Committed, context: Context, problem: Problem) -> None:
        back = [Made(Verb.UNDO, change.after, change.before) for change in reversed(committed.changes)]
        why = Context(context.actor, context.door, f"taken back: {problem.title()}")
        async with self._writer.turn:
            await self._writer.commit(back, why, self._clock.now())
        self._follow_names()
        await self._engine.ensure(c.subject.id for c in back if isinstance(c.subject, PortMapping))
        raise problem

    def _follow_names(self) -> None:
        self._names.keep(
            mapping.target.host
            for mapping in self._writer.ledger.snapshot
            if mapping.target.kind is TargetKind.NAME
        )

    def _newest(self) -> Revision:
        for revision in self._writer.ledger.history(limit=100):
            if is_undoable(revision):
                return revision
        raise Problem("no-such-revision", revision="to undo")

    def _last_revision(self, subject_id: str) -> int:
        row = self._writer.ledger.last_change(subject_id)
        return row.revision if row else 0
