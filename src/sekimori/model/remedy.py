"""A remedy as a value: what makes another firewall let a mapping's packets pass, and how that is undone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sekimori.model.causes import Text

__all__ = ["Command", "Edit", "Remedy"]

_BEGIN: Final = "# sekimori begin {tag}"
_END: Final = "# sekimori end {tag}"


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
            raise ValueError(f"it has no section {self.section}, or is not there") from None
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

    owner: str
    steps: tuple[Command, ...]
    explains: Text
    edits: tuple[Edit, ...] = ()

    @property
    def id(self) -> str:
        """Short, and the same for the same steps only: what was shown is what is carried out."""
        return hashlib.sha256(repr((str(self.owner), self.steps, self.edits)).encode()).hexdigest()[:10]

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
