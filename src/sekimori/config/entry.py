"""One mapping of the config file, read from its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sekimori.config.lines import Place
from sekimori.config.schema import MAPPING_KEYS, Entry
from sekimori.model.causes import Text, cause, in_language
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime, parse_instant
from sekimori.model.mapping import check_name
from sekimori.model.request import Unsaid, Wish
from sekimori.model.schedule import load_zone
from sekimori.model.target import pair_ports
from sekimori.model.words import Reading, parse_wish

__all__ = ["explain", "read_entry", "read_until"]

_LIFETIMES: Final = ("for", "until", "permanent")
_OURS: Final = ("until", "zone", "paused")
"""The keys that are not read as a request's words are; `until` for it may have passed."""
_WHOLE_DATE: Final = re.compile(r"\s*\d{4}-\d{2}-\d{2}")


def read_entry(name: str, table: Mapping[str, Any], place: Place, reading: Reading) -> Entry:
    """Read one `[mappings.NAME]` table.

    A time in `until` that has passed is no error here: whether it is one depends on
    what became of the mapping, which `plan_sync` knows.

    Raises:
        Problem: `unknown-key` or `bad-config`, with the line of the key.
    """
    _check_keys(name, table, place)
    if "zone" in table:
        reading = replace(reading, zone=_read_zone(table["zone"], place.at("zone")))
    words = {key: value for key, value in table.items() if key not in _OURS}
    try:
        wish = _read_words({"name": name, **words}, reading)
    except Problem as problem:
        raise _guilty(words, place, reading).bad(explain(problem)) from None
    if isinstance(wish.target, Unsaid) and "trigger" not in table:
        raise place.bad(cause("key-missing", key="to"))
    if "until" in table:
        instant = read_until(table["until"], place.at("until"), reading)
        wish = replace(wish, lifetime=Lifetime.until(instant))
    return Entry(name, wish, place, table.get("paused"), _passwords(table.get("socks_user")))


def _passwords(value: object) -> dict[str, str]:
    """Names and passwords as they stand in the file; what an export wrote is in no need of one."""
    texts = [str(each) for each in value] if isinstance(value, list) else [str(value or "")]
    pairs = (text.strip().partition(":") for text in texts)
    return {name: password for name, _, password in pairs if not password.startswith("scrypt$")}


def explain(problem: Problem) -> Text:
    """The cause of a problem as part of another sentence, with the near names where it has some."""
    found = problem.facts.get("near")
    if not found:
        return problem.titles
    near = {each: str(in_language(found, each)).strip(" .。") for each in problem.titles}
    return cause("with-near", title=problem.titles, near=near)


def _check_keys(name: str, table: Mapping[str, Any], place: Place) -> None:
    try:
        check_name(name)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    for key, value in table.items():
        if key in MAPPING_KEYS:
            continue
        advice: Text | None = None
        if key == "name":
            advice = cause("hint-name")
        elif isinstance(value, dict):
            advice = cause("hint-dotted", name=f"{name}.{key}")
        raise place.at(key).unknown(MAPPING_KEYS, advice)
    for key in ("ports",) if table.keys() & {"trigger", "socks"} else ("ports", "to"):
        if key not in table:
            raise place.bad(cause("key-missing", key=key))
    if "hold" in table and "trigger" not in table:
        raise place.at("hold").bad(cause("key-missing", key="trigger"))
    given = [key for key in _LIFETIMES if key in table]
    if len(given) > 1:
        raise place.at(given[1]).bad(cause("given-too", key=given[0]))
    if not isinstance(table.get("paused", False), bool):
        raise place.at("paused").bad(cause("not-boolean"))


def _read_zone(zone: object, place: Place) -> str:
    if not isinstance(zone, str):
        raise place.bad(cause("not-text"))
    try:
        load_zone(zone)
    except Problem as problem:
        raise place.bad(explain(problem)) from None
    return zone


def _read_words(words: Mapping[str, object], reading: Reading) -> Wish:
    """The wish, once its ports and its target are known to fit each other."""
    wish = parse_wish(words, reading)
    if not isinstance(wish.specs, Unsaid):
        pair_ports(wish.specs, wish.inside, str(words.get("to", "")))
    return wish


def _guilty(words: Mapping[str, object], place: Place, reading: Reading) -> Place:
    """Which word stands in the way: one that fails by itself, or else the target.

    Ports that overlap each other are at fault whatever the target is.
    """
    for key, value in words.items():
        if _fails({key: value}, reading):
            return place.at(key)
    plain = {key: value for key, value in words.items() if key != "socks"}
    return place.at("ports" if _fails({**plain, "to": "self"}, reading) else "to")


def _fails(words: Mapping[str, object], reading: Reading) -> bool:
    try:
        _read_words(words, reading)
    except Problem:
        return True
    return False


def read_until(value: object, place: Place, reading: Reading) -> int:
    """Unix seconds of a date or a date with a time, as TOML's own value or as text."""
    text = value.isoformat() if isinstance(value, date) else value  # a datetime is a date too
    if not isinstance(text, str) or not _WHOLE_DATE.match(text):
        # '18:00' and 'tomorrow' would mean another day at every reading of the file.
        raise place.bad(cause("whole-date"))
    here = load_zone(reading.zone)
    try:
        instant = _instant(text, here)
    except (Problem, ValueError, OverflowError):
        raise place.bad(cause("not-this-time", text=text)) from None
    if instant <= reading.now:
        return instant
    try:
        return parse_instant(text, reading.now, here)
    except Problem as problem:
        raise place.bad(explain(problem)) from None


def _instant(text: str, zone: ZoneInfo) -> int:
    """The instant, wherever it lies: read by the one reader of times, from a moment just before."""
    moment = datetime.fromisoformat(text.strip().upper())
    before = moment.replace(tzinfo=UTC) - timedelta(days=3)  # further back than any offset reaches
    return parse_instant(text, before.timestamp(), zone)
