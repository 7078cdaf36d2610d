"""`[users]` of the config file: read, and asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sekimori.config.entry import explain, read_until
from sekimori.config.grants import read_grant
from sekimori.config.lines import Place
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Owner
from sekimori.model.snapshot import Snapshot
from sekimori.model.user import PutUser, RemoveUser, User, check_user_name
from sekimori.model.words import Reading
from sekimori.wire.authorizedkeys import parse_line

__all__ = ["USER_KEYS", "ask_for_users", "read_users"]

USER_KEYS: Final = ("keys", "until")
"""The keys of `[users.NAME]` beside the words of a grant."""


def read_users(table: Mapping[str, Any], place: Place, owner: Owner, reading: Reading) -> Mapping[str, User]:
    """Read every `[users.NAME]`.

    Raises:
        Problem: `unknown-key` or `bad-config`.
    """
    found: dict[str, User] = {}
    for name, words in table.items():
        here = place.at(name)
        user = _read_user(name, words, here, owner, reading)
        if found.setdefault(user.name, user) is not user:
            raise here.bad(cause("same-name", name=user.name, line=place.at(user.name).line))
    return found


def ask_for_users(
    owner: Owner, users: Mapping[str, User], snapshot: Snapshot
) -> Iterator[PutUser | RemoveUser]:
    """What brings the users to what the file of `owner` says. Those of others are left alone."""
    for name, stands in snapshot.users.items():
        if stands.owner == owner and name not in users:
            yield RemoveUser(name)
    for name, user in users.items():
        held = snapshot.users.get(name)
        if held is None or replace(held, created_at=0) != user:
            yield PutUser(user)


def _read_user(name: str, table: object, place: Place, owner: Owner, reading: Reading) -> User:
    grant = read_grant(table, place, USER_KEYS)
    assert isinstance(table, Mapping)  # or it had no grant
    try:
        name = check_user_name(name)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    return User(
        name=name,
        owner=owner,
        keys=_read_keys(table.get("keys", []), place.at("keys")),
        grant=grant,
        expires_at=read_until(table["until"], place.at("until"), reading) if "until" in table else None,
    )


def _read_keys(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise place.bad(cause("not-keys"))
    return tuple(_read_key(each, place.at(index)) for index, each in enumerate(value))


def _read_key(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise place.bad(cause("not-quoted"))
    line = value.strip()
    try:
        parse_line(line)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    return line
