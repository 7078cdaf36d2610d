"""The connections to a ledger's file, and their transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ResourceClosedError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from sekimori.ledger.checkpointing import SPARE, Checkpointer
from sekimori.ledger.faults import problem_of
from sekimori.ledger.opening import BUSY_TIMEOUT

__all__ = ["Database"]


class Database:
    """One ledger file, through three connections with a lock each.

    Writing is durable when its transaction ends (WAL with synchronous=FULL: one fsync a
    commit). Relaxed writing is durable at the next checkpoint (synchronous=NORMAL), so a
    power cut may take the last of it, but never the file. Readers do not wait for writers.
    Without a file it is in memory, through one connection.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = Path(":memory:") if file is None else file
        self.engine = _engine(file)
        self._checkpointer = None if file is None else Checkpointer(file)
        self._writer = _Lane(self.engine, self.file)
        if file is None:
            self._relaxed = self._reader = self._writer
        else:
            self._relaxed = _Lane(self.engine, self.file, "synchronous=NORMAL")
            self._reader = _Lane(self.engine, self.file, "query_only=ON")

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A durable transaction, committed at the end of the block, rolled back by any exception.

        Raises:
            Problem: `disk-full`, `state-unusable` or `ledger-failed`.
        """
        with self._writer.transaction("IMMEDIATE") as connection:
            yield connection
        self._note()

    @contextmanager
    def relaxed(self) -> Iterator[sa.Connection]:
        """A transaction whose last moments a power cut may take. Raises as `writing` does."""
        with self._relaxed.transaction("IMMEDIATE") as connection:
            yield connection
        self._note()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the file. Raises as `writing` does."""
        with self._reader.transaction("DEFERRED") as connection:
            yield connection

    def _note(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.note()

    def close(self) -> None:
        """Close every connection; the last one folds the WAL into the file."""
        if self._checkpointer is not None:
            self._checkpointer.close()
        for lane in {self._reader, self._relaxed, self._writer}:
            lane.close()
        self.engine.dispose()


class _Lane:
    """A connection that is opened when first used, and the lock of who uses it."""

    def __init__(self, engine: sa.Engine, file: Path, pragma: str | None = None) -> None:
        self._engine = engine
        self._file = file
        self._pragma = pragma
        self._lock = threading.Lock()
        self._connection: sa.Connection | None = None
        self._is_closed = False

    @contextmanager
    def transaction(self, mode: str) -> Iterator[sa.Connection]:
        with self._lock:
            try:
                connection = self._open()
                with connection.execution_options(begin=mode).begin():
                    yield connection
            except (SQLAlchemyError, sqlite3.Error) as error:
                self._drop()
                raise problem_of(error, self._file) from error

    def _open(self) -> sa.Connection:
        if self._is_closed:  # the next daemon may own the file by now
            raise ResourceClosedError("the ledger is closed")
        if self._connection is None:
            connection = self._engine.connect()
            if self._pragma is not None:
                _outside(connection, f"PRAGMA {self._pragma}")
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        """Close the connection whatever state it is in: SQLite then undoes what was left open.

        A rollback may fail for the reason that the transaction did. In memory the connection is
        the data, and is kept.
        """
        if self._connection is not None and isinstance(self._engine.pool, NullPool):
            self._connection.invalidate()
            self._connection = None

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _engine(file: Path | None) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=None if file is None else str(file)),
        # None: the driver begins nothing by itself, so that "begin" below says when and how.
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": BUSY_TIMEOUT},
        poolclass=StaticPool if file is None else NullPool,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in (
        "foreign_keys=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={SPARE}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'IMMEDIATE')}")


def _outside(connection: sa.Connection, statement: str) -> None:
    """Run a statement outside any transaction, where pragmas about syncing take effect."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statement)
