"""One revision as rows: what a commit writes, inside the caller's transaction."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from sekimori.ledger.journal import JournalRow, row_of, storable, subject_id
from sekimori.ledger.reading import PENDING, UNCONFIRMED
from sekimori.ledger.schema import claims, journal, lists, mappings, revisions, settings
from sekimori.ledger.usage import delete_usage
from sekimori.model.address import Interface, UnixPath
from sekimori.model.decision import Made, NamedList, Setting, key_of, kind_of
from sekimori.model.events import Committed
from sekimori.model.gateway import Ban
from sekimori.model.mapping import Mapping
from sekimori.model.pending import Pending, Unconfirmed

__all__ = ["note_texts", "settle", "write"]

# Made once: to build a statement costs as much as to have SQLite do it.
_INSERT = {table: table.insert() for table in (revisions, mappings, claims, lists, settings, journal)}
_DELETE_MAPPING = mappings.delete().where(mappings.c.id == sa.bindparam("gone"))
_DELETE_LIST = lists.delete().where(lists.c.name == sa.bindparam("gone"))
_DELETE_SETTING = settings.delete().where(settings.c.key == sa.bindparam("gone"))


def write(connection: sa.Connection, committed: Committed) -> None:
    """Write a revision, its journal rows, and the state that follows; whether it must be confirmed; and
    that others need not be any more; and which texts of config files came to nothing.

    What changed is deleted first, claims with it, and then inserted as it stands after: so
    two mappings may swap ports or names in one revision.
    """
    context = committed.context
    connection.execute(
        _INSERT[revisions],
        {
            "number": committed.revision,
            "at": committed.at,
            "actor": storable(str(context.actor)),
            "door": storable(context.door),
            "why": storable(context.why),
        },
    )
    _put_mappings(connection, [change for change in committed.changes if isinstance(change.subject, Mapping)])
    _put_lists(connection, [change for change in committed.changes if isinstance(change.subject, NamedList)])
    _put_settings(connection, [change for change in committed.changes if isinstance(change.subject, Setting)])
    _insert(
        connection,
        journal,
        [
            _journal_values(row_of(change, committed.revision, seq))
            for seq, change in enumerate(committed.changes, start=1)
        ],
    )
    settle(connection, committed.settles)
    note_texts(connection, committed.unconfirmed)
    if committed.pending is not None:
        _insert(connection, settings, [_pending_values(committed.pending)])


def settle(connection: sa.Connection, numbers: Iterable[int]) -> None:
    """Have revisions wait for no confirmation any more."""
    keys = [str(number) for number in numbers]
    if keys:
        of_these = settings.c.key == sa.bindparam("gone")
        statement = settings.delete().where(settings.c.kind == PENDING, of_these)
        connection.execute(statement, [{"gone": key} for key in keys])


def note_texts(connection: sa.Connection, texts: Iterable[Unconfirmed]) -> None:
    """Keep what text of a config file came to nothing, or that none did."""
    for each in texts:
        key = storable(str(each.owner))
        _delete(connection, _DELETE_SETTING, [key])
        if each.text:
            document = _json(each.to_document())
            row = {"kind": UNCONFIRMED, "key": key, "owner": key, "expires_at": None, "document": document}
            _insert(connection, settings, [row])


def _put_mappings(connection: sa.Connection, changes: list[Made]) -> None:
    after = {subject_id(change): change.after for change in changes}
    standing = [each for each in after.values() if isinstance(each, Mapping)]
    _delete(connection, _DELETE_MAPPING, _replaced(changes))
    _insert(connection, mappings, [_mapping_values(each) for each in standing])
    _insert(connection, claims, [values for each in standing for values in _claim_values(each)])
    delete_usage(connection, [key for key, value in after.items() if value is None])


def _put_lists(connection: sa.Connection, changes: list[Made]) -> None:
    after = {subject_id(change): change.after for change in changes}
    _delete(connection, _DELETE_LIST, _replaced(changes))
    _insert(connection, lists, [_list_values(each) for each in after.values() if isinstance(each, NamedList)])


def _put_settings(connection: sa.Connection, changes: list[Made]) -> None:
    after = {subject_id(change): change.after for change in changes}
    _delete(connection, _DELETE_SETTING, _replaced(changes))
    standing = [each for each in after.values() if isinstance(each, Setting)]
    _insert(connection, settings, [_setting_values(each) for each in standing])


def _replaced(changes: list[Made]) -> list[str]:
    """The subjects that stood before the batch. One that did not must be new to the database too."""
    first = {subject_id(change): change.before for change in reversed(changes)}
    return [key for key, before in first.items() if before is not None]


def _mapping_values(mapping: Mapping) -> dict[str, Any]:
    return {
        "id": mapping.id,
        "name": mapping.name,
        "owner": storable(str(mapping.owner)),
        "expires_at": mapping.lifetime.expires_at,
        "revision": mapping.revision,
        "document": _json(mapping.to_document()),
    }


def _claim_values(mapping: Mapping) -> Iterable[dict[str, Any]]:
    for position, claim in enumerate(mapping.claims):
        on = claim.on
        yield {
            "mapping_id": mapping.id,
            "position": position,
            # Ports of a host inside, or of another machine, meet nobody's ports outside.
            "protocol": claim.space,
            "address": "" if on is None or isinstance(on, Interface | UnixPath) else str(on),
            "family": 0 if on is None or isinstance(on, Interface | UnixPath) else on.version,
            "first": claim.pair.outside.first,
            "last": claim.pair.outside.last,
            "interface": on.name if isinstance(on, Interface) else "",
        }


def _list_values(named: NamedList) -> dict[str, Any]:
    document = named.to_document()
    return {"name": named.name, "owner": storable(document["owner"]), "prefixes": _json(document["prefixes"])}


def _setting_values(setting: Setting) -> dict[str, Any]:
    return {
        "kind": kind_of(setting),
        "key": key_of(setting),
        "owner": storable(str(setting.owner)),
        "expires_at": setting.expires_at if isinstance(setting, Ban) else None,
        "document": _json(setting.to_document()),
    }


def _pending_values(pending: Pending) -> dict[str, Any]:
    return {
        "kind": PENDING,
        "key": str(pending.revision),
        "owner": storable(str(pending.actor)),
        "expires_at": math.ceil(pending.deadline),
        "document": _json(pending.to_document()),
    }


def _journal_values(row: JournalRow) -> dict[str, Any]:
    return {
        "revision": row.revision,
        "seq": row.seq,
        "verb": str(row.verb),
        "subject": row.subject,
        "subject_id": row.subject_id,
        "name": row.name,
        "owner": storable(str(row.owner)),
        "before": None if row.before is None else _json(row.before),
        "after": None if row.after is None else _json(row.after),
    }


def _delete(connection: sa.Connection, statement: sa.Delete, keys: list[str]) -> None:
    if keys:
        connection.execute(statement, [{"gone": key} for key in keys])


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(_INSERT[table], rows)


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
