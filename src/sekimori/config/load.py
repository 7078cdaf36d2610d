"""From TOML to the frozen config: strict, and every refusal names its file, line and key."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from sekimori.config.doors import read_doors
from sekimori.config.entry import explain, read_entry
from sekimori.config.gateway import GATEWAY, read_bans
from sekimori.config.line import read_line
from sekimori.config.lines import KeyPath, Place, key_lines, last_statement_line
from sekimori.config.links import read_links
from sekimori.config.schema import (
    ApiSettings,
    Config,
    DaemonSettings,
    Entry,
    GatewaySettings,
    NetworkSection,
    PolicySettings,
    RelaySettings,
)
from sekimori.config.users import read_users
from sekimori.model.address import Interface, IPNetwork, parse_on
from sekimori.model.causes import Unreadable, cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.lifetime import format_duration, parse_duration
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.schedule import load_zone
from sekimori.model.source import LAN, Sources, parse_prefix
from sekimori.model.words import Reading

__all__ = ["load_config", "parse_config", "read_text"]

_S = TypeVar("_S")
_Readers = Mapping[str, Callable[[Any], object]]
# By key: what turns its value into ours, or raises Unreadable or Problem with the reason.

_SECTIONS: Final = (
    *("daemon", "api", "relay", "policy", "network", "line"),
    *("gateway", "bans", "doors", "links", "users", "lists", "mappings"),
)
_SOCKET_BYTES: Final = 107
"""sun_path holds 108 with its closing zero (unix(7))."""
_MOST_WORKERS: Final = 256
_USER: Final = re.compile(r"[^\s:/,@-][^\s:/,]{0,254}")
"""Wide, for a directory service may have names like `DOMAIN\\alice` or `alice@example.org`."""
_NESTED: Final = 100
_LEAST_CONFIRM: Final = 5
"""Seconds in which somebody can log in once more."""


def load_config(path: Path, reading: Reading) -> Config:
    """Read a config file; a relative path is taken from the working directory.

    Raises:
        Problem: `no-config` when it cannot be read, or what `parse_config` raises.
    """
    path = Path(os.path.abspath(path))
    return parse_config(read_text(path), path, reading)


def read_text(path: Path) -> str:
    """The text of a config file, without the byte order mark which some editors put in front.

    Raises:
        Problem: `no-config` when it cannot be read, `bad-config` when it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Problem("no-config", file=str(path), why=os_cause(error)) from None
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = cause("at-byte", byte=f"0x{data[error.start]:02x}")
        raise Problem("bad-config", file=str(path), line=line, key=byte, why=cause("not-utf8")) from None


def parse_config(text: str, path: Path, reading: Reading) -> Config:
    """Read the text of a config file; `path`, absolute, is the file it is, or stands for.

    Times without an offset are read in the file's own zone where it names one.

    Raises:
        Problem: `unknown-key` or `bad-config`, with file, line and key.
    """
    text = text.removeprefix("\ufeff")  # of a file that was read elsewhere
    # One file, one owner: without '..', but not resolved, for a symlink outlives what it leads to.
    path = Path(os.path.normpath(path))
    document, lines = _parse_toml(text, str(path))
    root, owner = Place(str(path), lines), Owner(OwnerKind.FILE, str(path))
    _refuse_unknown(document, root, _SECTIONS)
    daemon = _read_section(DaemonSettings, _DAEMON, document, root.at("daemon"))
    zoned = reading if daemon.zone is None else replace(reading, zone=daemon.zone)
    policy = _read_section(PolicySettings, _POLICY, document, root.at("policy"))
    if policy.longest is not None and policy.lifetime > policy.longest:
        key = "lifetime" if ("policy", "lifetime") in lines else "longest"
        asked, cap = format_duration(policy.lifetime), format_duration(policy.longest)
        raise root.at("policy", key).bad(cause("over-longest", asked=asked, cap=cap))
    return Config(
        path=path,
        daemon=daemon,
        api=_read_section(ApiSettings, _API, document, root.at("api")),
        relay=_read_section(RelaySettings, _RELAY, document, root.at("relay")),
        policy=policy,
        network=_read_section(NetworkSection, _NETWORK, document, root.at("network")),
        line=read_line(_table(document, root.at("line")), root.at("line")),
        gateway=_read_section(GatewaySettings, GATEWAY, document, root.at("gateway"))
        if "gateway" in document
        else None,
        bans=read_bans(_table(document, root.at("bans")), root.at("bans"), zoned),
        doors=read_doors(_table(document, root.at("doors")), root.at("doors")),
        links=read_links(_table(document, root.at("links")), root.at("links"), owner),
        users=read_users(_table(document, root.at("users")), root.at("users"), owner, zoned),
        lists=_read_lists(document, root.at("lists")),
        mappings=_read_mappings(document, root.at("mappings"), zoned),
        text=text,
    )


def _parse_toml(text: str, file: str) -> tuple[dict[str, Any], Mapping[KeyPath, int]]:
    try:
        return tomllib.loads(text), key_lines(text)
    except RecursionError:
        found = _deep_line(text), cause("at-brackets"), cause("nested")
    except ValueError as error:  # also plain ones, as for a number of thousands of digits
        found = _syntax_error(str(error), text)
    line, key, why = found
    raise Problem("bad-config", file=file, line=line, key=key, why=why)


def _syntax_error(message: str, text: str) -> tuple[int, dict[str, str], dict[str, str]]:
    """The line, the column and the cause in what `tomllib` says."""
    where = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if where is not None:
        return int(where[2]), cause("at-column", column=where[3]), cause("toml", text=where[1])
    digits = re.search(r"[0-9_]{4000}", text)
    if digits is not None and "digits" in message:
        return text.count("\n", 0, digits.start()) + 1, cause("at-number"), cause("digits")
    # What the end of the file was met in was opened further up, and that is the line to look at.
    why = cause("toml", text=message.removesuffix(" (at end of document)"))
    return last_statement_line(text), cause("at-end"), why


def _deep_line(text: str) -> int:
    """The line on which the brackets first stand deeper than any config needs."""
    depth = 0
    for line, content in enumerate(text.split("\n"), start=1):
        for sign in content:
            depth += (sign in "[{") - (sign in "]}")
            if depth > _NESTED:
                return line
    return 1


def _read_section(
    kind: Callable[..., _S],
    readers: _Readers,
    document: Mapping[str, Any],
    place: Place,
) -> _S:
    """One table of settings, each key by its own reader."""
    table = _table(document, place)
    _refuse_unknown(table, place, tuple(readers))
    return kind(**{key: _read_value(readers[key], value, place.at(key)) for key, value in table.items()})


def _read_value(reader: Callable[[Any], _S], value: object, place: Place) -> _S:
    try:
        return reader(value)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    except Unreadable as error:
        raise place.bad(error.why) from None


def _table(document: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    table = document.get(str(place.path[-1]), {})
    if not isinstance(table, dict):
        raise place.bad(cause("not-a-table", table=place.path[-1]))
    return table


def _refuse_unknown(table: Iterable[str], place: Place, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise place.at(key).unknown(known)


def _read_lists(document: Mapping[str, Any], place: Place) -> dict[str, tuple[IPNetwork, ...]]:
    lists: dict[str, tuple[IPNetwork, ...]] = {}
    for name, prefixes in _table(document, place).items():
        _check_list_name(name, place.at(name))
        if not isinstance(prefixes, list):
            raise place.at(name).bad(cause("not-prefixes"))
        found = [_read_value(_prefix, prefix, place.at(name, index)) for index, prefix in enumerate(prefixes)]
        lists[name] = tuple(dict.fromkeys(found))
    return lists


def _check_list_name(name: str, place: Place) -> None:
    if name in (LAN, "anyone"):
        raise place.bad(cause("reserved-name", name=name))
    try:
        usable = Sources.parse(name).lists == (name,)
    except Problem:
        usable = False
    if not usable:
        raise place.bad(cause("list-name"))


def _read_mappings(document: Mapping[str, Any], place: Place, reading: Reading) -> tuple[Entry, ...]:
    entries: dict[str, Entry] = {}
    for name, table in _table(document, place).items():
        here = place.at(name)
        if not isinstance(table, dict):
            raise here.bad(cause("not-a-table", table=f"mappings.{name}"))
        entry = read_entry(name, table, here, reading)
        other = entries.setdefault(name.lower(), entry)
        if other is not entry:
            raise here.bad(cause("same-name", name=other.name, line=other.line))
    return tuple(entries.values())


def _prefix(value: object) -> IPNetwork:
    text = _text(value)
    try:
        return parse_prefix(text)
    except Unreadable as error:
        raise Unreadable("quoted", text=text, why=error.why) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable("not-quoted")
    if not value.strip():
        raise Unreadable("empty")
    return value


def _absolute(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute() or "\0" in str(path):
        raise Unreadable("not-absolute")
    return path


def _files(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Unreadable("not-files")
    return tuple(dict.fromkeys(str(_absolute(each)) for each in value))


def _interfaces(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Unreadable("not-interfaces")
    names = tuple(dict.fromkeys(map(_text, value)))
    for name in names:
        if not isinstance(parse_on(name), Interface):
            raise Unreadable("not-an-interface", text=name)
    return names


def _socket(value: object) -> Path:
    path = _absolute(value)
    if len(bytes(path)) > _SOCKET_BYTES:
        raise Unreadable("socket-bytes", most=_SOCKET_BYTES)
    return path


def _zone(value: object) -> str:
    zone = _text(value)
    load_zone(zone)
    return zone


def _users(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Unreadable("not-users")
    return tuple(dict.fromkeys(_user(each, group=True) for each in value))


def _user(value: object, *, group: bool = False) -> str:
    name = _text(value)
    if not _USER.fullmatch(name.removeprefix("@") if group else name):
        raise Unreadable("not-a-user-or-group" if group else "not-a-user", name=name)
    return name


def _workers(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_WORKERS:
        raise Unreadable("not-in-range", first=1, last=_MOST_WORKERS)
    return value


def _duration(value: object) -> int:
    return parse_duration(_text(value))


def _confirm(value: object) -> int:
    seconds = _duration(value)
    if seconds < _LEAST_CONFIRM:
        raise Unreadable("confirm-too-short", least=_LEAST_CONFIRM)
    return seconds


def _grace(value: object) -> int:
    text = _text(value)
    return 0 if text.strip().lower() in ("0s", "none") else parse_duration(text)


_DAEMON: _Readers = {"state_dir": _absolute, "socket": _socket, "zone": _zone}
_API: _Readers = {"admins": _users, "viewers": _users}
_RELAY: _Readers = {"workers": _workers, "grace": _grace, "user": _user}
_POLICY: _Readers = {"lifetime": _duration, "longest": _duration, "confirm": _confirm}
_NETWORK: _Readers = {"wan": _interfaces, "lan": _interfaces, "leases": _files}
