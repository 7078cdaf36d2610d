"""Changes that could cut off who makes them: told, waited for, and confirmed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final

from sekimori.cli.session import Session
from sekimori.cli.text import clean
from sekimori.model.causes import cause
from sekimori.model.errors import Kind, Problem

__all__ = ["conclude", "confirm"]

Outcome = Mapping[str, Any]
Waiting = Mapping[str, Any]

_EVERY: Final = 0.5
"""Seconds between two looks at how it went."""
_LATE: Final = 20.0
"""Seconds beyond the deadline in which the daemon must have told: it may be starting again."""


def confirm(*, session: Session) -> int:
    """Let your changes stand that wait to be confirmed."""
    answer = session.client.confirm()
    numbers = ", ".join(map(str, answer["confirmed"]))
    return session.answer(answer, lambda: session.word("confirm.done", revisions=numbers))


def conclude(
    session: Session,
    data: object,
    human: Callable[[], str],
    *,
    outcomes: Iterable[Outcome],
    notices: Iterable[Mapping[str, Any]] = (),
    problems: Sequence[Problem] = (),
) -> int:
    """Answer with what was done; where it has to be confirmed, wait until it is, or was taken back.

    Under `--json` the one envelope comes after the wait.

    Returns:
        The exit code: 9 when something was taken back.

    Raises:
        Problem: `timeout`, `unreachable` or `interrupted`, when how it went cannot be told.
    """
    waiting = [each for outcome in outcomes if (each := outcome.get("confirm"))]
    if waiting and waiting[0]["revision"] is None:
        code = session.answer(data, human, notices=notices, problems=problems)
        _say(session, "confirm.planned", waiting[0])
        return code
    if session.options.json:
        reverted = [problem for each in waiting if (problem := _wait(session, each))]
        return session.answer(data, human, notices=notices, problems=[*reverted, *problems])
    code = session.answer(data, human, notices=notices, problems=problems)
    for each in waiting:
        _say(session, "confirm.needed", each)
        reverted_one = _wait(session, each)
        if reverted_one is not None:
            code = session.fail(reverted_one)
        elif session.talks:
            session.talk(session.word("confirm.kept", revision=each["revision"]))
    return code


def _say(session: Session, key: str, waiting: Waiting) -> None:
    if session.talks:
        session.talk(session.word(key, **{name: clean(str(value)) for name, value in waiting.items()}))


def _wait(session: Session, waiting: Waiting) -> Problem | None:
    """Wait for the end of a wait: None once it was confirmed, `reverted` once it was taken back."""
    counts = session.talks and sys.stderr.isatty()
    begun = monotonic()
    try:
        while True:
            passed = monotonic() - begun
            settled = _look(session, waiting, passed)
            if settled is not None:
                return None if settled["how"] == "confirmed" else _reverted(settled)
            if counts:
                left = max(0, round(waiting["within"] - passed))
                _count(session.word("confirm.left", seconds=left))
            sleep(_EVERY)
    except KeyboardInterrupt:
        _say(session, "confirm.still", waiting)
        raise
    finally:
        if counts:
            _count("")


def _look(session: Session, waiting: Waiting, passed: float) -> Mapping[str, Any] | None:
    """How the wait ended; None while it has not, or the daemon is not there to tell.

    Raises:
        Problem: it should have ended by now.
    """
    is_late = passed > waiting["within"] + _LATE
    try:
        answer = session.client.pending()
    except Problem as problem:
        if is_late or problem.kind is not Kind.UNREACHABLE:
            raise
        return None
    number = waiting["revision"]
    found = next((each for each in answer["settled"] if each["revision"] == number), None)
    is_pending = any(each["revision"] == number for each in answer["pending"])
    if found is None and (is_late or not is_pending):
        raise Problem("timeout", seconds=round(passed), what=cause("no-word-of", revision=number))
    return found


def _reverted(settled: Mapping[str, Any]) -> Problem:
    names = ", ".join(settled["left"])
    left = cause("left-standing", names=names) if names else ""
    return Problem("reverted", revision=settled["revision"], within=settled["within"], left=left)


def _count(text: str) -> None:
    # CSI K clears what a longer line left (ECMA-48 §8.3.41).
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
