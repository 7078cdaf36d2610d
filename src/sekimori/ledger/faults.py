"""What a database said, as a `Problem` that a user can act on.

SQLite's result codes: sqlite.org/rescode.html.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

from sekimori.model.errors import Problem

__all__ = ["cause_of", "is_corrupt", "problem_of"]

_UNUSABLE: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SPARE: Final = 1 << 20
"""Below this many free bytes an I/O error is the full disk: SQLite says SQLITE_IOERR, not
SQLITE_FULL, when it cannot grow the WAL's index by one 32 KiB region."""


def problem_of(error: Exception, file: Path) -> Problem:
    """Why the ledger cannot be written: `disk-full`, `state-unusable` or `ledger-failed`."""
    cause = cause_of(error)
    code = _code(cause)
    if code == sqlite3.SQLITE_FULL or getattr(cause, "errno", None) in _NO_SPACE:
        return Problem("disk-full", file=str(file))
    if code == sqlite3.SQLITE_IOERR and _is_full(file.parent):
        return Problem("disk-full", file=str(file))
    if isinstance(cause, OSError):
        return Problem("state-unusable", directory=str(file.parent), why=_said(cause))
    if code in _UNUSABLE:
        return Problem("state-unusable", directory=str(file.parent), why=str(cause))
    return Problem("ledger-failed", file=str(file), why=str(cause) or type(cause).__name__)


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, or is no database."""
    return _code(cause_of(error)) in _CORRUPT


def cause_of(error: Exception) -> BaseException:
    """The driver's own error, where SQLAlchemy wrapped one."""
    wrapped = getattr(error, "orig", None)  # of a DBAPIError, without importing SQLAlchemy to ask
    return wrapped if isinstance(wrapped, BaseException) else error


def _code(cause: BaseException) -> int | None:
    """The primary result code: the low byte of an extended one."""
    code = getattr(cause, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _said(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text.lower()}: {error.filename}" if error.filename else text.lower()


def _is_full(directory: Path) -> bool:
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _SPARE
