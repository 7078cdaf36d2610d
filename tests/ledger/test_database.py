from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekimori.ledger import database as module
from sekimori.ledger.database import Database
from sekimori.model.errors import Problem

COUNT = sa.text("SELECT count(*) FROM t")
ADD = sa.text("INSERT INTO t VALUES (1)")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "ledger.db")
    with made.writing() as connection:
        connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))
    yield made
    made.close()


def pragma(connection: sa.Connection, name: str) -> object:
    return connection.execute(sa.text(f"PRAGMA {name}")).scalar()


def test_writing_is_durable_and_the_others_are_what_they_say(database: Database) -> None:
    with database.writing() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "busy_timeout") == 5000
    with database.relaxed() as connection:
        assert pragma(connection, "synchronous") == 1  # NORMAL
    with database.reading() as connection:
        assert pragma(connection, "query_only") == 1


def test_an_exception_rolls_back_and_comes_through(database: Database) -> None:
    def add_and_fail() -> None:
        with database.writing() as connection:
            connection.execute(ADD)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        add_and_fail()
    with database.reading() as connection:
        assert connection.execute(COUNT).scalar() == 0


def test_a_reader_sees_one_state_and_waits_for_no_writer(database: Database) -> None:
    with database.reading() as reader, database.writing() as writer:
        assert reader.execute(COUNT).scalar() == 0
        writer.execute(ADD)
        assert reader.execute(COUNT).scalar() == 0
        assert writer.execute(COUNT).scalar() == 1
    with database.reading() as reader:
        assert reader.execute(COUNT).scalar() == 1


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(Problem) as caught, database.reading() as connection:
        connection.execute(ADD)
    assert caught.value.code == "state-unusable"


def test_a_lock_held_by_another_program_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "BUSY_TIMEOUT", 0.01)
    database = Database(tmp_path / "ledger.db")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Problem) as caught, database.writing():
        pass
    assert caught.value.code == "ledger-failed"
    assert caught.value.facts["why"] == "database is locked"
    other.execute("ROLLBACK")
    with database.writing():
        pass
    other.close()
    database.close()


@pytest.mark.parametrize("name", ["with space.db", "with?query&x=1#f.db", "percent%20.db", "日本語.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    database = Database(tmp_path / name)
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_closing_folds_the_wal_and_may_be_done_again(database: Database) -> None:
    with database.reading() as connection:
        connection.execute(COUNT)
    database.close()
    database.close()
    assert [path.name for path in database.file.parent.iterdir()] == ["ledger.db"]
    with pytest.raises(Problem) as caught, database.reading():
        pass
    assert caught.value.facts["why"] == "the ledger is closed"


def test_in_memory_all_lanes_see_the_same() -> None:
    database = Database(None)
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))
    with database.relaxed() as connection:
        connection.execute(ADD)
    with database.reading() as connection:
        assert connection.execute(COUNT).scalar() == 1
    database.close()
