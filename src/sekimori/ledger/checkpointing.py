"""Folds the write-ahead log into the file, beside the commits instead of within one of them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

__all__ = ["SPARE", "Checkpointer"]

EVERY: Final = 64
"""Commits from one checkpoint to the next. One commit writes about 16 pages."""

SPARE: Final = 16_384
"""Pages of log at which SQLite checkpoints by itself, within a commit: only where this one cannot keep up."""

_log = structlog.get_logger("ledger")


class Checkpointer:
    """A thread with a connection of its own.

    A checkpoint syncs the file, which takes some milliseconds, and SQLite makes it part of the commit that
    fills the log: one answer in sixty was late for it. In this mode (PASSIVE) it waits for nobody and nobody
    waits for it (sqlite.org/wal.html, "Checkpointing").
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written = 0
        self._due = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def note(self) -> None:
        """Something was committed."""
        self._written += 1
        if self._written < EVERY:
            return
        self._written = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """End, after a checkpoint under way."""
        self._ended = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            while True:
                self._due.wait()
                self._due.clear()
                if self._ended:
                    return
                try:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                except sqlite3.Error as error:
                    # The commits are safe in the log. What keeps the file from growing, a full disk say, is
                    # told by the next commit that meets it.
                    _log.warning("not_checkpointed", why=str(error))
