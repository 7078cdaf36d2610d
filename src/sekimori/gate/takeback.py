"""Taking a revision back that could not be applied, after others may have moved on."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import replace
from typing import Any

from sekimori.ledger.journal import Revision
from sekimori.model.decision import Made, NamedList, Subject, SubjectKind, Verb, key_of, kind_of
from sekimori.model.door import Door
from sekimori.model.events import Committed
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.link import Link
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.permission import Permissions
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import parse_prefix
from sekimori.model.user import User

__all__ = ["collapse", "recollect", "still_standing", "touched_by"]


def recollect(revision: Revision) -> Committed:
    """A revision of the journal as it was when it was written.

    Raises:
        Problem, KeyError, ValueError: a row of it cannot be read.
    """
    changes = [
        Made(row.verb, _read(row.subject, row.before), _read(row.subject, row.after)) for row in revision.rows
    ]
    context = Context(revision.actor, revision.door, revision.why)
    return Committed(revision.number, revision.at, context, tuple(changes))


def touched_by(revision: Revision) -> set[tuple[str, str]]:
    """What a revision changed, each subject by its kind and key."""
    return {(row.subject, row.subject_id) for row in revision.rows}


def _read(kind: SubjectKind, document: MappingABC[str, Any] | None) -> Subject | None:
    if document is None:
        return None
    match kind:
        case "mapping":
            return Mapping.from_document(document)
        case "gateway":
            return Gateway.from_document(document)
        case "ban":
            return Ban.from_document(document)
        case "door":
            return Door.from_document(document)
        case "permissions":
            return Permissions.from_document(document)
        case "link":
            return Link.from_document(document)
        case "user":
            return User.from_document(document)
        case "list":
            prefixes = tuple(map(parse_prefix, document["prefixes"]))
            return NamedList(document["name"], Owner.parse(document["owner"]), prefixes)


def collapse(changes: Iterable[Made]) -> list[Made]:
    """One change for each subject: from how it stood before the first to how it stands after the last."""
    found: dict[tuple[str, str], Made] = {}
    for change in changes:
        key = kind_of(change.subject), key_of(change.subject)
        first = found.get(key)
        found[key] = replace(change, before=first.before, verb=first.verb) if first else change
    return [change for change in found.values() if change.before is not None or change.after is not None]


def still_standing(committed: Committed, snapshot: Snapshot) -> tuple[list[Made], list[str]]:
    """The changes that take a revision back now, and the names of what must be left as it is.

    Left is what was changed again since, and what would come back to a name or a port that
    somebody took in the meantime: to put it back would undo another's revision.
    """
    undone = [Made(Verb.UNDO, change.after, change.before) for change in collapse(committed.changes)]
    back = [change for change in undone if _stands(change, snapshot)]
    while True:
        draft = snapshot.fork()
        for change in back:
            draft.apply(change)
        fitting = [change for change in back if _has_room(change.after, draft)]
        if len(fitting) == len(back):
            break
        back = fitting  # what is left where it is may stand in the way of yet others
    # What goes comes before what returns to its name and ports.
    back.sort(key=lambda change: change.after is not None)
    return back, [change.subject.name for change in undone if change not in back]


def _stands(change: Made, snapshot: Snapshot) -> bool:
    return _standing(change.subject, snapshot) == change.before


def _standing(subject: Subject, snapshot: Snapshot) -> Subject | None:
    match subject:
        case Mapping():
            return snapshot.get(subject.id)
        case NamedList():
            return snapshot.list_named(subject.name)
        case Gateway():
            return snapshot.gateway
        case Ban():
            return snapshot.bans.get(subject.prefix)
        case Door():
            return snapshot.doors.get(subject.door)
        case Permissions():
            return snapshot.permissions
        case Link():
            return snapshot.links.get(subject.name)
        case User():
            return snapshot.users.get(subject.name)


def _has_room(after: Subject | None, draft: Snapshot) -> bool:
    if not isinstance(after, Mapping):
        return True
    namesakes = sum(1 for _ in draft.namesakes(after.name))
    return namesakes == 1 and next(draft.rivals(after), None) is None
