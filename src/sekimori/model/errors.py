"""One error for everything a user can hit: a code, its facts, and what to do.

`Problem` carries a stable code and the facts; the sentences, in English and
Japanese, stand in `messages`. A `Kind` maps once to an exit code and an HTTP
status, so every door answers the same refusal in its own language.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from sekimori.model.causes import Text, in_language
from sekimori.model.messages import MESSAGES

__all__ = ["EXIT_CODES", "HTTP_STATUS", "Kind", "Problem", "not_applied"]


class Kind(StrEnum):
    """What sort of failure it is (DESIGN.md §4, exit codes)."""

    INTERNAL = "internal"
    USAGE = "usage"
    ANSWER_NO = "answer-no"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    NOT_PERMITTED = "not-permitted"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    REVERTED = "reverted"
    OUTSIDE = "outside"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


EXIT_CODES: Final = {
    Kind.INTERNAL: 1,
    Kind.USAGE: 2,
    Kind.ANSWER_NO: 3,
    Kind.NOT_FOUND: 4,
    Kind.CONFLICT: 5,
    Kind.NOT_PERMITTED: 6,
    Kind.UNREACHABLE: 7,
    Kind.REFUSED: 8,
    Kind.REVERTED: 9,
    Kind.OUTSIDE: 10,
    Kind.TIMEOUT: 124,
    Kind.INTERRUPTED: 130,
}
"""Kind to process exit code."""

HTTP_STATUS: Final = {
    Kind.INTERNAL: 500,
    Kind.USAGE: 422,
    Kind.ANSWER_NO: 409,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.NOT_PERMITTED: 403,
    Kind.UNREACHABLE: 503,
    Kind.REFUSED: 403,
    Kind.REVERTED: 409,
    Kind.OUTSIDE: 502,
    Kind.TIMEOUT: 504,
    Kind.INTERRUPTED: 499,
}
"""Kind to HTTP status code."""


class Problem(Exception):  # noqa: N818 - RFC 9457's word, the same in the API
    """Something that cannot be done: why, and what to do instead.

    Attributes:
        code: stable, in kebab case; a key of `messages.MESSAGES`.
        facts: what the sentences need, as text or numbers; or texts by language.
    """

    def __init__(self, code: str, **facts: object) -> None:
        self.code = code
        self.facts: dict[str, object] = facts
        super().__init__(self.title())

    @property
    def kind(self) -> Kind:
        """The sort of failure."""
        return Kind(MESSAGES[self.code].kind)

    @property
    def exit_code(self) -> int:
        """The process exit code that tells it."""
        return EXIT_CODES[self.kind]

    def title(self, language: str = "en") -> str:
        """One sentence: cannot X: cause."""
        return MESSAGES[self.code].title(language).format_map(self._in(language))

    @property
    def titles(self) -> Text:
        """The title by language: a fact for another problem that this one is the cause of."""
        return {language: self.title(language) for language in ("en", "ja")}

    def fact(self, name: str, language: str = "en") -> object:
        """One fact; where it is a text by language, that text."""
        return in_language(self.facts.get(name), language)

    def fix(self, language: str = "en") -> str:
        """What to do about it; may be empty where nothing can be done."""
        return MESSAGES[self.code].fix(language).format_map(self._in(language))

    def _in(self, language: str) -> dict[str, object]:
        """The facts, those that are texts by language in this one."""
        return {key: self.fact(key, language) for key in self.facts}

    def body(self, language: str = "en") -> dict[str, object]:
        """The RFC 9457 problem body, the same in the API and under `--json`."""
        fix = self.fix(language)
        return {
            "type": f"urn:sekimori:problem:{self.code}",
            "title": self.title(language),
            "status": HTTP_STATUS[self.kind],
            "detail": fix,
            "code": self.code,
            "kind": str(self.kind),
            "facts": {key: _plain(value) for key, value in self.facts.items()},
            "fixes": [fix] if fix else [],
        }

    @classmethod
    def from_body(cls, body: dict[str, object]) -> Problem:
        """Read `body` back: how a client raises what the daemon said."""
        code = body.get("code")
        facts = body.get("facts")
        if isinstance(code, str) and code in MESSAGES and isinstance(facts, dict):
            return cls(code, **{str(key): value for key, value in facts.items()})
        return cls("unexpected", what=str(body.get("title", body)))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str | int | float | bool | list | type(None)) else str(value)


def not_applied(name: str, cause: Problem) -> Problem:
    """`not-applied`: what was asked for could not be made real, and what helps against the cause."""
    fixes = {language: cause.fix(language) for language in ("en", "ja")}
    if fixes["en"]:
        fixes["en"] += " "
    return Problem("not-applied", name=name, why=cause.titles, fix=fixes)
