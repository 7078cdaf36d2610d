"""What stands in a ledger, read back into values."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa

from sekimori.ledger.schema import lists, mappings, revisions
from sekimori.model.decision import NamedList
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.source import parse_prefix

__all__ = ["Standing", "UndecodableError", "read_standing"]


class UndecodableError(Exception):
    """A row is not what this program writes; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state after the newest revision (0 when there is none yet)."""

    revision: int
    mappings: tuple[Mapping, ...]
    lists: tuple[NamedList, ...]


def read_standing(connection: sa.Connection) -> Standing:
    """Everything that stands.

    Raises:
        UndecodableError: a row cannot be read.
    """
    documents = connection.execute(
        sa.select(mappings.c.id, mappings.c.document).order_by(mappings.c.revision, mappings.c.id)
    )
    named = connection.execute(sa.select(lists).order_by(lists.c.name))
    return Standing(
        connection.execute(sa.select(sa.func.max(revisions.c.number))).scalar() or 0,
        tuple(_mapping(key, text) for key, text in documents),
        tuple(_list(name, owner, text) for name, owner, text in named),
    )


def _mapping(key: str, text: str) -> Mapping:
    try:
        mapping = Mapping.from_document(json.loads(text))
    except (Problem, LookupError, ValueError, TypeError, AttributeError) as error:
        raise UndecodableError(f"the row of mapping {key} cannot be read: {_text(error)}") from error
    if mapping.id != key:
        raise UndecodableError(f"the row of mapping {key} is about {mapping.id}")
    return mapping


def _list(name: str, owner: str, text: str) -> NamedList:
    try:
        return NamedList(name, Owner.parse(owner), tuple(map(parse_prefix, json.loads(text))))
    except (ValueError, TypeError, AttributeError) as error:
        raise UndecodableError(f"the row of list {name} cannot be read: {_text(error)}") from error


def _text(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
