"""From a directory to a ledger that may be used: made, checked, and brought to this schema.

A file is looked at through a read-only connection until it is known to be ours to
write: one from a newer version is left as it was, byte for byte, and a damaged one
is moved aside, never written over and never deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sekimori.ledger.faults import is_corrupt, problem_of
from sekimori.ledger.reading import Standing, UndecodableError, read_standing
from sekimori.ledger.version import HEAD, KNOWN
from sekimori.model.errors import Problem

if TYPE_CHECKING:
    import sqlalchemy as sa

    from sekimori.ledger.database import Database

__all__ = ["BUSY_TIMEOUT", "open_database"]

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another process (a backup, say) that holds the write lock."""

_BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a file (sqlite.org/wal.html)."""


def open_database(file: Path | None) -> tuple[Database | None, Standing]:
    """The database in `file` (None is a new one in memory) and what stands in it.

    A file of this schema comes without its database: what stands in it is read without SQLAlchemy, which
    takes longer to load than it takes to read some ten thousand mappings.

    Raises:
        Problem: `ledger-newer`, `ledger-corrupt`, `disk-full`, `state-unusable`, `ledger-failed`.
    """
    if file is None:
        return _make_new(None, None)
    try:
        stamped = _inspect(file)
        if stamped == HEAD:
            return None, _read(file)
    except (OSError, sqlite3.Error) as error:
        if not is_corrupt(error):
            raise problem_of(error, file) from error
        raise _set_aside(file, str(error)) from error
    return _make_new(file, stamped)


def _read(file: Path) -> Standing:
    """What stands in a ledger of this schema, once the file is known to be whole and writable.

    It is looked through for damage while it is read: for most of either, SQLite lets other threads run.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="check") as other:
        check = other.submit(_check, file)
        try:
            with closing(_connect_read_only(file)) as connection:
                connection.execute("BEGIN")
                standing = read_standing(connection)
            why = check.result()
        except UndecodableError as error:
            raise _set_aside(file, check.result() or str(error)) from error
    if why is not None:
        raise _set_aside(file, why)
    with closing(sqlite3.connect(file, isolation_level=None, timeout=BUSY_TIMEOUT)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    return standing


def _check(file: Path) -> str | None:
    with closing(_connect_read_only(file)) as connection:
        return _damage(connection)


def _make_new(file: Path | None, stamped: str | None) -> tuple[Database, Standing]:
    """A ledger that is new, or becomes one of this schema."""
    from sekimori.ledger import schema
    from sekimori.ledger.database import Database

    database = Database(file)
    try:
        with database.writing() as connection:
            if stamped is None:
                schema.create(connection)
            else:
                _upgrade(connection)
            standing = read_standing(connection)
    except UndecodableError as error:
        database.close()
        raise _set_aside(database.file, str(error)) from error
    except Problem as problem:
        database.close()
        cause = problem.__cause__
        if isinstance(cause, Exception) and is_corrupt(cause):
            raise _set_aside(database.file, str(problem.facts.get("why"))) from cause
        raise
    except BaseException:
        database.close()
        raise
    return database, standing


def _inspect(file: Path) -> str | None:
    """Which schema the file has; None when it is new and empty. Makes it when it is not there.

    One of this schema is still to be looked through for damage.
    """
    if _has_only_wal(file):
        raise _set_aside(file, "its file is missing or empty, and its write-ahead log is not")
    _make(file)
    with closing(_connect_read_only(file)) as connection:
        stamped = _stamp(connection)
        if stamped and stamped not in KNOWN:
            raise Problem("ledger-newer", file=str(file), theirs=stamped, ours=HEAD)
        if stamped == HEAD:
            return stamped
        why = "it has tables and no schema number" if stamped == "" else _damage(connection)
    if why is not None:
        raise _set_aside(file, why)
    return stamped


def _has_only_wal(file: Path) -> bool:
    """Whether the file lost its contents but not its WAL, which SQLite would then delete.

    A crash between the renames of `_move_aside` leaves this too.
    """
    return not _size(file) and bool(_size(file.with_name(file.name + "-wal")))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The journal says who did what: nobody else may read it. SQLite gives the WAL the same mode.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _connect_read_only(file: Path) -> sqlite3.Connection:
    # mode=ro still reads a WAL left by a crash, but does not fold it into the file at close.
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)


def _stamp(connection: sqlite3.Connection) -> str | None:
    """The schema's number; None for an empty database, '' for one that is not a ledger."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if "alembic_version" not in tables:
        return ""
    stamps = [str(number) for (number,) in connection.execute("SELECT version_num FROM alembic_version")]
    return ", ".join(stamps)


def _damage(connection: sqlite3.Connection) -> str | None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    return None if found == ["ok"] else "; ".join(found)


def _upgrade(connection: sa.Connection) -> None:
    # Here, because Alembic takes longer to import than everything else on the way to a ledger.
    from sekimori.ledger.migrations import upgrade

    upgrade(connection)


def _set_aside(file: Path, why: str) -> Problem:
    """Move a damaged ledger out of the way; the problem that tells where it is."""
    try:
        kept = _move_aside(file)
    except OSError as error:
        return Problem("state-unusable", directory=str(file.parent), why=f"{why}, and {error}")
    return Problem("ledger-corrupt", file=str(file), why=why, kept=str(kept))


def _move_aside(file: Path) -> Path:
    """Rename the file and what is beside it to a name that nothing has.

    The file goes first: what a crash leaves is then a WAL alone, which `_has_only_wal` knows, and never
    a file that lacks the end its WAL holds.
    """
    base = f"{file.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (base if not count else f"{base}-{count}" for count in range(1_000_000))
    kept = next(path for path in map(file.with_name, names) if not _any_there(path))
    for suffix in ("", *_BESIDE):
        with contextlib.suppress(FileNotFoundError):  # a WAL is there only while it holds something
            file.with_name(file.name + suffix).rename(kept.with_name(kept.name + suffix))
    _sync_directory(file.parent)
    return kept


def _any_there(path: Path) -> bool:
    return any(os.path.lexists(f"{path}{suffix}") for suffix in ("", *_BESIDE))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
