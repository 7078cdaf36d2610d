"""What one decision goes by, and who may change what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from sekimori.model.causes import Text, cause
from sekimori.model.decision import Subject
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.model.link import Link
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import User
from sekimori.policy.rules import Rules

__all__ = ["Case", "in_place_of", "refuse_foreign", "refuse_own_only"]

_Kept = TypeVar("_Kept", Door, Link, User)

_OWN_ONLY = frozenset({OwnerKind.DEVICE, OwnerKind.KEY, OwnerKind.CLIENT, OwnerKind.TRIGGER})
"""Owners that may touch nothing but their own mappings."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one decision goes by. `draft` is ours to change."""

    draft: Snapshot
    context: Context
    now: float
    rules: Rules
    undoing: bool


def refuse_foreign(subject: Subject, what: str, case: Case, *, harmless: bool = False) -> None:
    """Refuse to let the actor touch what is another's.

    `what` is the cause that names the doing. A person may do what is `harmless` to what a file manages.

    Raises:
        Problem: `not-permitted` or `managed-by-file`.
    """
    actor: Owner = case.context.actor
    if actor == subject.owner:
        return
    if actor.kind in _OWN_ONLY:
        doing = cause("do-to", what=cause(what), name=subject.name)
        raise Problem("not-permitted", what=doing, who=actor.label)
    if subject.owner.kind is OwnerKind.FILE and not harmless and not case.undoing:
        stops = cause("or-pause", name=subject.name) if isinstance(subject, Mapping) else ""
        file = subject.owner.id
        raise Problem("managed-by-file", what=cause(what), name=subject.name, file=file, now=stops)


def refuse_own_only(what: Text, case: Case) -> None:
    """Refuse what is for people and files only: it has no owner among devices, keys and clients.

    Raises:
        Problem: `not-permitted`.
    """
    actor = case.context.actor
    if actor.kind in _OWN_ONLY:
        raise Problem("not-permitted", what=what, who=actor.label)


def in_place_of(before: _Kept | None, wanted: _Kept, case: Case) -> _Kept:
    """What is asked for, as old as what it takes the place of, and its owner's unless a file takes over."""
    actor = case.context.actor
    owner = actor if before is None or actor.kind is OwnerKind.FILE else before.owner
    return replace(
        wanted,
        owner=wanted.owner if case.undoing else owner,
        created_at=int(case.now) if before is None else before.created_at,
    )
