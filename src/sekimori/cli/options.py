"""The options every command takes, read in any position before cyclopts sees the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sekimori.cli.misuse import Misuse
from sekimori.cli.words import LANGUAGES, choose_language

__all__ = ["GLOBAL_FLAGS", "Options", "scan"]

GLOBAL_FLAGS: Final = {
    "socket": "PATH",
    "json": None,
    "quiet": None,
    "yes": None,
    "lang": "en|ja",
    "help": None,
}
"""Name to what its value is called in the help; None for a switch."""

_SWITCHES: Final = {
    "--json": "json",
    "--quiet": "quiet",
    "-q": "quiet",
    "--yes": "yes",
    "-y": "yes",
    "--help": "help",
    "-h": "help",
    "--version": "version",
    "-V": "version",
}
_VALUED: Final = {"--socket": "socket", "--lang": "language"}


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for the whole run.

    Attributes:
        socket: the daemon's socket as given, None for the usual place.
        language: one of `words.LANGUAGES`.
        environ: the environment the run sees.
    """

    socket: str | None = None
    json: bool = False
    quiet: bool = False
    yes: bool = False
    help: bool = False
    version: bool = False
    language: str = "en"
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


def scan(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[Options, list[str]]:
    """The options of the whole run, and the words that are left for the command.

    Nothing after `--` is read.

    Raises:
        Misuse: a valued option without its value, or an unknown language.
    """
    switches: set[str] = set()
    values = {"language": choose_language(environ)}
    rest: list[str] = []
    words = iter(arguments)
    for text in words:
        name, given, value = text.partition("=")
        if text == "--":
            rest += [text, *words]
        elif text in _SWITCHES:
            switches.add(_SWITCHES[text])
        elif name in _VALUED:
            values[_VALUED[name]] = _next(iter([value]) if given else words, name)
        else:
            rest.append(text)
    return Options(
        socket=values.get("socket"),
        language=_known(values["language"]),
        environ=environ,
        **{name: name in switches for name in ("json", "quiet", "yes", "help", "version")},
    ), rest


def _next(words: Iterator[str], name: str) -> str:
    value = next(words, None)
    if not value or value.startswith("-"):  # the next option is no value
        raise Misuse("needs-value", fix="hint.verbs", verb="sekimori", text=name)
    return value


def _known(language: str) -> str:
    if language not in LANGUAGES:
        raise Misuse("bad-language", fix="hint.language", text=language)
    return language
