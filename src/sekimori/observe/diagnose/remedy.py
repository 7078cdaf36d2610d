"""A remedy: what would make another firewall let a mapping's packets pass, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sekimori.model.causes import Text
from sekimori.observe.diagnose.owners import Owner

__all__ = ["Command", "Edit", "Hands", "Remedy", "RemedyFailed", "Result", "apply", "revert"]

_BEGIN: Final = "# sekimori begin {tag}"
_END: Final = "# sekimori end {tag}"


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
class Command:
    """One command and its contrary.

    Attributes:
        do: what to run.
        undo: what takes it back; empty where a later command's does that too.
        done: succeeds when `do` has been done already; empty means `do` may be repeated.
        spare: when this prints something, others still use what `undo` would take away.
    """

    do: tuple[str, ...]
    undo: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines in a file of another program's configuration.

    Attributes:
        tag: tells our blocks in one file apart.
        section: the line that begins the part of the file in which they stand, before its `COMMIT`
            (iptables-restore); None where the whole file is ours.
    """

    path: str
    text: str
    tag: str
    section: str | None = None

    def into(self, current: str) -> str:
        """The file with the lines; the same when they are there.

        Raises:
            ValueError: the file has no such section.
        """
        clean = self.out_of(current)
        if self.section is None:
            return self._block()
        lines = clean.splitlines(keepends=True)
        try:
            begin = next(i for i, line in enumerate(lines) if line.strip() == self.section)
            end = next(i for i in range(begin, len(lines)) if lines[i].strip() == "COMMIT")
        except StopIteration:
            raise ValueError(f"{self.path} has no section {self.section}") from None
        return "".join([*lines[:end], self._block(), *lines[end:]])

    def out_of(self, current: str) -> str:
        """The file without the lines."""
        begin, end = _BEGIN.format(tag=self.tag), _END.format(tag=self.tag)
        kept: list[str] = []
        inside = False
        for line in current.splitlines(keepends=True):
            inside = inside or line.strip() == begin
            if not inside:
                kept.append(line)
            inside = inside and line.strip() != end
        return "".join(kept)

    def _block(self) -> str:
        return f"{_BEGIN.format(tag=self.tag)}\n{self.text.rstrip()}\n{_END.format(tag=self.tag)}\n"


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do, in order: first the files, then the commands.

    Attributes:
        owner: whose supported way this is.
        explains: what it does and how long it lasts, by language.
    """

    owner: Owner
    steps: tuple[Command, ...]
    explains: Text
    edits: tuple[Edit, ...] = ()

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """What to run, to be shown."""
        return tuple(each.do for each in self.steps)

    @property
    def undo(self) -> tuple[tuple[str, ...], ...]:
        """What takes it back, in order."""
        return tuple(each.undo for each in reversed(self.steps) if each.undo)

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Paths, and the lines that are added there."""
        return tuple((each.path, each.text) for each in self.edits)


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
        if current is None and edit.section is not None:
            raise RemedyFailed(edit.path, "there is no such file")
        wanted = change(current or "")
        if wanted == (current or ""):
            return False
        hands.write(edit.path, None if edit.section is None and not wanted else wanted)
    except (OSError, ValueError) as error:
        raise RemedyFailed(edit.path, str(error)) from error
    return True
