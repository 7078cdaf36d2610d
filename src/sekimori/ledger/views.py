"""Questions to the journal. Each takes a connection in a transaction, and only reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from sekimori.ledger.journal import JournalRow, Revision, storable
from sekimori.ledger.schema import journal, revisions
from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Owner

__all__ = ["history", "last_change", "last_row_named", "revision_of"]

_NEWEST_FIRST = (journal.c.revision.desc(), journal.c.seq.desc())
_COLUMNS = ("revision", "seq", "verb", "subject", "subject_id", "name", "before", "after")
_ROWS = sa.select(*(journal.c[key] for key in _COLUMNS))


def history(
    connection: sa.Connection, *, limit: int = 50, before: int | None = None, subject: str | None = None
) -> list[Revision]:
    """The newest `limit` revisions below `before`, newest first.

    With a subject (a mapping's id, any name it ever had, or a list's name), the revisions
    that touched it, each with only its rows about it.
    """
    numbers = sa.select(journal.c.revision).distinct().order_by(journal.c.revision.desc()).limit(limit)
    rows = _ROWS.order_by(journal.c.revision.desc(), journal.c.seq)
    if before is not None:
        numbers = numbers.where(journal.c.revision < before)
    if subject is not None:
        about = journal.c.subject_id.in_(_subject_ids(subject))
        numbers, rows = numbers.where(about), rows.where(about)
    found = connection.execute(numbers).scalars().all()
    if not found:
        return []
    rows = rows.where(journal.c.revision.between(found[-1], found[0]))
    return _revisions(connection, (found[-1], found[0]), map(_row, connection.execute(rows)))


def revision_of(connection: sa.Connection, number: int) -> Revision:
    """One revision with all its rows.

    Raises:
        Problem: `no-such-revision`.
    """
    rows = connection.execute(_ROWS.where(journal.c.revision == number).order_by(journal.c.seq))
    found = _revisions(connection, (number, number), map(_row, rows))
    if not found:
        raise Problem("no-such-revision", revision=number)
    return found[0]


def last_change(connection: sa.Connection, subject_id: str) -> JournalRow | None:
    """The newest row about a mapping's id or a list's name."""
    rows = _ROWS.where(journal.c.subject_id == subject_id).order_by(*_NEWEST_FIRST).limit(1)
    found = connection.execute(rows).first()
    return None if found is None else _row(found)


def last_row_named(connection: sa.Connection, owner: Owner, name: str) -> JournalRow | None:
    """The newest row about a mapping of that owner that bore that name, whatever its case."""
    rows = _ROWS.where(
        sa.func.lower(journal.c.name) == name.lower(),
        journal.c.owner == storable(str(owner)),
        journal.c.subject == "mapping",
    )
    found = connection.execute(rows.order_by(*_NEWEST_FIRST).limit(1)).first()
    return None if found is None else _row(found)


def _subject_ids(subject: str) -> sa.CompoundSelect[Any]:
    named = sa.select(journal.c.subject_id).where(sa.func.lower(journal.c.name) == subject.lower())
    return sa.union(named, sa.select(sa.literal(subject)))


def _revisions(
    connection: sa.Connection, span: tuple[int, int], rows: Iterable[JournalRow]
) -> list[Revision]:
    heads = sa.select(revisions).where(revisions.c.number.between(*span))
    head_of = {head.number: head for head in connection.execute(heads)}
    return [
        Revision(number, head.at, Owner.parse(head.actor), head.door, head.why, tuple(group))
        for number, group in groupby(rows, key=lambda row: row.revision)
        for head in (head_of[number],)
    ]


def _row(found: sa.Row[*tuple[Any, ...]]) -> JournalRow:
    revision, seq, verb, subject, subject_id, name, before, after = found
    return JournalRow(
        revision, seq, Verb(verb), subject, subject_id, name, _document(before), _document(after)
    )


def _document(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    document: dict[str, Any] = json.loads(text)
    return document
