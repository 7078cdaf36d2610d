"""The journal's values: one row for each change, grouped in revisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sekimori.model.decision import Made, Subject, SubjectKind, Verb, key_of, kind_of
from sekimori.model.mapping import Owner

__all__ = ["JournalRow", "Revision", "row_of", "storable", "subject_id"]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One change of one subject.

    Attributes:
        revision: the revision it belongs to.
        seq: its place in the revision, from 1.
        subject_id: the mapping's id, the list's name, the ban's prefix (`key_of`).
        name: the subject's name after the change, or its last one.
        before: the document as it stood (`to_document`); None when the subject is new.
        after: the document as it stands; None when the subject is gone.
    """

    revision: int
    seq: int
    verb: Verb
    subject: SubjectKind
    subject_id: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def owner(self) -> Owner:
        """Whose subject it is."""
        document = self.after if self.after is not None else self.before
        assert document is not None
        return Owner.parse(document["owner"])


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit: when (Unix seconds), who, through which door, why, and its changes in order."""

    number: int
    at: float
    actor: Owner
    door: str
    why: str
    rows: tuple[JournalRow, ...]


def row_of(change: Made, revision: int, seq: int) -> JournalRow:
    """The journal's row about a change."""
    subject = change.subject
    return JournalRow(
        revision,
        seq,
        change.verb,
        kind_of(subject),
        subject_id(change),
        subject.name,
        _document(change.before),
        _document(change.after),
    )


def subject_id(change: Made) -> str:
    """What tells the subject from every other (`key_of`)."""
    return key_of(change.subject)


def storable(text: str) -> str:
    """The text as a column can hold it.

    Words from a command line or from JSON may hold lone surrogates, which UTF-8 has no bytes
    for, and NUL, which PostgreSQL's text cannot hold; they are kept as their escapes.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def _document(subject: Subject | None) -> dict[str, Any] | None:
    return None if subject is None else subject.to_document()
