from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from sekimori.ledger.faults import cause_of, is_corrupt, problem_of

FILE = Path("/state/ledger.db")


def sqlite_error(code: int, text: str = "what sqlite says") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), "disk-full"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk-full"),
        (sqlite_error(sqlite3.SQLITE_READONLY), "state-unusable"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), "state-unusable"),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), "state-unusable"),
        (PermissionError(errno.EACCES, "Permission denied", "/state"), "state-unusable"),
        (sqlite_error(sqlite3.SQLITE_CONSTRAINT), "ledger-failed"),
        (sqlite_error(sqlite3.SQLITE_BUSY), "ledger-failed"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), "ledger-failed"),
        (RuntimeError("something else"), "ledger-failed"),
    ],
)
def test_each_fault_has_its_problem_wrapped_or_not(error: Exception, code: str) -> None:
    assert problem_of(error, FILE).code == code
    assert problem_of(OperationalError("INSERT", {}, error), FILE).code == code


def test_the_cause_is_the_drivers_sentence() -> None:
    wrapped = OperationalError("INSERT", {}, sqlite_error(sqlite3.SQLITE_BUSY, "database is locked"))
    assert problem_of(wrapped, FILE).title() == "cannot write the ledger /state/ledger.db: database is locked"
    assert str(cause_of(wrapped)) == "database is locked"


def test_an_operating_system_error_names_its_file() -> None:
    problem = problem_of(PermissionError(errno.EACCES, "Permission denied", "/state/ledger.db"), FILE)
    assert problem.facts == {"directory": "/state", "why": "permission denied: /state/ledger.db"}


@pytest.mark.parametrize(("free", "code"), [(0, "disk-full"), (1 << 30, "ledger-failed")])
def test_an_io_error_is_the_full_disk_when_the_disk_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, code: str
) -> None:
    room: Callable[[object], os.statvfs_result] = lambda _path: os.statvfs_result(  # noqa: E731
        (4096, 4096, free, free // 4096, free // 4096, 0, 0, 0, 0, 255)
    )
    monkeypatch.setattr("sekimori.ledger.faults.os.statvfs", room)
    assert problem_of(sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE), tmp_path / "ledger.db").code == code


def test_damage_is_told_from_other_faults() -> None:
    assert is_corrupt(sqlite_error(sqlite3.SQLITE_CORRUPT))
    assert is_corrupt(sqlite_error(sqlite3.SQLITE_CORRUPT_INDEX))
    assert is_corrupt(sqlite_error(sqlite3.SQLITE_NOTADB))
    assert not is_corrupt(sqlite_error(sqlite3.SQLITE_FULL))
    assert not is_corrupt(OSError(errno.EIO, "Input/output error"))
