"""Carrying a remedy out, whole or not at all, and taking it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sekimori.model.remedy import Command, Edit, Remedy

__all__ = ["Command", "Edit", "Hands", "Remedy", "RemedyFailed", "Result", "apply", "revert"]


class RemedyFailed(Exception):  # noqa: N818 - it is the remedy that failed
    """A step failed; what had been done before it was taken back.

    Attributes:
        step: the command, or the path of the file.
        output: what it said.
    """

    def __init__(self, step: str, output: str) -> None:
        super().__init__(f"{step}: {output}")
        self.step = step
        self.output = output


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    output: str


class Hands(Protocol):
    """What a remedy is carried out with, so that it can be carried out elsewhere than here."""

    def run(self, command: Sequence[str]) -> Result:
        """Run a program to its end; its standard output and error together are the output."""
        ...

    def read(self, path: str) -> str | None:
        """A file's text; None when there is none."""
        ...

    def write(self, path: str, text: str | None) -> None:
        """Replace a file's text, its mode kept; None removes it."""
        ...


def apply(remedy: Remedy, hands: Hands) -> None:
    """Carry it out, once; a second time changes nothing.

    Raises:
        RemedyFailed: a step failed; the steps before it were taken back.
    """
    edited: list[Edit] = []
    ran: list[Command] = []
    try:
        edited.extend(edit for edit in remedy.edits if _edit(edit, hands, edit.into))
        for step in remedy.steps:
            if step.done and hands.run(step.done).code == 0:
                continue
            _run(step.do, hands)
            ran.append(step)
    except RemedyFailed:
        _take_back(ran, edited, hands)
        raise


def revert(remedy: Remedy, hands: Hands) -> None:
    """Take it back, wholly or what is there of it.

    Raises:
        RemedyFailed: a step failed; the others were done all the same.
    """
    failures = _take_back([each for each in remedy.steps if _is_done(each, hands)], remedy.edits, hands)
    if failures:
        raise failures[0]


def _is_done(step: Command, hands: Hands) -> bool:
    return not step.done or hands.run(step.done).code == 0


def _take_back(steps: Sequence[Command], edits: Sequence[Edit], hands: Hands) -> list[RemedyFailed]:
    failures: list[RemedyFailed] = []
    for edit in reversed(edits):
        try:
            _edit(edit, hands, edit.out_of)
        except RemedyFailed as error:
            failures.append(error)
    for step in reversed(steps):
        if not step.undo or (step.spare and hands.run(step.spare).output.strip()):
            continue
        try:
            _run(step.undo, hands)
        except RemedyFailed as error:
            failures.append(error)
    return failures


def _run(command: Sequence[str], hands: Hands) -> None:
    done = hands.run(command)
    if done.code != 0:
        raise RemedyFailed(" ".join(command), done.output.strip())


def _edit(edit: Edit, hands: Hands, change: Callable[[str], str]) -> bool:
    """Change a file; whether that made a difference."""
    try:
        current = hands.read(edit.path)
        wanted = change(current or "")
        if wanted == (current or ""):
            return False
        hands.write(edit.path, None if edit.section is None and not wanted else wanted)
    except (OSError, ValueError) as error:
        raise RemedyFailed(edit.path, str(error)) from error
    return True
