"""POSIX extended regular expressions (XBD 9.4) in Python's way of writing them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sekimori.model.causes import Unreadable

__all__ = ["from_posix"]

_CLASSES: Final = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\ \t\n\r\f\v",
    "blank": r"\ \t",
    "punct": r"!-/:-@\[-`{-~",
    "print": r"\ -~",
    "graph": "!-~",
    "cntrl": r"\x00-\x1f\x7f",
    "xdigit": "0-9A-Fa-f",
}
"""In the POSIX locale."""
_EDGES: Final = {"<": r"\b", ">": r"\b", "`": r"\A", "'": r"\Z"}
_SAME: Final = frozenset("wWsSbB")
"""Extensions of glibc's that mean the same in Python (regex(7))."""
_ANCHORS: Final = {"^": r"\A", "$": r"\Z"}
_REPEATS: Final = "*+?{"


def from_posix(text: str) -> str:
    """The pattern as `re` understands it; what it matches is the same.

    Raises:
        Unreadable: `posix-pattern`; it uses what Python has no equal for, or is none.
    """
    found = _Reader(text).read()
    try:
        re.compile(found)
    except re.error as error:
        raise Unreadable("posix-pattern", text=text, at=1 + (error.pos or 0)) from None
    return found


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    parts: list[str] = field(default_factory=list)

    def read(self) -> str:
        """Go through the whole expression."""
        repeated = False
        while self.at < len(self.text):
            sign = self._take()
            if sign in _REPEATS:
                # Python reads a second sign as lazy or possessive, POSIX as a repetition of the first.
                if repeated or not self.parts:
                    raise self._unusable()
                self._repeat(sign)
                repeated = True
                continue
            repeated = False
            self._one(sign)
        return "".join(self.parts)

    def _one(self, sign: str) -> None:
        if sign == "\\":
            self.parts.append(self._escaped())
        elif sign == "[":
            self.parts.append(self._bracket())
        elif sign == "(" and self.text.startswith(("*", "+", "?"), self.at):
            raise self._unusable()
        else:
            self.parts.append(_ANCHORS.get(sign, sign))

    def _repeat(self, sign: str) -> None:
        if sign != "{":
            self.parts.append(sign)
            return
        count = re.compile(r"\d{1,3}(?:,\d{0,3})?\}").match(self.text, self.at)
        if count is None:
            raise self._unusable()
        self.parts.append("{" + count[0])
        self.at = count.end()

    def _escaped(self) -> str:
        sign = self._take()
        if sign in _EDGES:
            return _EDGES[sign]
        if sign in _SAME:
            return f"\\{sign}"
        if sign.isalnum():
            raise self._unusable()
        return re.escape(sign)

    def _bracket(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self._take()
        items: list[str] = []
        while self._peek() != "]" or not items:
            items.append(self._item())
        self._take()
        return f"[{'^' if negated else ''}{''.join(items)}]"

    def _item(self) -> str:
        """A class, a range or a single character; a backslash is one like any other (XBD 9.3.5)."""
        sign = self._take()
        if sign == "[" and self._peek() in ".=":
            raise self._unusable()
        if sign == "[" and self._peek() == ":":
            end = self.text.find(":]", self.at)
            name = self.text[self.at + 1 : end] if end > 0 else ""
            if name not in _CLASSES:
                raise self._unusable()
            self.at = end + 2
            return _CLASSES[name]
        if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
            self._take()
            return f"{re.escape(sign)}-{re.escape(self._take())}"
        return re.escape(sign)

    def _peek(self) -> str:
        if self.at >= len(self.text):
            raise self._unusable()
        return self.text[self.at]

    def _take(self) -> str:
        sign = self._peek()
        self.at += 1
        return sign

    def _unusable(self) -> Unreadable:
        return Unreadable("posix-pattern", text=self.text, at=max(1, self.at))
