"""Every word the CLI says to a person, in English and Japanese: one table.

Refusals are not here: their sentences stand in `sekimori.model.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sekimori.cli import (
    words_confirm,
    words_doctor,
    words_doors,
    words_gateway,
    words_help,
    words_line,
    words_links,
    words_users,
    words_ways,
)
from sekimori.cli.words_talk import TALK

__all__ = ["EXAMPLES", "LANGUAGES", "WORDS", "choose_language", "has_word", "word"]

LANGUAGES: Final = ("en", "ja")

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    **TALK,
    **words_help.HELP,
    **words_gateway.GATEWAY,
    **words_confirm.CONFIRM,
    **words_doctor.DOCTOR,
    **words_doors.DOORS,
    **words_line.LINE,
    **words_links.LINKS,
    **words_users.USERS,
    **words_ways.WAYS,
}
"""Key to its sentence in each of `LANGUAGES`, in that order."""

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    **words_help.EXAMPLES,
    **words_gateway.EXAMPLES,
    **words_confirm.EXAMPLES,
    **words_doctor.EXAMPLES,
    **words_doors.EXAMPLES,
    **words_line.EXAMPLES,
    **words_links.EXAMPLES,
    **words_users.EXAMPLES,
    "open": (*words_help.EXAMPLES["open"], *words_ways.EXAMPLES),
}
"""Lines to type, by verb; the same in every language."""


def word(key: str, language: str, **facts: object) -> str:
    """The sentence for `key` in a language, with its facts filled in."""
    return WORDS[key][LANGUAGES.index(language)].format_map(facts)


def has_word(key: str) -> bool:
    """Whether the table has `key`."""
    return key in WORDS


def choose_language(environ: Mapping[str, str]) -> str:
    """`ja` or `en`, by the first of SEKIMORI_LANG, LC_ALL, LC_MESSAGES and LANG that is set.

    The order of the last three is POSIX's (XBD 8.2).
    """
    names = ("SEKIMORI_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    chosen = next((environ[name] for name in names if environ.get(name)), "en")
    return "ja" if chosen.lower().replace("-", "_").split("_")[0].split(".")[0] == "ja" else "en"
