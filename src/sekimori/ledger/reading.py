"""What stands in a ledger, read back into values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from sekimori.model.decision import NamedList, Setting, key_of, kind_of
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.link import Link
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.permission import Permissions
from sekimori.model.source import parse_prefix
from sekimori.model.user import User

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["PENDING", "UNCONFIRMED", "Standing", "UndecodableError", "read_standing"]


PENDING: Final = "pending"
"""The kind of setting that a revision is which waits to be confirmed; its key is the number."""

UNCONFIRMED: Final = "unconfirmed"
"""The kind that the text of a config file is which was taken back; its key is the file as an owner."""


class UndecodableError(Exception):
    """A row is not what this program writes; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state after the newest revision (0 when there is none yet)."""

    revision: int
    mappings: tuple[Mapping, ...]
    lists: tuple[NamedList, ...]
    settings: tuple[Setting, ...] = ()
    pending: tuple[Pending, ...] = ()
    unconfirmed: tuple[Unconfirmed, ...] = ()


def read_standing(connection: sa.Connection | sqlite3.Connection) -> Standing:
    """Everything that stands.

    The questions are plain SQL, so that a start need not wait for SQLAlchemy to load.

    Raises:
        UndecodableError: a row cannot be read.
    """
    ask = connection.execute if isinstance(connection, sqlite3.Connection) else connection.exec_driver_sql
    documents = ask("SELECT id, document FROM mappings ORDER BY revision, id")
    named = ask("SELECT name, owner, prefixes FROM lists ORDER BY name")
    chosen = ask("SELECT kind, key, document FROM settings ORDER BY kind, key").fetchall()
    ((newest,),) = ask("SELECT max(number) FROM revisions").fetchall()
    return Standing(
        newest or 0,
        tuple(_mapping(key, text) for key, text in documents),
        tuple(_list(name, owner, text) for name, owner, text in named),
        tuple(_setting(kind, key, text) for kind, key, text in chosen if kind not in (PENDING, UNCONFIRMED)),
        tuple(_pending(key, text) for kind, key, text in chosen if kind == PENDING),
        tuple(_unconfirmed(key, text) for kind, key, text in chosen if kind == UNCONFIRMED),
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


def _setting(kind: str, key: str, text: str) -> Setting:
    try:
        setting = _SETTINGS[kind](json.loads(text))
    except (Problem, LookupError, ValueError, TypeError, AttributeError) as error:
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


def _unconfirmed(key: str, text: str) -> Unconfirmed:
    try:
        found = Unconfirmed.from_document(json.loads(text))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UndecodableError(f"the row of unconfirmed {key} cannot be read: {_text(error)}") from error
    if str(found.owner) != key:
        raise UndecodableError(f"the row of unconfirmed {key} is about {found.owner}")
    return found


_SETTINGS: Final[dict[str, Callable[[dict[str, Any]], Setting]]] = {
    "gateway": Gateway.from_document,
    "ban": Ban.from_document,
    "door": Door.from_document,
    "permissions": Permissions.from_document,
    "link": Link.from_document,
    "user": User.from_document,
}


def _text(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _read_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # it takes no lone surrogates, which words of a command line may hold
        return json.loads(text)
