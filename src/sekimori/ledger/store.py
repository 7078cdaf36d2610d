"""The ledger: every change is one transaction, then, and only then, the snapshot's.

What is imported where it is used loads SQLAlchemy, which nobody needs before the first change or question.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sekimori.ledger.journal import JournalRow, Revision
from sekimori.ledger.opening import open_database
from sekimori.ledger.reading import Standing
from sekimori.ledger.totals import Usage
from sekimori.model.decision import Made
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot

if TYPE_CHECKING:
    from sekimori.ledger.database import Database

__all__ = ["Ledger"]

FILE_NAME: Final = "ledger.db"


class Ledger:
    """The one truth. One thread writes; any thread may ask for history.

    Attributes:
        snapshot: what stands now, in memory. Only `take` changes it, after the file has.
        revision: the newest revision's number; 0 before the first.
        pending: revisions that wait to be confirmed, by number. Only `take` and `forget` change it.
        unconfirmed: by the file, the text that was taken back and is not applied again by itself.
    """

    def __init__(self, database: Database | None, standing: Standing, file: Path | None = None) -> None:
        self._opened = database
        self._opening = threading.Lock()
        self._file = file
        self.snapshot = Snapshot(standing.mappings, standing.lists, standing.settings)
        self.revision = standing.revision
        self.pending: dict[int, Pending] = {each.revision: each for each in standing.pending}
        self.unconfirmed: dict[Owner, Unconfirmed] = {each.owner: each for each in standing.unconfirmed}

    @classmethod
    def open(cls, directory: Path, *, memory: bool = False) -> Ledger:
        """The ledger in `directory` (`ledger.db`), made when it is not there.

        With `memory` it is a new one that leaves no file, for tests and dry runs.

        Raises:
            Problem: `ledger-newer` (the file is untouched), `ledger-corrupt` (it was moved
                aside), `disk-full`, `state-unusable`, `ledger-failed`.
        """
        file = None if memory else directory / FILE_NAME
        return cls(*open_database(file), file)

    @property
    def _database(self) -> Database:
        """The file's connections, made when they are first asked for."""
        with self._opening:
            if self._opened is None:
                from sekimori.ledger.database import Database

                self._opened = Database(self._file)
            return self._opened

    def commit(self, changes: Sequence[Made], context: Context, at: float) -> Committed:
        """Write the changes as one revision and take them into the snapshot: `write`, then `take`."""
        committed = self.write(changes, context, at)
        self.take(committed)
        return committed

    def write(
        self,
        changes: Sequence[Made],
        context: Context,
        at: float,
        within: int | None = None,
        settles: Sequence[int] = (),
        unconfirmed: Sequence[Unconfirmed] = (),
    ) -> Committed:
        """Write the changes as one revision at `at` (Unix seconds): all of them or none.

        The snapshot does not change: that is `take`'s, in the thread whose readers go through it.

        Each mapping after a change gets the revision's number, and `at` as its creation when it
        had none; the answer holds the changes as they were stored. They are on the disk when
        this returns; but of leases that devices asked for, a power cut may take the last, which
        their devices ask for again. `within` is the seconds in which the context's caller must confirm the
        revision, None is not at all; the revisions in `settles` wait to be confirmed no longer.
        The texts in `unconfirmed` are kept; a text that is written now is not one of them any more.

        Raises:
            Problem: `disk-full`, `state-unusable` or `ledger-failed`; nothing was changed.
            ValueError: there are no changes.
        """
        from sekimori.ledger.writing import write

        if not changes:
            raise ValueError("a revision has at least one change")
        number = self.revision + 1
        pending = None
        if within is not None and context.caller is not None:
            deadline = at + within
            pending = Pending(number, context.actor, context.caller, deadline, within, context.text)
        if context.text and context.actor in self.unconfirmed:
            unconfirmed = (*unconfirmed, Unconfirmed(context.actor, "", at))
        stamped = _stamped(changes, number, at)
        committed = Committed(number, at, context, stamped, pending, tuple(settles), tuple(unconfirmed))
        database = self._database
        lane = database.relaxed if _is_asked_for_again(committed) else database.writing
        try:
            with lane() as connection:
                write(connection, committed)
        except Problem:
            # A COMMIT may take effect and then be reported as failed; the file decides.
            if not self._holds(number):
                raise
        return committed

    def take(self, committed: Committed) -> None:
        """Bring the snapshot to what was written."""
        for change in committed.changes:
            self.snapshot.apply(change)
        self.revision = committed.revision
        self.forget(committed.settles, committed.unconfirmed)
        if committed.pending is not None:
            self.pending[committed.revision] = committed.pending

    def settle(self, numbers: Sequence[int], unconfirmed: Sequence[Unconfirmed] = ()) -> None:
        """Write that revisions wait to be confirmed no longer, and texts of config files to keep or not.

        `forget` is to follow, as `take` does `write`.

        Raises:
            Problem: as `commit`.
        """
        from sekimori.ledger.writing import note_texts, settle

        with self._database.writing() as connection:
            settle(connection, numbers)
            note_texts(connection, unconfirmed)

    def forget(self, numbers: Sequence[int], unconfirmed: Sequence[Unconfirmed] = ()) -> None:
        """Take in what `settle` wrote."""
        for number in numbers:
            self.pending.pop(number, None)
        for each in unconfirmed:
            self.unconfirmed.pop(each.owner, None)
            if each.text:
                self.unconfirmed[each.owner] = each

    def _holds(self, number: int) -> bool:
        try:
            self.revision_of(number)
        except Problem:
            return False
        return True

    def history(
        self, *, limit: int = 50, before: int | None = None, subject: str | None = None
    ) -> list[Revision]:
        """The newest `limit` revisions below number `before`, newest first.

        With a subject (a mapping's id, any name it ever had though closed since, or a list's
        name), the revisions that touched it, each with only its rows about it.
        """
        from sekimori.ledger import views

        with self._database.reading() as connection:
            return views.history(connection, limit=limit, before=before, subject=subject)

    def revision_of(self, number: int) -> Revision:
        """One revision with all its rows.

        Raises:
            Problem: `no-such-revision`.
        """
        from sekimori.ledger import views

        with self._database.reading() as connection:
            return views.revision_of(connection, number)

    def last_change(self, subject_id: str) -> JournalRow | None:
        """The newest row about a mapping's id or a list's name."""
        from sekimori.ledger import views

        with self._database.reading() as connection:
            return views.last_change(connection, subject_id)

    def last_row_named(self, owner: Owner, name: str) -> JournalRow | None:
        """The newest row about a mapping of that owner that bore that name, whatever its case."""
        from sekimori.ledger import views

        with self._database.reading() as connection:
            return views.last_row_named(connection, owner, name)

    def save_usage(self, totals: MappingABC[str, Usage]) -> None:
        """Keep these totals by mapping id; those of mappings that do not stand are left out.

        A power cut may take the last of it, so it costs no fsync.

        Raises:
            Problem: as `commit`.
        """
        from sekimori.ledger import usage

        standing = {key: value for key, value in totals.items() if self.snapshot.get(key) is not None}
        if standing:
            with self._database.relaxed() as connection:
                usage.save_usage(connection, standing)

    def load_usage(self) -> dict[str, Usage]:
        """The kept totals by mapping id; a mapping whose totals were never saved has none."""
        from sekimori.ledger import usage

        with self._database.reading() as connection:
            return usage.load_usage(connection)

    def close(self) -> None:
        """Let go of the file. Closing again does nothing."""
        self._database.close()


def _is_asked_for_again(committed: Committed) -> bool:
    """Whether all of it is what a device asked for: its protocol has it ask again when it was forgotten."""
    if committed.context.actor.kind is not OwnerKind.DEVICE:
        return False
    subjects = (change.subject for change in committed.changes)
    return all(isinstance(subject, Mapping) and subject.lease is not None for subject in subjects)


def _stamped(changes: Sequence[Made], number: int, at: float) -> tuple[Made, ...]:
    """The changes with what only the commit knows: the revision, and when each was created."""
    stamped: list[Made] = []
    standing: dict[str, Mapping] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(before, Mapping):  # by an earlier change of this batch, perhaps
            before = standing.get(before.id, before)
        if isinstance(after, Mapping):
            after = replace(after, revision=number, created_at=after.created_at or int(at))
            standing[after.id] = after
        stamped.append(replace(change, before=before, after=after))
    return tuple(stamped)
