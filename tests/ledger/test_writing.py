from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from sekimori.ledger import schema
from sekimori.ledger.database import Database
from sekimori.ledger.reading import read_standing
from sekimori.ledger.totals import Usage
from sekimori.ledger.usage import load_usage, save_usage
from sekimori.ledger.writing import write
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping

Commit = Callable[..., None]


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database(None)
    with made.writing() as connection:
        schema.create(connection)
    yield made
    made.close()


@pytest.fixture
def commit(database: Database, context) -> Commit:
    numbers = iter(range(1, 100))

    def run(*changes: Made) -> None:
        with database.writing() as connection:
            write(connection, Committed(next(numbers), 1.0, context, changes))

    return run


def standing(database: Database) -> dict[str, Mapping]:
    with database.reading() as connection:
        return {each.id: each for each in read_standing(connection).mappings}


def opened(mapping: Mapping) -> Made:
    return Made(Verb.OPEN, None, mapping)


def changed(before: Mapping, after: Mapping | None) -> Made:
    return Made(Verb.CLOSE if after is None else Verb.CHANGE, before, after)


def test_two_mappings_swap_ports_and_names_in_one_revision(database, commit, make) -> None:
    one, two = make(1), make(2)
    commit(opened(one), opened(two))
    new_one = replace(one, ports=two.ports, name=two.name)
    new_two = replace(two, ports=one.ports, name=one.name)
    commit(changed(one, new_one), changed(two, new_two))
    assert standing(database) == {"m1": new_one, "m2": new_two}


def test_a_port_and_a_name_pass_from_one_that_closes_to_one_that_opens(database, commit, make) -> None:
    one = make(1)
    commit(opened(one))
    heir = make(2, ports=one.ports, name=one.name)
    commit(opened(heir), changed(one, None))
    assert standing(database) == {"m2": heir}


def test_several_changes_of_one_mapping_leave_the_last(database, commit, make) -> None:
    one, paused, renamed = make(1), make(1, paused=True), make(1, paused=True, name="other")
    commit(opened(one), changed(one, paused), changed(paused, renamed))
    assert standing(database) == {"m1": renamed}
    commit(changed(renamed, one), changed(one, None))
    assert standing(database) == {}
    commit(opened(one), changed(one, None), opened(paused))
    assert standing(database) == {"m1": paused}
    commit(changed(paused, None), opened(one))
    assert standing(database) == {"m1": one}
    with database.reading() as connection:
        rows = connection.execute(sa.select(schema.journal.c.revision, schema.journal.c.seq)).all()
    assert rows == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2)]


@pytest.mark.parametrize("fields", [{}, {"id": "m2"}, {"id": "m2", "name": "WEB1"}])
def test_what_policy_lets_slip_the_database_refuses(database, commit, make, fields) -> None:
    commit(opened(make(1)))
    port = 4000 if "name" in fields else None
    with pytest.raises(Problem) as caught:
        commit(opened(make(1, port=port, **fields)))
    assert caught.value.code == "ledger-failed"
    assert standing(database) == {"m1": make(1)}


def test_usage_outlasts_changes_and_goes_with_its_mapping(database, commit, make) -> None:
    one, two = make(1), make(2)
    commit(opened(one), opened(two))
    totals = {"m1": Usage(bytes_in=5), "m2": Usage(bytes_in=6)}
    with database.relaxed() as connection:
        save_usage(connection, totals)
    commit(changed(one, replace(one, paused=True)))
    with database.reading() as connection:
        assert load_usage(connection) == totals
    commit(changed(replace(one, paused=True), None))
    with database.reading() as connection:
        assert load_usage(connection) == {"m2": totals["m2"]}


def test_words_with_lone_surrogates_can_be_written(database, make, context) -> None:
    odd = make(1, accepted_risks=("\udcff",))
    with database.writing() as connection:
        write(connection, Committed(1, 1.0, replace(context, why="a \ud800 b"), (opened(odd),)))
        assert connection.execute(sa.select(schema.revisions.c.why)).scalar() == "a \\ud800 b"
    assert standing(database) == {"m1": odd}
