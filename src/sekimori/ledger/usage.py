"""What went through each mapping so far, kept across restarts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import sqlalchemy as sa

from sekimori.ledger.schema import usage
from sekimori.ledger.totals import Usage

__all__ = ["delete_usage", "load_usage", "save_usage"]


_DELETE = usage.delete().where(usage.c.mapping_id == sa.bindparam("gone"))


def save_usage(connection: sa.Connection, totals: Mapping[str, Usage]) -> None:
    """Put the totals of these mappings in place of what was kept."""
    delete_usage(connection, totals)
    if totals:
        connection.execute(
            usage.insert(), [{"mapping_id": key, **asdict(value)} for key, value in totals.items()]
        )


def load_usage(connection: sa.Connection) -> dict[str, Usage]:
    """The kept totals by mapping id."""
    rows = connection.execute(sa.select(usage)).all()
    return {key: Usage(*values) for key, *values in rows}


def delete_usage(connection: sa.Connection, mapping_ids: Iterable[str]) -> None:
    """Forget the totals of these mappings."""
    gone = [{"gone": key} for key in mapping_ids]
    if gone:
        connection.execute(_DELETE, gone)
