"""The words of a grant in a table of the config file."""

from __future__ import annotations

from collections.abc import Mapping

from sekimori.config.entry import explain
from sekimori.config.lines import Place
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.grantwords import GRANT_FIELDS, parse_grant
from sekimori.model.user import Grant

__all__ = ["read_grant"]


def read_grant(table: object, place: Place, beside: tuple[str, ...] = ()) -> Grant:
    """Read a grant. Its table may hold keys of something else `beside`, which are left alone.

    Raises:
        Problem: `unknown-key` or `bad-config`, with the line of the key.
    """
    if not isinstance(table, Mapping):
        raise place.bad(cause("not-a-table", table=".".join(map(str, place.path))))
    for key in table:
        if key not in (*GRANT_FIELDS, *beside):
            raise place.at(key).unknown((*beside, *GRANT_FIELDS))
    words = {key: value for key, value in table.items() if key in GRANT_FIELDS}
    for key, value in words.items():
        try:
            parse_grant({key: value})
        except Problem as problem:
            raise place.at(key).bad(explain(problem)) from None
    return parse_grant(words)
