"""What the doctor is asked for: to look, to carry remedies out, and to take them back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import structlog

from sekimori.model.errors import Problem
from sekimori.model.finding import Applied, Examination, Found, Treated, Treatment
from sekimori.model.remedy import Remedy
from sekimori.observe.diagnose.examiner import Examiner
from sekimori.observe.diagnose.records import Records
from sekimori.observe.diagnose.remedy import Hands, RemedyFailed, apply, revert

__all__ = ["Clinic"]

_log = structlog.get_logger("doctor")


@dataclass(frozen=True, slots=True)
class _Case:
    """A remedy, and all that it is for."""

    remedy: Remedy
    codes: tuple[str, ...]
    mappings: tuple[str, ...]


class Clinic:
    """The doctor's own process: one thing is done at a time.

    Args:
        examiner: looks at the machine.
        records: of the remedies that stand.
        hands: what remedies are carried out with.
        now: Unix seconds.
    """

    def __init__(self, examiner: Examiner, records: Records, hands: Hands, now: Callable[[], float]) -> None:
        self._examiner = examiner
        self._records = records
        self._hands = hands
        self._now = now
        # Held by the thread that works, which goes on when whoever asked has gone away.
        self._working = threading.Lock()

    async def examine(self, mapping: str | None) -> Examination:
        """Look at one mapping, or at all; and at the machine.

        Raises:
            Problem: there is no such mapping.
        """
        return await self._examiner.examine(mapping)

    async def applied(self) -> tuple[Applied, ...]:
        """The remedies that stand, the oldest first.

        Raises:
            Problem: the records cannot be read.
        """
        return await asyncio.to_thread(self._records.all)

    async def treat(
        self,
        mapping: str | None,
        codes: Collection[str] | None,
        ids: Collection[str] | None,
        *,
        plan: bool,
        by: str,
        why: str,
    ) -> Treatment:
        """Carry out the remedies of what is found, and look again.

        Args:
            mapping: whose; None is all.
            codes: only those for findings with these codes.
            ids: only these, as they were shown.
            plan: only tell.
            by: who asks, for the records.
            why: the reason they give, for the log.

        Raises:
            Problem: no such mapping; or a remedy that was named is no longer what would be done.
        """
        before = await self._examiner.examine(mapping)
        cases = _cases(before.found, codes)
        _refuse_missing(ids, cases.keys())
        chosen = [case for name, case in cases.items() if ids is None or name in ids]
        if plan:
            return Treatment(True, tuple(Treated(case.remedy) for case in chosen), before)
        treated = [await asyncio.to_thread(self._carry_out, case, by, why) for case in chosen]
        return Treatment(False, tuple(treated), await self._examiner.examine(mapping))

    async def take_back(
        self, mapping: str | None, ids: Collection[str] | None, *, plan: bool, by: str, why: str
    ) -> Treatment:
        """Undo remedies that stand, the newest first, and look again.

        Args:
            mapping: those that were for this one, which may be gone: the name it had will do. None is any.
            ids: only these.
            plan: only tell.
            by: who asks.
            why: the reason they give.

        Raises:
            Problem: a remedy that was named does not stand; or the records cannot be read.
        """
        stand = await self.applied()
        _refuse_missing(ids, {each.remedy.id for each in stand})
        name = None if mapping is None else self._examiner.name_of(mapping)
        chosen = [
            each
            for each in reversed(stand)
            if (name is None or name in each.mappings) and (ids is None or each.remedy.id in ids)
        ]
        if plan:
            undone = tuple(Treated(each.remedy) for each in chosen)
        else:
            undone = tuple([await asyncio.to_thread(self._undo, each, by, why) for each in chosen])
        return Treatment(plan, undone, await self._examiner.examine(None))

    def _carry_out(self, case: _Case, by: str, why: str) -> Treated:
        remedy = case.remedy
        with self._working:
            # The record comes first: whatever ends this process, what was done can be taken back.
            known = any(each.remedy.id == remedy.id for each in self._records.all())
            self._records.put(Applied(remedy, case.codes, case.mappings, self._now(), by))
            try:
                apply(remedy, self._hands)
            except RemedyFailed as error:
                if not known:
                    self._records.drop(remedy.id)
                return Treated(remedy, _problem("remedy-failed", remedy, error))
        _log.info("remedy_applied", **_told(remedy, by, why), commands=remedy.commands)
        return Treated(remedy)

    def _undo(self, applied: Applied, by: str, why: str) -> Treated:
        remedy = applied.remedy
        with self._working:
            try:
                revert(remedy, self._hands)
            except RemedyFailed as error:
                return Treated(remedy, _problem("remedy-stays", remedy, error))
            self._records.drop(remedy.id)
        _log.info("remedy_taken_back", **_told(remedy, by, why), commands=remedy.undo)
        return Treated(remedy)


def _cases(found: Iterable[Found], codes: Collection[str] | None) -> dict[str, _Case]:
    """The remedies of what was found, by id, each once."""
    cases: dict[str, _Case] = {}
    for each in found:
        remedy, code = each.finding.remedy, each.finding.code
        if remedy is None or (codes is not None and code not in codes):
            continue
        old = cases.get(remedy.id, _Case(remedy, (), ()))
        names = () if each.mapping is None else (each.mapping,)
        cases[remedy.id] = _Case(
            remedy,
            tuple(dict.fromkeys((*old.codes, code))),
            tuple(dict.fromkeys((*old.mappings, *names))),
        )
    return cases


def _refuse_missing(ids: Collection[str] | None, known: Collection[str]) -> None:
    missing = sorted(set(ids or ()).difference(known))
    if missing:
        raise Problem("remedy-gone", ids=", ".join(missing))


def _problem(code: str, remedy: Remedy, error: RemedyFailed) -> Problem:
    return Problem(code, owner=str(remedy.owner), step=error.step, output=error.output)


def _told(remedy: Remedy, by: str, why: str) -> dict[str, object]:
    files = [edit.path for edit in remedy.edits]
    return {"id": remedy.id, "owner": str(remedy.owner), "by": by, "why": why, "files": files}
