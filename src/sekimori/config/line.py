"""`[line]` of the config file: what its owner knows of the line, and whom we may ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sekimori.config.entry import explain
from sekimori.config.lines import Place
from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.model.lifetime import parse_duration
from sekimori.model.linesettings import LineSettings, parse_firewall6, parse_servers
from sekimori.model.mapset import parse_port_set, parse_rules

__all__ = ["LINE", "read_line"]

_LEAST: Final = 60
"""Seconds from one look to the next: the servers are strangers', who give them away."""
_FIELDS: Final = {"map_e": "map_rules"}
"""Keys that `LineSettings` has by another name."""


def read_line(table: Mapping[str, Any], place: Place) -> LineSettings:
    """Read `[line]`.

    Raises:
        Problem: `unknown-key` or `bad-config`.
    """
    said: dict[str, Any] = {}
    for key, value in table.items():
        if key not in LINE:
            raise place.at(key).unknown(tuple(LINE))
        try:
            said[_FIELDS.get(key, key)] = LINE[key](value)
        except Problem as problem:
            raise place.at(key).bad(explain(problem)) from None
        except Unreadable as error:
            raise _place_of(key, value, place.at(key)).bad(error.why) from None
    return LineSettings(**said)


def _place_of(key: str, value: object, place: Place) -> Place:
    """Where a value cannot be read: of several rules, the first that is no rule."""
    if key == "map_e" and isinstance(value, list):
        for index, each in enumerate(value):
            try:
                parse_rules([each])
            except Unreadable:
                return place.at(index)
    return place


def _every(value: object) -> int:
    if not isinstance(value, str):
        raise Unreadable("not-quoted")
    seconds = parse_duration(value)
    if seconds < _LEAST:
        raise Unreadable("line-often", least=_LEAST)
    return seconds


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unreadable("not-boolean")
    return value


LINE: Final[Mapping[str, Callable[[Any], object]]] = {
    "stun": parse_servers,
    "every": _every,
    "map_e": parse_rules,
    "ports": parse_port_set,
    "ds_lite": _switch,
    "inbound6": parse_firewall6,
}
"""By key of `[line]`: what turns its value into ours, or raises `Unreadable` or `Problem` with the reason."""
