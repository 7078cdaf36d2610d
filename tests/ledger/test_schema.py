from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st

from sekimori.ledger import migrations, schema
from sekimori.ledger.database import Database
from sekimori.model.address import Interface, PortRange
from sekimori.model.mapping import Claim
from sekimori.testing.strategies import claims

COLUMNS = "mapping_id, position, protocol, address, family, first, last"
INSERT = f"INSERT INTO claims ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_ON = f"INSERT INTO claims ({COLUMNS}, interface) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A new ledger's SQLite connection, as any program could open it."""
    database = Database(None)
    with database.writing() as made:
        schema.create(made)
    driver = made.connection.driver_connection
    assert driver is not None
    for number in range(1, 4):
        add_mapping(driver, f"m{number}")
    yield driver
    database.close()


def add_mapping(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("INSERT INTO mappings VALUES (?, ?, 'person:a', NULL, 1, '{}')", (key, f"name-{key}"))


def values(key: str, position: int, claim: Claim) -> tuple[object, ...]:
    ports = claim.pair.outside
    interface = claim.on.name if isinstance(claim.on, Interface) else ""
    family = 0 if claim.on is None or isinstance(claim.on, Interface) else claim.on.version
    address = str(claim.on) if family else ""
    return (key, position, claim.space, address, family, ports.first, ports.last, interface)


class TestClaims:
    @settings(max_examples=200)
    @given(st.lists(claims(), min_size=2, max_size=4))
    def test_the_database_refuses_exactly_what_overlaps(self, asked: list[Claim]) -> None:
        database = Database(None)
        held: list[Claim] = []
        with database.writing() as made:
            schema.create(made)
            driver = made.connection.driver_connection
            assert driver is not None
            for number, claim in enumerate(asked):
                add_mapping(driver, f"m{number}")
                try:
                    driver.execute(INSERT_ON, values(f"m{number}", 0, claim))
                except sqlite3.IntegrityError as error:
                    assert str(error) == "two mappings claim one port"  # noqa: PT017
                    assert any(claim.overlaps(other) for other in held)
                else:
                    assert not any(claim.overlaps(other) for other in held)
                    held.append(claim)
        database.close()

    @pytest.mark.parametrize("size", [1, schema.WIDE_SPAN, schema.WIDE_SPAN + 1, schema.WIDE_SPAN + 2])
    def test_a_range_is_found_from_its_last_port_however_wide(self, connection, size: int) -> None:
        ports = PortRange(5000, 5000 + size - 1)
        connection.execute(INSERT, ("m1", 0, "tcp", "", 0, ports.first, ports.last))
        connection.execute(INSERT, ("m2", 0, "tcp", "", 0, ports.last + 1, ports.last + 1))
        with pytest.raises(sqlite3.IntegrityError, match="two mappings claim one port"):
            connection.execute(INSERT, ("m3", 0, "tcp", "", 0, ports.last, ports.last))

    def test_a_claim_cannot_be_moved_onto_anothers_port(self, connection) -> None:
        connection.execute(INSERT, ("m1", 0, "tcp", "", 0, 80, 80))
        connection.execute(INSERT, ("m2", 0, "tcp", "", 0, 81, 81))
        with pytest.raises(sqlite3.IntegrityError, match="two mappings claim one port"):
            connection.execute("UPDATE claims SET first = 80 WHERE mapping_id = 'm2'")
        connection.execute("UPDATE claims SET first = 82, last = 82 WHERE mapping_id = 'm2'")

    def test_a_mapping_does_not_rival_itself(self, connection) -> None:
        connection.execute(INSERT, ("m1", 0, "tcp", "", 0, 80, 80))
        connection.execute(INSERT, ("m1", 1, "tcp", "", 0, 80, 80))

    @pytest.mark.parametrize(
        "wrong",
        [
            ("m1", 0, "tcp", "", 0, 0, 80),
            ("m1", 0, "tcp", "", 0, 80, 65536),
            ("m1", 0, "tcp", "", 0, 81, 80),
            ("m1", 0, "tcp", "", 4, 80, 80),
            ("m1", 0, "tcp", "192.0.2.1", 0, 80, 80),
            ("nobody", 0, "tcp", "", 0, 80, 80),
        ],
    )
    def test_claims_that_mean_nothing_are_refused(self, connection, wrong) -> None:
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(INSERT, wrong)

    def test_an_interface_rivals_itself_and_every_address_but_no_other_interface(self, connection) -> None:
        connection.execute(INSERT_ON, ("m1", 0, "tcp", "", 0, 80, 80, "wan0"))
        connection.execute(INSERT_ON, ("m2", 0, "tcp", "", 0, 80, 80, "wan1"))
        for rival in (("", 0, "wan0"), ("", 0, ""), ("192.0.2.1", 4, ""), ("2001:db8::1", 6, "")):
            address, family, interface = rival
            with pytest.raises(sqlite3.IntegrityError, match="two mappings claim one port"):
                connection.execute(INSERT_ON, ("m3", 0, "tcp", address, family, 80, 80, interface))

    def test_a_claim_is_of_an_interface_or_of_an_address(self, connection) -> None:
        with pytest.raises(sqlite3.IntegrityError, match="claims_interface"):
            connection.execute(INSERT_ON, ("m1", 0, "tcp", "192.0.2.1", 4, 80, 80, "wan0"))

    def test_claims_end_with_their_mapping(self, connection) -> None:
        connection.execute(INSERT, ("m1", 0, "tcp", "", 0, 80, 80))
        connection.execute("DELETE FROM mappings WHERE id = 'm1'")
        connection.execute(INSERT, ("m2", 0, "tcp", "", 0, 80, 80))

    @pytest.mark.parametrize("index", ["claims_first", "claims_wide"])
    def test_rivals_are_found_by_index(self, connection, index: str) -> None:
        # The trigger names its indexes, so without one it is an error and not a slow scan.
        connection.execute(f"DROP INDEX {index}")
        with pytest.raises(sqlite3.OperationalError, match=f"no such index: {index}"):
            connection.execute(INSERT, ("m1", 0, "tcp", "", 0, 80, 80))


def test_a_name_stands_once_whatever_its_case(connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="mappings_name"):
        connection.execute("INSERT INTO mappings VALUES ('m9', 'NAME-m1', 'person:a', NULL, 1, '{}')")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE revisions SET why = 'another'",
        "DELETE FROM revisions",
        "UPDATE journal SET after = NULL",
        "DELETE FROM journal WHERE seq = 1",
    ],
)
def test_the_journal_only_grows(connection, statement: str) -> None:
    connection.execute("INSERT INTO revisions VALUES (1, 0.5, 'person:a', 'api', '')")
    connection.execute(
        "INSERT INTO journal VALUES (1, 1, 'open', 'mapping', 'm1', 'n', 'person:a', NULL, '{}')"
    )
    with pytest.raises(sqlite3.IntegrityError, match="the journal only grows"):
        connection.execute(statement)


def test_the_known_schemas_are_the_migrations() -> None:
    found = ScriptDirectory.from_config(migrations.settings()).walk_revisions()
    assert tuple(reversed([script.revision for script in found])) == schema.KNOWN


def test_a_new_ledger_equals_one_that_was_migrated() -> None:
    assert layout(schema.create) == layout(migrations.upgrade)


def layout(make) -> dict[str, str]:
    """Every table, index and trigger, without the differences in spelling that mean nothing."""
    database = Database(None)
    with database.writing() as connection:
        make(connection)
        rows = connection.execute(sa.text("SELECT type, name, sql FROM sqlite_master")).all()
        assert connection.execute(sa.select(schema.version)).scalars().all() == [schema.HEAD]
    database.close()
    return {f"{kind} {name}": re.sub(r"\s+", " ", sql or "") for kind, name, sql in rows}
