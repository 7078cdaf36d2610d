"""Problems of the CLI itself: a command typed wrong, and what only this end can notice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sekimori.cli.words import word
from sekimori.model.errors import Kind, Problem

if TYPE_CHECKING:
    from cyclopts.exceptions import CycloptsError

__all__ = ["Fault", "Misuse", "nearest", "read_refusal"]


class _Spoken(Problem):
    """A problem whose sentences stand in the CLI's own table of words."""

    def __init__(self, key: str, fix: str, kind: Kind, **facts: object) -> None:
        self._key = key
        self._fix = fix
        self._kind = kind
        super().__init__(key.replace(".", "-"), **facts)

    @property
    def kind(self) -> Kind:
        return self._kind

    def title(self, language: str = "en") -> str:
        return word(self._key, language, **self.facts)

    def fix(self, language: str = "en") -> str:
        return word(self._fix, language, **self.facts)


class Misuse(_Spoken):
    """A command that was typed wrong (exit 2)."""

    def __init__(self, name: str, *, fix: str = "hint.verb-help", **facts: object) -> None:
        super().__init__(f"misuse.{name}", fix, Kind.USAGE, **facts)


class Fault(_Spoken):
    """A failure that only this end can notice."""

    def __init__(self, name: str, kind: Kind = Kind.INTERNAL, **facts: object) -> None:
        super().__init__(f"fault.{name}", f"fault.{name}.fix", kind, **facts)


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The known word most like `text`, if one is like it at all."""
    import difflib

    close = difflib.get_close_matches(text, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def read_refusal(error: CycloptsError, verb: str) -> Misuse:
    """What cyclopts found wrong, in this program's words."""
    from cyclopts import exceptions as refusals

    match error:
        case refusals.UnknownOptionError():
            return _unknown_option(error, verb)
        case refusals.MissingArgumentError():
            name = error.keyword or (error.argument.name if error.argument else "?")
            kind = "needs-value" if name.startswith("-") else "needs-argument"
            return Misuse(kind, verb=verb, text=name)
        case refusals.UnusedCliTokensError():
            return Misuse("too-many", verb=verb, text=(error.unused_tokens or ["?"])[0])
        case refusals.RepeatArgumentError():
            return Misuse("twice", verb=verb, text=error.token.keyword or error.token.value)
        case refusals.CoercionError() if error.token is not None:
            name = error.token.keyword or (error.argument.name if error.argument else "?")
            return Misuse("bad-value", verb=verb, text=name, value=error.token.value)
    error.verbose = False
    return Misuse("other", verb=verb, text=str(error))


def _unknown_option(error: CycloptsError, verb: str) -> Misuse:
    from cyclopts.exceptions import UnknownOptionError

    assert isinstance(error, UnknownOptionError)
    text = (error.token.keyword or error.token.value).partition("=")[0]
    names = [name for one in error.argument_collection if one.parse for name in one.names if name[0] == "-"]
    near = nearest(text, [name for name in names if name != "--*"])
    if near is None:
        return Misuse("unknown-option", verb=verb, text=text)
    return Misuse("unknown-option", fix="hint.did-you-mean-option", verb=verb, text=text, near=near)
