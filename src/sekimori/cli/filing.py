"""The verbs of the config file: apply, diff."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sekimori.cli.changes import describe_done, describe_plan
from sekimori.cli.confirming import conclude
from sekimori.cli.grammar import FileName, Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.model.causes import cause, os_cause
from sekimori.model.errors import EXIT_CODES, Kind, Problem

__all__ = ["apply", "diff", "read_named"]


def apply(
    file: FileName = None,
    /,
    *,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Make the ledger agree with a config file, or with the daemon's own."""
    name, text = read_named("apply", file)
    if not writing.plan:
        _confirm_closing(session, name, text)
    outcome = session.client.apply(name, text, plan=writing.plan, why=writing.why)

    def human() -> str:
        if not outcome["changes"]:
            return session.word("apply.same")
        if outcome["planned"]:
            return describe_plan(session, outcome["changes"])
        return describe_done(session, outcome)

    return conclude(session, outcome, human, outcomes=[outcome], notices=_notices(outcome))


def diff(file: FileName = None, /, *, session: Session) -> int:
    """What apply would change; exit code 3 when that is anything."""
    outcome = session.client.apply(*read_named("diff", file), plan=True)
    differs = bool(outcome["changes"])

    def human() -> str:
        if not differs:
            return session.word("diff.same")
        return describe_plan(session, outcome["changes"], "diff.head")

    code = EXIT_CODES[Kind.ANSWER_NO] if differs else 0
    return session.answer(outcome, human, notices=_notices(outcome), code=code)


def read_named(verb: str, file: str | None) -> tuple[str | None, str | None]:
    """The absolute name and the content of a config file that was named; (None, None) for the daemon's.

    It is read here, with the rights of the person who asks, not with the daemon's.

    Raises:
        Problem: `no-config`, when it cannot be read; a misuse, when it looks like an option.
    """
    if file is None:
        return None, None
    if file.startswith("-") and file != "-":
        raise Misuse("unknown-option", verb=verb, text=file)
    try:
        if file == "-":
            return None, sys.stdin.read()
        return os.path.abspath(file), Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Problem("no-config", file=file, why=os_cause(error)) from None
    except UnicodeDecodeError:
        raise Problem("no-config", file=file, why=cause("not-utf8-text")) from None


def _confirm_closing(session: Session, name: str | None, text: str | None) -> None:
    """Ask before an apply closes something, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not session.asks or (text is not None and name is None):
        return
    changes = session.client.apply(name, text, plan=True)["changes"]
    closing = [str(change["name"]) for change in changes if change["verb"] == "close"]
    if closing and not session.agrees(session.word("ask.apply", names=", ".join(closing))):
        raise Problem("interrupted")


def _notices(outcome: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(outcome.get("notices") or ()), *(outcome.get("skipped") or ())]
