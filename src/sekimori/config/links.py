"""`[links]` of the config file: read, and asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sekimori.config.entry import explain
from sekimori.config.lines import Place
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem
from sekimori.model.link import AddLink, Link, RemoveLink, SshPlace, check_link_name
from sekimori.model.mapping import Owner
from sekimori.model.snapshot import Snapshot
from sekimori.wire.hostkeyline import HostKeyLine

__all__ = ["LINK_KEYS", "ask_for_links", "read_links"]

LINK_KEYS: Final = ("to", "jump", "identity", "config", "host_keys", "connections")
"""The keys of `[links.NAME]`."""
_MOST_CONNECTIONS: Final = 16


def read_links(table: Mapping[str, Any], place: Place, owner: Owner) -> Mapping[str, Link]:
    """Read every `[links.NAME]`.

    Raises:
        Problem: `unknown-key` or `bad-config`.
    """
    found: dict[str, Link] = {}
    for name, words in table.items():
        here = place.at(name)
        if not isinstance(words, dict):
            raise here.bad(cause("not-a-table", table=f"links.{name}"))
        link = _read_link(name, words, here, owner)
        if found.setdefault(link.name, link) is not link:
            raise here.bad(cause("same-name", name=link.name, line=place.at(link.name).line))
    return found


def ask_for_links(
    owner: Owner, links: Mapping[str, Link], snapshot: Snapshot
) -> Iterator[AddLink | RemoveLink]:
    """What brings the links to what the file of `owner` says. Those of others are left alone."""
    for name, stands in snapshot.links.items():
        if stands.owner == owner and name not in links:
            yield RemoveLink(name)
    for name, link in links.items():
        held = snapshot.links.get(name)
        if held is None or replace(held, created_at=0) != link:
            yield AddLink(link)


def _read_link(name: str, table: Mapping[str, Any], place: Place, owner: Owner) -> Link:
    for key in table:
        if key not in LINK_KEYS:
            raise place.at(key).unknown(LINK_KEYS)
    if "to" not in table:
        raise place.bad(cause("key-missing", key="to"))
    try:
        name = check_link_name(name)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    server = _read_place(table["to"], place.at("to"))
    jump = tuple(_read_place(each, where) for each, where in _each(table, "jump", place))
    config = _read_config(table.get("config", ""), place.at("config"))
    return Link(
        name=name,
        owner=owner,
        place=server,
        jump=jump,
        identity=tuple(_read_path(each, where) for each, where in _each(table, "identity", place)),
        config=config,
        host_keys=_read_host_keys(list(_each(table, "host_keys", place)), (server, *jump), config),
        connections=_read_connections(table.get("connections", 1), place.at("connections")),
    )


def _each(table: Mapping[str, Any], key: str, place: Place) -> Iterator[tuple[str, Place]]:
    """The texts of a list, or the one text that stands for it, each with its place."""
    value = table.get(key, [])
    if not isinstance(value, list | str):
        raise place.at(key).bad(cause("not-places"))
    for index, each in enumerate([value] if isinstance(value, str) else value):
        where = place.at(key) if isinstance(value, str) else place.at(key, index)
        yield _text(each, where), where


def _text(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise place.bad(cause("not-quoted"))
    if not value.strip():
        raise place.bad(cause("empty"))
    return value.strip()


def _read_place(value: object, place: Place) -> SshPlace:
    try:
        return SshPlace.parse(_text(value, place))
    except Problem as problem:
        raise (problem if problem.code == "bad-config" else place.bad(explain(problem))) from None


def _read_path(value: str, place: Place) -> str:
    if not value.startswith("/"):
        raise place.bad(cause("path-not-absolute", path=value))
    return value


def _read_config(value: object, place: Place) -> str:
    if value == "":
        return ""
    text = _text(value, place)
    return text if text == "none" else _read_path(text, place)


def _read_host_keys(
    said: Sequence[tuple[str, Place]], ours: tuple[SshPlace, ...], config: str
) -> tuple[str, ...]:
    """Lines about the server, which is the first of `ours`, its jumps, and those that ssh_config(5) names."""
    read = [_read_host_key(value, None, ours[0], place) for value, place in said]
    if config == "none" or not any(line.partition(" ")[0] == str(ours[0]) for line in read):
        read = [_read_host_key(value, ours, ours[0], place) for value, place in said]
    return tuple(dict.fromkeys(read))


def _read_host_key(value: str, places: tuple[SshPlace, ...] | None, server: SshPlace, place: Place) -> str:
    try:
        return str(HostKeyLine.parse(value, places, server))
    except Unreadable as error:
        raise place.bad(error.why) from None


def _read_connections(value: object, place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_CONNECTIONS:
        raise place.bad(cause("not-in-range", first=1, last=_MOST_CONNECTIONS))
    return value
