from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from sekimori.ledger.journal import Revision
from sekimori.ledger.store import Ledger
from sekimori.ledger.totals import Usage
from sekimori.model.decision import Made, NamedList, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.source import parse_prefix
from sekimori.testing.strategies import contexts, instants, mapping_sets, named_lists

OFFICE = NamedList("office", Owner(OwnerKind.FILE, "/etc/s.toml"), (parse_prefix("198.51.100.0/24"),))


def contents(ledger: Ledger) -> tuple[dict[str, Mapping], dict[str, NamedList], int]:
    """What the snapshot says."""
    mappings = {each.id: each for each in ledger.snapshot}
    return mappings, {each.name: each for each in ledger.snapshot.named_lists}, ledger.revision


def everything(ledger: Ledger) -> tuple[object, ...]:
    """All that a ledger can be asked, in memory and in its file."""
    return contents(ledger), ledger.history(limit=1000), ledger.load_usage(), rows(ledger)


def rows(ledger: Ledger) -> list[list[tuple[Any, ...]]]:
    """Every row of every table."""
    with ledger._database.reading() as connection:
        tables = sa.inspect(connection).get_table_names()
        return [
            sorted(map(tuple, connection.execute(sa.text(f"SELECT * FROM {table}"))), key=repr)
            for table in tables
        ]


class TestCommit:
    @settings(max_examples=40)
    @given(mapping_sets(), st.lists(named_lists(), unique_by=lambda n: n.name, max_size=2), contexts())
    def test_every_field_of_what_is_committed_is_there_after_reopening(
        self, tmp_path_factory, mappings: tuple[Mapping, ...], lists: list[NamedList], context: Context
    ) -> None:
        subjects: tuple[Mapping | NamedList, ...] = (*mappings, *lists)
        changes = [Made(Verb.OPEN, None, each) for each in subjects]
        directory = tmp_path_factory.mktemp("ledger")
        with closing(Ledger.open(directory)) as ledger:
            if changes:
                ledger.commit(changes, context, 1.5)
            live = contents(ledger)
            written = ledger.history()
        with closing(Ledger.open(directory)) as ledger:
            assert contents(ledger) == live
            assert ledger.history() == written
        assert live[0] == {
            each.id: replace(each, revision=1, created_at=each.created_at or 1) for each in mappings
        }

    @settings(max_examples=40)
    @given(mapping_sets(), instants(), contexts())
    def test_the_journal_says_what_was_done(
        self, mappings: tuple[Mapping, ...], at: int, context: Context
    ) -> None:
        with closing(Ledger.open(Path(), memory=True)) as ledger:
            for number, mapping in enumerate(mappings, start=1):
                committed = ledger.commit([Made(Verb.OPEN, None, mapping)], context, at + 0.5)
                found = ledger.revision_of(number)
                assert isinstance(found, Revision)
                assert (committed.revision, committed.at, committed.context) == (number, at + 0.5, context)
                assert (found.at, found.actor, found.door) == (at + 0.5, context.actor, context.door)
                assert found.why == context.why
                (row,) = found.rows
                assert row.before is None
                assert row.after == committed.changes[0].subject.to_document()

    def test_the_answer_and_the_snapshot_hold_what_was_stamped(self, ledger, make, context) -> None:
        (change,) = ledger.commit([Made(Verb.OPEN, None, make(1))], context, 99.9).changes
        assert (change.after.revision, change.after.created_at) == (1, 99)
        assert ledger.snapshot.get("m1") is change.after
        (change,) = ledger.commit(
            [Made(Verb.PAUSE, change.after, make(1, created_at=99))], context, 200.0
        ).changes
        assert (change.after.revision, change.after.created_at) == (2, 99)
        assert change.before.revision == 1

    def test_in_a_batch_each_change_follows_from_the_one_before(self, ledger, make, context) -> None:
        changes = [
            Made(Verb.OPEN, None, make(1)),
            Made(Verb.PAUSE, make(1), make(1, paused=True)),
            Made(Verb.CLOSE, make(1, paused=True), None, cut=True),
        ]
        opened, paused, closed = ledger.commit(changes, context, 5.0).changes
        assert paused.before == opened.after
        assert closed.before == paused.after
        assert closed.cut
        assert len(ledger.snapshot) == 0

    def test_lists_are_defined_replaced_and_removed(self, ledger, context) -> None:
        wider = replace(OFFICE, prefixes=(*OFFICE.prefixes, parse_prefix("2001:db8::/32")))
        for before, after in ((None, OFFICE), (OFFICE, wider), (wider, None)):
            ledger.commit([Made(Verb.DEFINE, before, after)], context, 1.0)
            assert ledger.snapshot.list_named("office") == after
            with closing(Ledger.open(ledger._database.file.parent)) as again:
                assert again.snapshot.list_named("office") == after

    def test_no_changes_are_no_revision(self, ledger, context) -> None:
        with pytest.raises(ValueError, match="at least one"):
            ledger.commit([], context, 1.0)
        assert ledger.revision == 0

    def test_a_rival_that_policy_let_slip_changes_nothing(self, ledger, make, context) -> None:
        ledger.commit([Made(Verb.OPEN, None, make(1))], context, 1.0)
        before = everything(ledger)
        with pytest.raises(Problem) as caught:
            ledger.commit(
                [Made(Verb.OPEN, None, make(3)), Made(Verb.OPEN, None, make(2, port=2001))], context, 2.0
            )
        assert caught.value.code == "ledger-failed"
        assert caught.value.facts["why"] == "two mappings claim one port"
        assert everything(ledger) == before
        ledger.commit([Made(Verb.OPEN, None, make(2))], context, 3.0)
        assert ledger.revision == 2


class TestMemory:
    def test_it_leaves_no_file_and_shares_nothing(self, tmp_path: Path, make, context) -> None:
        with (
            closing(Ledger.open(tmp_path, memory=True)) as one,
            closing(Ledger.open(tmp_path, memory=True)) as other,
        ):
            one.commit([Made(Verb.OPEN, None, make(1))], context, 1.0)
            assert (len(one.history()), len(other.history())) == (1, 0)
        assert list(tmp_path.iterdir()) == []


class TestUsage:
    def test_it_is_kept_across_restarts_and_only_for_what_stands(self, ledger, make, context) -> None:
        ledger.commit([Made(Verb.OPEN, None, make(1))], context, 1.0)
        totals = Usage(1, 2, 3, 4, 5, 6, 7.5)
        ledger.save_usage({"m1": totals, "closed since": totals})
        ledger.save_usage({})
        ledger.close()
        with closing(Ledger.open(ledger._database.file.parent)) as again:
            assert again.load_usage() == {"m1": totals}


# -- failures -----------------------------------------------------------------------


@pytest.fixture
def standing(ledger: Ledger, make, context) -> Ledger:
    """A ledger with two mappings, their usage, and a list."""
    opened = [Made(Verb.OPEN, None, make(number)) for number in (1, 2)]
    ledger.commit([*opened, Made(Verb.DEFINE, None, OFFICE)], context, 1.0)
    ledger.save_usage({"m1": Usage(bytes_in=1), "m2": Usage(bytes_in=2)})
    return ledger


@pytest.fixture
def batch(standing: Ledger, make) -> Sequence[Made]:
    """A batch that writes to every table: open, change, close, and replace a list."""
    one, two = standing.snapshot.get("m1"), standing.snapshot.get("m2")
    assert one is not None
    return [
        Made(Verb.OPEN, None, make(3)),
        Made(Verb.CHANGE, one, replace(one, paused=True)),
        Made(Verb.CLOSE, two, None),
        Made(Verb.DEFINE, OFFICE, replace(OFFICE, prefixes=())),
    ]


def check_that_nothing_changed(
    ledger: Ledger, batch: Sequence[Made], context: Context, code: str = "ledger-failed"
) -> None:
    """Commit, which must fail with a code, and look in the snapshot, the file, and the file reopened."""
    before = everything(ledger)
    with pytest.raises(Problem) as caught:
        ledger.commit(batch, context, 2.0)
    assert caught.value.code == code
    assert everything(ledger) == before
    with closing(Ledger.open(ledger._database.file.parent)) as again:
        assert everything(again) == before


def check_that_it_works(ledger: Ledger, batch: Sequence[Made], context: Context) -> None:
    ledger.commit(batch, context, 3.0)
    assert set(contents(ledger)[0]) == {"m1", "m3"}
    assert set(ledger.load_usage()) == {"m1"}
    with closing(Ledger.open(ledger._database.file.parent)) as again:
        assert everything(again) == everything(ledger)


STATEMENTS = 10
"""What the batch takes: BEGIN, the revision, mappings, claims, usage, lists, the journal."""


@contextmanager
def hooked(ledger: Ledger, hook: Callable[[str], None]) -> Iterator[None]:
    """Call a hook with every statement of the block before it runs, and with COMMIT."""
    engine = ledger._database.engine

    def statement(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        hook(text)

    def commit(_connection: Any) -> None:
        hook("COMMIT")

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


@contextmanager
def interrupted(ledger: Ledger, after: int) -> Iterator[list[int]]:
    """Have SQLite interrupt the writer after so many steps of its machine; counts them."""
    with ledger._database.writing() as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    steps = [0]

    def step() -> bool:
        steps[0] += 1
        return steps[0] > after

    driver.set_progress_handler(step, 1)
    yield steps
    if after >= 10**9:
        driver.set_progress_handler(None, 1)


class TestFailure:
    def test_the_number_of_statements_below_is_right(self, standing, batch, context) -> None:
        seen: list[str] = []
        with hooked(standing, seen.append):
            standing.commit(batch, context, 2.0)
        assert seen[0] == "BEGIN IMMEDIATE"
        assert seen[-1] == "COMMIT"
        assert len(seen) == STATEMENTS, seen
        touched = {"revisions", "mappings", "claims", "usage", "lists", "journal"}
        assert touched <= {word for text in seen for word in text.split()}

    @pytest.mark.parametrize("at", range(STATEMENTS))
    @pytest.mark.parametrize(
        ("name", "code"),
        [("SQLITE_FULL", "disk-full"), ("SQLITE_IOERR_WRITE", "ledger-failed")],
    )
    def test_at_every_statement(self, standing, batch, context, at: int, name: str, code: str) -> None:
        seen: list[str] = []

        def fail(text: str) -> None:
            seen.append(text)
            if len(seen) == at + 1:
                error = sqlite3.OperationalError(name)
                error.sqlite_errorcode = getattr(sqlite3, name)
                raise error

        before = everything(standing)
        with hooked(standing, fail), pytest.raises(Problem) as caught:
            standing.commit(batch, context, 2.0)
        assert caught.value.code == code
        assert everything(standing) == before
        with closing(Ledger.open(standing._database.file.parent)) as again:
            assert everything(again) == before
        check_that_it_works(standing, batch, context)

    @pytest.mark.parametrize("tenth", range(1, 11))
    def test_inside_the_statements(self, standing, batch, context, tenth: int) -> None:
        # SQLite itself gives up, after so many tenths of the steps that the batch takes.
        standing.close()
        directory = standing._database.file.parent
        shutil.copytree(directory, directory / "twin")
        with closing(Ledger.open(directory / "twin")) as twin, interrupted(twin, 10**9) as steps:
            twin.commit(batch, context, 2.0)
        with closing(Ledger.open(directory)) as again:
            before = everything(again)
            with interrupted(again, steps[0] * tenth // 10 - 2), pytest.raises(Problem) as caught:
                again.commit(batch, context, 2.0)
            assert caught.value.facts["why"] == "interrupted"
            assert everything(again) == before
            check_that_it_works(again, batch, context)

    def test_a_commit_that_took_effect_and_is_reported_as_failed(self, standing, batch, context) -> None:
        seen: list[str] = []

        def fail(text: str) -> None:
            seen.append(text)
            if text == "COMMIT" and seen.count(text) == 1:
                driver = standing._database._writer._connection.connection.driver_connection
                driver.execute("COMMIT")
                raise sqlite3.OperationalError("disk I/O error")

        with hooked(standing, fail):
            assert standing.commit(batch, context, 2.0).revision == 2
        assert set(contents(standing)[0]) == {"m1", "m3"}
        standing.commit([Made(Verb.CLOSE, standing.snapshot.get("m3"), None)], context, 3.0)
        with closing(Ledger.open(standing._database.file.parent)) as again:
            assert everything(again) == everything(standing)

    def test_a_full_database(self, standing, batch, make, context) -> None:
        with standing._database.writing() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        many = [Made(Verb.OPEN, None, make(number)) for number in range(10, 500)]
        check_that_nothing_changed(standing, many, context, "disk-full")
        with standing._database.writing() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        check_that_it_works(standing, batch, context)

    def test_usage_that_cannot_be_saved_changes_nothing(self, standing) -> None:
        before = everything(standing)

        def fail(text: str) -> None:
            if text.startswith("INSERT INTO usage"):
                raise sqlite3.OperationalError("disk I/O error")

        with hooked(standing, fail), pytest.raises(Problem) as caught:
            standing.save_usage({"m1": Usage(bytes_in=100)})
        assert caught.value.code == "ledger-failed"
        assert everything(standing) == before
