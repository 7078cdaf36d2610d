from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekimori.ledger import migrations, schema
from sekimori.ledger.database import Database
from sekimori.ledger.store import Ledger
from sekimori.ledger.totals import Usage
from sekimori.model.address import Interface
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.mapping import Mapping

DOCUMENT = {
    "id": "m1",
    "name": "minecraft",
    "owner": "person:alice",
    "ports": "tcp+udp/25565",
    "to": "192.168.1.10",
    "from": "198.51.100.0/24,office",
    "asked": "permanent",
    "asked_value": "友達のため",
    "expires_at": None,
    "hours": "mon-fri/18:00-23:00",
    "zone": "Asia/Tokyo",
    "on": "192.0.2.1",
    "via": "relay",
    "path": ["relay"],
    "limit": "20/min",
    "limit_total": None,
    "max_connections": 40,
    "proxy_protocol": 2,
    "idle": "10m",
    "accept_risk": [],
    "preset": "minecraft",
    "paused": False,
    "created_at": 1_800_000_000,
    "revision": 1,
}
"""A mapping as version 0.1.0 writes it: its shape never changes here."""

TODAY = {**DOCUMENT, "trigger": None, "hold": None, "except": None, "log": False}
"""The same mapping as it is written today: words that came later have the value of not being said."""

COLUMNS = "(mapping_id, position, protocol, address, family, first, last)"

OLDEST = (
    "INSERT INTO revisions VALUES (1, 1800000000.5, 'person:alice', 'api', 'for the game')",
    "INSERT INTO mappings VALUES ('m1', 'minecraft', 'person:alice', NULL, 1, :document)",
    f"INSERT INTO claims {COLUMNS} VALUES ('m1', 0, 'tcp', '192.0.2.1', 4, 25565, 25565)",
    f"INSERT INTO claims {COLUMNS} VALUES ('m1', 1, 'udp', '192.0.2.1', 4, 25565, 25565)",
    "INSERT INTO lists VALUES ('office', 'file:/etc/s.toml', '[\"203.0.113.0/24\"]')",
    "INSERT INTO journal VALUES "
    "(1, 1, 'open', 'mapping', 'm1', 'minecraft', 'person:alice', NULL, :document)",
    "INSERT INTO journal VALUES "
    "(1, 2, 'define', 'list', 'office', 'office', 'file:/etc/s.toml', NULL, :list)",
)
"""What a ledger of schema 0001 may hold; later schemas hold it too."""


def make_at(directory: Path, number: str) -> None:
    """A ledger as the version with that schema left it."""
    database = Database(directory / "ledger.db")
    with database.writing() as connection:
        migrations.upgrade(connection, number)
        listed = {"name": "office", "owner": "file:/etc/s.toml", "prefixes": ["203.0.113.0/24"]}
        for statement in OLDEST:
            given = {"document": json.dumps(DOCUMENT), "list": json.dumps(listed)}
            used = {key: value for key, value in given.items() if f":{key}" in statement}
            connection.execute(sa.text(statement), used)
    database.close()


def stamp(directory: Path) -> str:
    database = Database(directory / "ledger.db")
    with database.reading() as connection:
        found = connection.execute(sa.select(schema.version)).scalar_one()
    database.close()
    return str(found)


@pytest.mark.parametrize("number", schema.KNOWN)
def test_a_ledger_of_every_schema_opens_with_all_it_held(tmp_path: Path, number: str, context) -> None:
    make_at(tmp_path, number)
    assert stamp(tmp_path) == number
    for _ in range(2):  # the second time without a migration
        with closing(Ledger.open(tmp_path)) as ledger:
            assert [each.to_document() for each in ledger.snapshot] == [TODAY]
            assert ledger.snapshot.lists["office"][0].compressed == "203.0.113.0/24"
            (revision,) = ledger.history()
            assert (revision.at, revision.why) == (1_800_000_000.5, "for the game")
            assert [row.name for row in revision.rows] == ["minecraft", "office"]
            assert revision.rows[0].after == DOCUMENT
            assert ledger.load_usage() == {}
            assert (ledger.snapshot.gateway, dict(ledger.snapshot.bans)) == (None, {})
        assert stamp(tmp_path) == schema.HEAD


@pytest.mark.parametrize("number", schema.KNOWN)
def test_a_migrated_ledger_keeps_every_rule(tmp_path: Path, number: str, make, context) -> None:
    make_at(tmp_path, number)
    with closing(Ledger.open(tmp_path)) as ledger:
        with pytest.raises(Problem) as caught:
            ledger.commit([Made(Verb.OPEN, None, make(2, port=25565, on=Interface("wan0")))], context, 1.0)
        assert caught.value.facts["why"] == "two mappings claim one port"
        held = ledger.snapshot.get("m1")
        assert held is not None
        ledger.commit([Made(Verb.PAUSE, held, replace(held, paused=True))], context, 1.0)
        ledger.save_usage({"m1": Usage(bytes_in=1)})
        assert ledger.load_usage() == {"m1": Usage(bytes_in=1)}


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch) -> None:
    make_at(tmp_path, "0001")
    before = (tmp_path / "ledger.db").read_bytes()
    real = migrations.upgrade

    def fail_after(connection: sa.Connection) -> None:
        real(connection)
        connection.exec_driver_sql("INSERT INTO no_such_table VALUES (1)")

    monkeypatch.setattr(migrations, "upgrade", fail_after)
    with pytest.raises(Problem) as caught:
        Ledger.open(tmp_path)
    assert caught.value.code == "ledger-failed"
    assert stamp(tmp_path) == "0001"
    assert (tmp_path / "ledger.db").read_bytes() == before
    monkeypatch.undo()
    with closing(Ledger.open(tmp_path)) as ledger:
        assert len(ledger.snapshot) == 1


def test_an_undecodable_row_undoes_the_migration_before_the_file_is_kept(tmp_path: Path) -> None:
    make_at(tmp_path, "0001")
    database = Database(tmp_path / "ledger.db")
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE mappings SET document = '{}'")
    database.close()
    with pytest.raises(Problem) as caught:
        Ledger.open(tmp_path)
    assert caught.value.code == "ledger-corrupt"
    kept = Path(str(caught.value.facts["kept"]))
    kept.rename(tmp_path / "ledger.db")
    assert stamp(tmp_path) == "0001"


def test_it_says_nothing_and_leaves_logging_alone(tmp_path: Path) -> None:
    make_at(tmp_path, "0001")
    script = (
        "import sys; from pathlib import Path; from sekimori.ledger.store import Ledger; "
        "Ledger.open(Path(sys.argv[1])).close()"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert stamp(tmp_path) == schema.HEAD


def test_it_adds_no_handlers(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    make_at(tmp_path, "0001")
    Ledger.open(tmp_path).close()
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("number", schema.KNOWN)
def test_a_migrated_ledger_takes_what_is_new(tmp_path: Path, number: str, make, context) -> None:
    make_at(tmp_path, number)
    gateway = Gateway(owner=context.actor, found=(("net.ipv4.ip_forward", "0"),))
    ban = Ban(prefix=ip_network("198.51.100.0/24"), owner=context.actor, expires_at=2_000_000_000)
    with closing(Ledger.open(tmp_path)) as ledger:
        other = [
            Made(Verb.OPEN, None, make(number, on=Interface(f"wan{number}"), port=80)) for number in (2, 3)
        ]
        settings = [Made(Verb.GATEWAY, None, gateway), Made(Verb.BAN, None, ban)]
        ledger.commit([*other, *settings], context, 1.0)
    with closing(Ledger.open(tmp_path)) as ledger:
        assert (ledger.snapshot.gateway, dict(ledger.snapshot.bans)) == (gateway, {ban.prefix: ban})
        assert [str(mapping.on) for mapping in ledger.snapshot] == ["192.0.2.1", "wan2", "wan3"]


def test_the_document_of_these_tests_is_read_and_written_as_it_is_today() -> None:
    assert Mapping.from_document(DOCUMENT).to_document() == TODAY
