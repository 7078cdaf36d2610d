"""The entry of the command line: reads the words, runs one verb, ends with its exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from sekimori.cli.misuse import Misuse, nearest, read_refusal
from sekimori.cli.options import Options, scan
from sekimori.cli.session import Session
from sekimori.cli.verbs import NOUNS, VERBS, take_verb, verbs_of
from sekimori.cli.words import choose_language
from sekimori.model.errors import Problem

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The process exit code (`model.errors.EXIT_CODES`).
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # A name the terminal cannot show is no reason to lose the answer.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return _run(words)
    except BrokenPipeError:
        return 0  # the reader had enough (`| head`)


def _run(words: Sequence[str]) -> int:
    session = Session(Options(json="--json" in words, language=choose_language(os.environ)))
    try:
        options, rest = scan(words, os.environ)
        session = Session(options)
        return _dispatch(session, rest)
    except Problem as problem:
        return session.fail(problem)
    except KeyboardInterrupt:
        return session.fail(Problem("interrupted"))
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("SEKIMORI_DEBUG"):
            sys.excepthook(*sys.exc_info())
        return session.fail(Problem("unexpected", what=f"{type(error).__name__}: {error}"))


def _dispatch(session: Session, words: list[str]) -> int:
    options = session.options
    verb = take_verb(words)
    if options.version:
        verb, words = "version", []
    if not verb:
        return _without_verb(session, words)
    if verb not in VERBS and not (verb in NOUNS and options.help):
        raise _unknown(verb)
    if options.help:
        from sekimori.cli.help import write_help

        session.print(write_help(verb, options.language))
        return 0
    return call(session, verb, words)


def _unknown(verb: str) -> Misuse:
    if verb in NOUNS:
        return Misuse("no-noun-verb", verb=verb, text=verb, verbs=", ".join(verbs_of(verb)))
    near = nearest(verb, [*VERBS, *NOUNS])
    return Misuse("unknown-verb", fix="hint.did-you-mean" if near else "hint.verbs", text=verb, near=near)


def _without_verb(session: Session, words: Sequence[str]) -> int:
    if session.options.help:
        from sekimori.cli.help import write_overview

        session.print(write_overview(session.options.language))
        return 0
    if words:
        raise Misuse("unknown-option", fix="hint.verbs", verb="sekimori", text=words[0])
    raise Misuse("no-verb", fix="hint.verbs")


def call(session: Session, verb: str, words: Sequence[str]) -> int:
    """Read `words` by the signature of the verb's function, and call it.

    Raises:
        Problem: the words do not fit, or what the command raises.
    """
    function = load(verb)
    if not words:
        # Nothing to read; cyclopts would take longer to import than all the rest.
        return int(function(session=session) or 0)
    from cyclopts.exceptions import CycloptsError

    from sekimori.cli.grammar import build

    try:
        _, bound, _ = build(function).parse_args(list(words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise read_refusal(error, verb) from None
    return int(function(*bound.args, **bound.kwargs, session=session) or 0)


def load(verb: str) -> Callable[..., Any]:
    """The function that carries a verb out."""
    entry = VERBS[verb]
    found = getattr(importlib.import_module(f"sekimori.cli.{entry.module}"), entry.function)
    assert callable(found)
    return found  # type: ignore[no-any-return]
