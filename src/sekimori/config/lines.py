"""Where each key of a TOML document stands, which the standard reader does not tell.

The scanner reads what `tomllib` has accepted, so it only has to find its way (TOML 1.0).
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem

__all__ = ["KeyPath", "Place", "key_lines", "last_statement_line", "show_key"]

KeyPath = tuple[str | int, ...]
"""Keys from the root down; a number is a place in an array."""

_BASIC: Final = r'"(?:[^"\\\n]|\\.)*"'
_LITERAL: Final = r"'[^'\n]*'"
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY_PART = re.compile(
    rf"[ \t]*(?:(?P<bare>[A-Za-z0-9_-]+)|(?P<basic>{_BASIC})|(?P<literal>{_LITERAL}))[ \t]*"
)
_SCALAR = re.compile(
    # A multi-line string may end in one or two quotes of its own before the closing three.
    r'"""(?:[^"\\]|\\.|"(?!""))*""""{0,2}'
    r"|'''(?:[^']|'(?!''))*''''{0,2}"
    rf"|{_BASIC}|{_LITERAL}"
    r"|[^\"',\]}#\n]+",  # numbers, booleans, and times, which may hold a space
    re.DOTALL,
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, on which each table, key and array element of `text` first stands."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.scan()
    return scanner.found


def last_statement_line(text: str) -> int:
    """The line on which the last key or table begins that can be made out.

    In a document that ends inside a string or an array, that is where it was opened.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    with suppress(ValueError, IndexError, RecursionError):  # how it meets the end, or what is no TOML
        scanner.scan()
    return scanner.statement


def show_key(path: KeyPath) -> str:
    """The key as a person would write it: `mappings."a.b".from[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        shown = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
        text += f".{shown}" if text else shown
    return text


@dataclass(frozen=True, slots=True)
class Place:
    """One key of one file: what its problems are told with."""

    file: str
    lines: Mapping[KeyPath, int]
    path: KeyPath = ()

    def at(self, *keys: str | int) -> Place:
        """The place of a key further down."""
        return Place(self.file, self.lines, (*self.path, *keys))

    @property
    def line(self) -> int:
        """The line of the key, or of the nearest table around it."""
        for length in range(len(self.path), 0, -1):
            line = self.lines.get(self.path[:length])
            if line is not None:
                return line
        return 1

    def bad(self, why: Text) -> Problem:
        """The problem of a value that cannot be used."""
        return Problem("bad-config", file=self.file, line=self.line, key=show_key(self.path), why=why)

    def unknown(self, known: tuple[str, ...], advice: Text | None = None) -> Problem:
        """The problem of a key that is none of `known`."""
        name = str(self.path[-1])
        word = name.lower().replace("-", "_")
        # 'form' is 'from' with two letters swapped before it is nearly 'for'.
        swapped = [each for each in known if sorted(each) == sorted(word)]
        near = swapped or get_close_matches(word, known, n=1)
        usual = cause("hint-near", name=near[0]) if near else cause("hint-keys", names=", ".join(known))
        hint = advice or usual
        return Problem("unknown-key", file=self.file, line=self.line, key=show_key(self.path), hint=hint)


@dataclass(slots=True)
class _Scanner:
    """A cursor over the text. `found` fills up as it goes; the first place of a key counts."""

    text: str
    at: int = 0
    found: dict[KeyPath, int] = field(default_factory=dict)
    statement: int = 1
    """The line of the last key or header that was begun outside any value."""
    _arrays: dict[KeyPath, int] = field(default_factory=dict)
    """How many tables each array of tables has so far."""
    _breaks: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._breaks = [match.start() for match in re.finditer("\n", self.text)]

    def scan(self) -> None:
        """Walk the whole document."""
        table: KeyPath = ()
        self._skip_blank()
        while self.at < len(self.text):
            self.statement = self._line(self.at)
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()

    def _header(self) -> KeyPath:
        start = self.at
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        keys = self._keys()
        self.at += brackets
        path: KeyPath = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            if brackets == 2 and index == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, 0) + 1
            self._note(path, start)
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
                self._note(path, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        self.at += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            match = _KEY_PART.match(self.text, self.at)
            if match is None:
                raise ValueError("no key stands there")
            keys.append(_key_text(match))
            self.at = match.end()
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        match self.text[self.at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                scalar = _SCALAR.match(self.text, self.at)
                if scalar is None:
                    raise ValueError("no value stands there")
                self.at = scalar.end()

    def _array(self, path: KeyPath) -> None:
        index = 0
        while not self._closes("]"):
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        while not self._closes("}"):
            self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Step over an opening bracket or a comma; whether `bracket` follows, stepped over too."""
        self._skip_blank()
        if self.text[self.at] != bracket:
            self.at += 1
            self._skip_blank()
        if self.text[self.at] != bracket:
            return False
        self.at += 1
        return True

    def _skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        assert match is not None, "it matches the empty text"
        self.at = match.end()

    def _note(self, path: KeyPath, at: int) -> None:
        self.found.setdefault(path, self._line(at))

    def _line(self, at: int) -> int:
        return bisect_left(self._breaks, at) + 1


def _key_text(match: re.Match[str]) -> str:
    if match["bare"] is not None:
        return match["bare"]
    if match["literal"] is not None:
        return match["literal"][1:-1]
    return str(tomllib.loads(f"key = {match['basic']}")["key"])
