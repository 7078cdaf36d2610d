"""The write-ahead log is folded in beside the commits."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sekimori.ledger.checkpointing import EVERY, Checkpointer
from sekimori.testing.peers import eventually


def write(connection: sqlite3.Connection, checkpointer: Checkpointer, count: int) -> None:
    for number in range(count):
        connection.execute("INSERT INTO rows VALUES (?)", (str(number) * 500,))
        connection.commit()
        checkpointer.note()


def folded(file: Path) -> bool:
    """Whether the file itself holds rows: as it is read without its log."""
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    with sqlite3.connect(f"file:{copy}?immutable=1", uri=True) as alone:
        tables = alone.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return bool(tables) and bool(alone.execute("SELECT count(*) FROM rows").fetchone()[0])


def test_after_some_commits_the_file_holds_what_the_log_held(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    checkpointer = Checkpointer(file)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE rows (text)")
    connection.commit()
    try:
        write(connection, checkpointer, EVERY - 1)
        assert not folded(file)
        write(connection, checkpointer, 1)
        eventually(lambda: folded(file) or None)
        write(connection, checkpointer, EVERY)
    finally:
        checkpointer.close()
        connection.close()


def test_one_that_was_never_needed_ends_at_once(tmp_path: Path) -> None:
    Checkpointer(tmp_path / "ledger.db").close()
    assert not (tmp_path / "ledger.db").exists()
