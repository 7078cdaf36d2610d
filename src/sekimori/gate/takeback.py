"""Taking a revision back that could not be applied, after others may have moved on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping
from sekimori.model.snapshot import Snapshot

__all__ = ["collapse", "still_standing"]


def collapse(changes: Iterable[Made]) -> list[Made]:
    """One change for each subject: from how it stood before the first to how it stands after the last."""
    found: dict[tuple[bool, str], Made] = {}
    for change in changes:
        subject = change.subject
        key = (True, subject.name) if isinstance(subject, NamedList) else (False, subject.id)
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
    subject = change.subject
    if isinstance(subject, NamedList):
        return snapshot.list_named(subject.name) == change.before
    return snapshot.get(subject.id) == change.before


def _has_room(after: Mapping | NamedList | None, draft: Snapshot) -> bool:
    if not isinstance(after, Mapping):
        return True
    # Every mapping is looked at: the draft's own index of names knows only the last one put in.
    namesakes = sum(mapping.name.lower() == after.name.lower() for mapping in draft)
    return namesakes == 1 and next(draft.rivals(after), None) is None
