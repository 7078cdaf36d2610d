"""The same schema, rules and statements on a real PostgreSQL, on a unix socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekimori.ledger import migrations, schema, views
from sekimori.ledger.reading import read_standing
from sekimori.ledger.totals import Usage
from sekimori.ledger.usage import load_usage, save_usage
from sekimori.ledger.writing import write
from sekimori.model.address import Interface
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, Verb
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping
from sekimori.model.request import Context
from sekimori.testing.strategies import claims, contexts, mapping_sets

pytest.importorskip("psycopg", reason="the driver for PostgreSQL is not installed")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("pg_config"), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(
        os.geteuid() != 0 or "postgres" not in {user.pw_name for user in pwd.getpwall()},
        reason="needs root, to run PostgreSQL as its own user",
    ),
]
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[sa.Engine]:
    directory = tmp_path_factory.mktemp("pg")
    shutil.chown(directory, "postgres")
    for name in directory.relative_to(gettempdir()).parents:  # one more of them where tests run in parallel
        if name.parts:
            parent = Path(gettempdir(), name)
            parent.chmod(parent.stat().st_mode | 0o011)
    bindir = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout
    control = Path(bindir.strip()) / "pg_ctl"

    def run(*arguments: str) -> None:
        command = [str(control), "--silent", "--pgdata", str(directory / "data"), *arguments]
        subprocess.run(command, user="postgres", cwd=directory, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "--options", "--auth=trust --no-sync --encoding=UTF8 --locale=C")
    log = str(directory / "log")
    run("start", "--wait", "--log", log, "--options", f"-k {directory} -c listen_addresses='' -c fsync=off")
    url = sa.URL.create("postgresql+psycopg", "postgres", query={"host": str(directory)}, database="postgres")
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()
    run("stop", "--wait", "--mode", "fast")


@pytest.fixture
def connection(server: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to a new ledger, undone after the test."""
    with server.connect() as opened, opened.begin() as transaction:
        schema.create(opened)
        yield opened
        transaction.rollback()


def add_mapping(connection: sa.Connection, key: str) -> None:
    row = {"id": key, "name": f"name-{key}", "owner": "person:a", "revision": 1, "document": "{}"}
    connection.execute(schema.mappings.insert(), row)


def claim_row(key: str, claim: Claim) -> dict[str, object]:
    interface = claim.on.name if isinstance(claim.on, Interface) else ""
    family = 0 if claim.on is None or isinstance(claim.on, Interface) else claim.on.version
    return {
        "mapping_id": key,
        "position": 0,
        "protocol": claim.space,
        "address": str(claim.on) if family else "",
        "family": family,
        "first": claim.pair.outside.first,
        "last": claim.pair.outside.last,
        "interface": interface,
    }


@quickly
@given(asked=st.lists(claims(), min_size=2, max_size=4))
def test_the_database_refuses_exactly_what_overlaps(connection: sa.Connection, asked: list[Claim]) -> None:
    held: list[Claim] = []
    with connection.begin_nested() as example:
        for number, claim in enumerate(asked):
            add_mapping(connection, f"m{number}")
            expected = any(claim.overlaps(other) for other in held)
            try:
                with connection.begin_nested():
                    connection.execute(schema.claims.insert(), claim_row(f"m{number}", claim))
            except sa.exc.IntegrityError as error:
                assert "claims_apart" in str(error)  # noqa: PT017
                assert expected
            else:
                assert not expected
                held.append(claim)
        example.rollback()


@quickly
@given(mappings=mapping_sets(), context=contexts())
def test_a_revision_is_written_and_read_back(
    connection: sa.Connection, mappings: tuple[Mapping, ...], context: Context
) -> None:
    changes = tuple(Made(Verb.OPEN, None, each) for each in mappings)
    with connection.begin_nested() as example:
        write(connection, Committed(1, 2.5, context, changes))
        standing = read_standing(connection)
        assert standing.revision == 1
        assert {each.id: each for each in standing.mappings} == {each.id: each for each in mappings}
        for revision in views.history(connection):
            assert (revision.at, revision.actor, revision.why) == (2.5, context.actor, context.why)
            assert [row.after for row in revision.rows] == [each.to_document() for each in mappings]
        example.rollback()


def test_ports_and_names_are_swapped_and_found_again(connection, make, context) -> None:
    one, two = make(1), make(2)
    write(connection, Committed(1, 1.0, context, (Made(Verb.OPEN, None, one), Made(Verb.OPEN, None, two))))
    new_one, new_two = replace(one, ports=two.ports, name="WEB2"), replace(two, ports=one.ports, name="x")
    save_usage(connection, {"m1": Usage(bytes_in=2**62), "m2": Usage(last_flow_at=0.5)})
    changes = (Made(Verb.CHANGE, one, new_one), Made(Verb.CHANGE, two, new_two))
    write(connection, Committed(2, 2.0, context, changes))
    write(connection, Committed(3, 3.0, context, (Made(Verb.EXPIRE, new_two, None),)))
    assert read_standing(connection).mappings == (new_one,)
    assert load_usage(connection) == {"m1": Usage(bytes_in=2**62)}
    assert [revision.number for revision in views.history(connection, subject="web2")] == [3, 2, 1]
    assert [revision.number for revision in views.history(connection, subject="web2", before=3)] == [2, 1]
    row = views.last_row_named(connection, one.owner, "x")
    assert row is not None
    assert row.verb is Verb.EXPIRE


@pytest.mark.parametrize(
    "statement",
    ["UPDATE revisions SET why = ''", "DELETE FROM journal", "TRUNCATE revisions CASCADE"],
)
def test_the_journal_only_grows(connection, statement: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match="the journal only grows"), connection.begin_nested():
        connection.exec_driver_sql(statement)


def test_a_new_ledger_equals_one_that_was_migrated(server: sa.Engine) -> None:
    def layout(make) -> list[object]:
        with server.connect() as opened, opened.begin() as transaction:
            make(opened)
            found: list[object] = [
                opened.execute(sa.text(query)).all()
                for query in (
                    "SELECT table_name, column_name, data_type, is_nullable, character_maximum_length "
                    "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
                    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
                    "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
                    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
                    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
                )
            ]
            transaction.rollback()
        return found

    made = layout(schema.create)
    assert all(made)
    assert made == layout(migrations.upgrade)
