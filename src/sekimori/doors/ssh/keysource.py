"""Which keys there are: those of the users in the ledger, and those of the file that the door names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, BinaryIO, Final

from sekimori.model.causes import cause, os_cause
from sekimori.model.errors import Problem
from sekimori.model.grantwords import format_size
from sekimori.model.user import Grant, User
from sekimori.wire.authorizedkeys import AuthorizedKey, parse_line, parse_lines

__all__ = ["FileKeys", "KeyFile", "file_user", "rows_of"]

_LARGEST: Final = 1 << 20
_UNSAFE: Final = stat.S_IWGRP | stat.S_IWOTH
_MOST_PROBLEMS: Final = 100
_COMMENT: Final = 23
"""Characters of a comment that begin a user's name; the name has 32, and ends with 8 of the key's own."""


@dataclass(frozen=True, slots=True)
class FileKeys:
    """What a file of keys held when it was read.

    Attributes:
        lines: the user that each line makes, and the line.
        problems: what could not be used; of the file itself under 0, of its lines by number.
    """

    lines: tuple[tuple[str, str], ...] = ()
    problems: tuple[tuple[int, Problem], ...] = ()

    @property
    def users(self) -> frozenset[str]:
        """The names that its keys make."""
        return frozenset(user for user, _ in self.lines)


def file_user(key: AuthorizedKey) -> str:
    """The user that a key of a file is: from its comment, for people, and from the key, so that it is nobody
    else. It stays the same wherever the line stands.
    """
    blob = re.sub(r"[^a-z0-9]", "", key.fingerprint.removeprefix("SHA256:").lower())[:8]
    plain = re.sub(r"[^a-z0-9._-]+", "-", key.comment.lower()).strip("-._")[:_COMMENT].strip("-._")
    return f"{plain if re.match('[a-z_]', plain) else 'key'}-{blob}"


class KeyFile:
    """A file of keys, read again whenever it is another one.

    Args:
        path: the file; it and the directories above it must be writable by nobody but root and the daemon's
            user, as sshd's StrictModes asks for. The sticky bit of a directory such as /tmp changes nothing.
        zone: what times in it are in.
    """

    def __init__(self, path: Path, zone: tzinfo) -> None:
        self._path = path
        self._zone = zone
        self._mark: object = None
        self._keys = FileKeys()

    def read(self) -> FileKeys:
        """What it holds now. A file that cannot be used holds nothing. Blocks."""
        try:
            with self._open() as file:
                mark = self._look(file.fileno())
                if mark != self._mark:
                    self._keys, self._mark = self._parse(file.read(_LARGEST)), mark
        except OSError as error:
            self._fail(os_cause(error))
        except Problem as problem:
            self._fail(problem.facts["why"])
        return self._keys

    def _fail(self, why: object) -> None:
        problem = Problem("key-file", path=str(self._path), why=why)
        self._mark, self._keys = None, FileKeys((), ((0, problem),))

    def _open(self) -> BinaryIO:
        """The file, once nobody else can put another in its place.

        A link may lead to it from where others can write. What it leads to is looked at, and then opened by
        the path that was looked at.
        """
        resolved = Path(os.path.realpath(self._path, strict=True))
        if not stat.S_ISREG(resolved.stat().st_mode):
            raise self._unsafe("key-file-kind", self._path)
        for place in resolved.parents:
            self._refuse_open(place, place.stat())
        return resolved.open("rb")

    def _look(self, descriptor: int) -> object:
        """What tells one content of the file from another, once it is known that nobody else can write it."""
        found = os.fstat(descriptor)
        if found.st_size > _LARGEST:
            most = format_size(_LARGEST)
            raise Problem(
                "key-file", path=str(self._path), why=cause("key-file-large", path=str(self._path), most=most)
            )
        self._refuse_open(self._path, found)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _refuse_open(self, place: Path, state: os.stat_result) -> None:
        if state.st_uid not in (0, os.geteuid()) or state.st_mode & _UNSAFE:
            raise self._unsafe("key-file-open", place)

    def _unsafe(self, key: str, place: Path) -> Problem:
        return Problem("key-file", path=str(self._path), why=cause(key, path=str(place)))

    def _parse(self, content: bytes) -> FileKeys:
        text = content.decode("utf-8", "replace")
        _, problems = parse_lines(text, self._zone)
        bad = {number for number, _ in problems}
        lines = []
        for number, line in enumerate(text.split("\n"), 1):
            if number not in bad and line.strip() and not line.lstrip().startswith("#"):
                lines.append((file_user(parse_line(line, self._zone)), line.strip()))
        return FileKeys(tuple(lines), tuple(_fewest(problems)))


def _fewest(problems: list[tuple[int, Problem]]) -> Iterator[tuple[int, Problem]]:
    """No more of them than anybody would read."""
    yield from problems[:_MOST_PROBLEMS]
    if len(problems) > _MOST_PROBLEMS:
        number, first = problems[_MOST_PROBLEMS]
        why = cause("key-lines-more", count=len(problems) - _MOST_PROBLEMS - 1)
        yield number, Problem("bad-key", text=first.facts["text"], why=why)


def rows_of(users: Iterable[User], file: FileKeys, grant: Grant | None) -> list[dict[str, Any]]:
    """Every key line with what its user may do, as `admission.Row` reads it; a user's before a file's."""
    return [*_user_rows(users), *_file_rows(file, grant or Grant())]


def _user_rows(users: Iterable[User]) -> Iterator[dict[str, Any]]:
    for user in sorted(users, key=lambda user: user.name):
        grant = user.grant.to_document()
        for line in user.keys:
            told = {"user": user.name, "line": line, "grant": grant, "expires_at": user.expires_at}
            # As in the file of one account, where who logs in is whose file it is.
            yield told | {"principal": user.name}


def _file_rows(file: FileKeys, grant: Grant) -> Iterator[dict[str, Any]]:
    told = grant.to_document()
    for user, line in file.lines:
        yield {"user": user, "line": line, "grant": told, "expires_at": None, "principal": None}
