"""What stands in a ledger, read back into values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import sqlalchemy as sa

from sekimori.ledger.schema import lists, mappings, revisions, settings
from sekimori.ledger.writing import PENDING
from sekimori.model.decision import NamedList, key_of, kind_of
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.pending import Pending
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
    settings: tuple[Gateway | Ban, ...] = ()
    pending: tuple[Pending, ...] = ()


def read_standing(connection: sa.Connection) -> Standing:
    """Everything that stands.

    Raises:
        UndecodableError: a row cannot be read.
    """
    documents = connection.execute(
        sa.select(mappings.c.id, mappings.c.document).order_by(mappings.c.revision, mappings.c.id)
    )
    named = connection.execute(sa.select(lists).order_by(lists.c.name))
    chosen = connection.execute(
        sa.select(settings.c.kind, settings.c.key, settings.c.document).order_by(
            settings.c.kind, settings.c.key
        )
    ).all()
    return Standing(
        connection.execute(sa.select(sa.func.max(revisions.c.number))).scalar() or 0,
        tuple(_mapping(key, text) for key, text in documents),
        tuple(_list(name, owner, text) for name, owner, text in named),
        tuple(_setting(kind, key, text) for kind, key, text in chosen if kind != PENDING),
        tuple(_pending(key, text) for kind, key, text in chosen if kind == PENDING),
    )


def _mapping(key: str, text: str) -> Mapping:
    try:
        mapping = Mapping.from_document(_read_json(text))
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


def _setting(kind: str, key: str, text: str) -> Gateway | Ban:
    try:
        setting = _SETTINGS[kind](json.loads(text))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UndecodableError(f"the row of {kind} {key} cannot be read: {_text(error)}") from error
    if (kind_of(setting), key_of(setting)) != (kind, key):
        raise UndecodableError(f"the row of {kind} {key} is about {key_of(setting)}")
    return setting


def _pending(key: str, text: str) -> Pending:
    try:
        pending = Pending.from_document(json.loads(text))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UndecodableError(f"the row of pending {key} cannot be read: {_text(error)}") from error
    if str(pending.revision) != key:
        raise UndecodableError(f"the row of pending {key} is about {pending.revision}")
    return pending


_SETTINGS: Final[dict[str, Callable[[dict[str, Any]], Gateway | Ban]]] = {
    "gateway": Gateway.from_document,
    "ban": Ban.from_document,
}


def _text(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _read_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it takes no lone surrogates, which words of a command line may hold
        return json.loads(text)
