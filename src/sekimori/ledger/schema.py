"""The tables, and the rules that the database itself holds.

That no two mappings claim one port, and that the journal only grows, are
constraints of the database: triggers on SQLite, an exclusion constraint and a
trigger on PostgreSQL. Policy answers first and in words; these are what is left
when a program errs.

This is the newest schema, made at once for a new ledger. `migrations` leads every
older one to the same place, and a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event

from sekimori.ledger.version import HEAD, KNOWN

__all__ = [
    "HEAD",
    "KNOWN",
    "POSTGRESQL_RULES",
    "SQLITE_RULES",
    "WIDE_SPAN",
    "claims",
    "create",
    "journal",
    "lists",
    "mappings",
    "metadata",
    "revisions",
    "settings",
    "usage",
    "version",
]

WIDE_SPAN: Final = 63
"""Claims of more ports than this plus one are looked up by a short index of their own.

A claim that overlaps ports `first` to `last` begins at most one span before
`first`: with a bound on the span an index on `first` finds it in a few rows, where
without one it would read half the table for every insert.
"""

metadata = sa.MetaData()

version = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

mappings = sa.Table(
    "mappings",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
sa.Index("mappings_name", sa.func.lower(mappings.c.name), unique=True)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("mapping_id", sa.Text, sa.ForeignKey("mappings.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("protocol", sa.Text, nullable=False),
    # Canonical; '' is all addresses of both families, those of one interface where that is named.
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("family", sa.Integer, nullable=False),  # 4, 6, or 0 for both
    sa.Column("first", sa.Integer, nullable=False),
    sa.Column("last", sa.Integer, nullable=False),
    sa.Column("interface", sa.Text, nullable=False, server_default=""),  # '' is none
    sa.CheckConstraint("first >= 1 AND last <= 65535 AND first <= last", name="claims_ports"),
    sa.CheckConstraint("(family = 0) = (address = '') AND family IN (0, 4, 6)", name="claims_family"),
    sa.CheckConstraint("interface = '' OR family = 0", name="claims_interface"),
)
sa.Index("claims_first", claims.c.protocol, claims.c.first)
_wide = claims.c.last - claims.c.first > sa.text(str(WIDE_SPAN))
sa.Index("claims_wide", claims.c.protocol, sqlite_where=_wide, postgresql_where=_wide)

lists = sa.Table(
    "lists",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("prefixes", sa.Text, nullable=False),  # a JSON array
)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),  # of `model.decision.kind_of`, or of `ledger.reading`
    sa.Column("key", sa.Text, primary_key=True),  # a ban's prefix (`key_of`), a pending revision's number
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("document", sa.Text, nullable=False),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("revision", sa.BigInteger, sa.ForeignKey("revisions.number"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),  # 'mapping', 'list', 'gateway' or 'ban'
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
)
sa.Index("journal_subject", journal.c.subject_id, journal.c.revision)
sa.Index("journal_name", sa.func.lower(journal.c.name), journal.c.revision)

usage = sa.Table(
    "usage",
    metadata,
    # No foreign key: a change replaces its mapping's row, and the counts must outlast that.
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("bytes_in", sa.BigInteger, nullable=False),
    sa.Column("bytes_out", sa.BigInteger, nullable=False),
    sa.Column("packets_in", sa.BigInteger, nullable=False),
    sa.Column("packets_out", sa.BigInteger, nullable=False),
    sa.Column("flows_total", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("last_flow_at", sa.Double),
)

_RIVAL = """
        c.protocol = NEW.protocol AND c.mapping_id <> NEW.mapping_id
        AND c.first <= NEW.last AND c.last >= NEW.first
        AND (c.interface = '' OR NEW.interface = '' OR c.interface = NEW.interface)
        AND (c.family = 0 OR NEW.family = 0 OR c.family = NEW.family AND (
            c.address = NEW.address
            OR c.address IN ('0.0.0.0', '::') OR NEW.address IN ('0.0.0.0', '::')))"""
"""The rule of `Claim.overlaps`, for a row `c` against NEW."""

_NO_RIVAL = f"""
    SELECT RAISE(ABORT, 'two mappings claim one port') WHERE EXISTS (
        SELECT 1 FROM claims AS c INDEXED BY claims_first
        WHERE c.first >= NEW.first - {WIDE_SPAN} AND {_RIVAL}
    ) OR EXISTS (
        SELECT 1 FROM claims AS c INDEXED BY claims_wide
        WHERE c.last - c.first > {WIDE_SPAN} AND {_RIVAL}
    );"""  # noqa: S608 - constants of this module only

SQLITE_RULES: Final = (
    f"CREATE TRIGGER claims_insert BEFORE INSERT ON claims BEGIN {_NO_RIVAL} END",
    f"CREATE TRIGGER claims_update BEFORE UPDATE ON claims BEGIN {_NO_RIVAL} END",
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
        "SELECT RAISE(ABORT, 'the journal only grows'); END"
        for table in ("revisions", "journal")
        for verb in ("UPDATE", "DELETE")
    ),
)
"""What SQLite must hold beyond the tables."""

_HOST: Final = "split_part(address, chr(37), 1)::inet"  # without an IPv6 zone; 37 is '%', which drivers read
_NET4: Final = f"(CASE WHEN address IN ('', '0.0.0.0') THEN '0.0.0.0/0'::inet ELSE {_HOST} END)"
_NET6: Final = f"(CASE WHEN address IN ('', '::') THEN '::/0'::inet ELSE {_HOST} END)"
_INTERFACES: Final = (
    "(CASE WHEN interface = '' THEN interface_range(NULL, NULL) "
    "ELSE interface_range(interface, interface, '[]') END)"
)
"""One interface, or all of them: a range, because ranges are what PostgreSQL can exclude by overlap."""

POSTGRESQL_RULES: Final = (
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    'CREATE TYPE interface_range AS RANGE (subtype = text, collation = "C")',
    *(
        f"ALTER TABLE claims ADD CONSTRAINT claims_apart_{family} EXCLUDE USING gist ("
        "protocol WITH =, mapping_id WITH <>, int4range(first, last, '[]') WITH &&, "
        f"{net} inet_ops WITH &&, {_INTERFACES} WITH &&) WHERE (family IN (0, {family}))"
        for family, net in ((4, _NET4), (6, _NET6))
    ),
    "CREATE FUNCTION journal_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the journal only grows'; END $$",
    *(
        f"CREATE TRIGGER {table}_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_only_grows()"
        for table in ("revisions", "journal")
    ),
)
"""What PostgreSQL (13 or later) must hold beyond the tables."""


def create(connection: sa.Connection) -> None:
    """Make the newest schema in an empty database and stamp it. The caller commits."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(version.insert().values(version_num=HEAD))


@event.listens_for(metadata, "after_create")
def _add_rules(_target: sa.MetaData, connection: sa.Connection, **_options: Any) -> None:
    rules = POSTGRESQL_RULES if connection.dialect.name == "postgresql" else SQLITE_RULES
    for statement in rules:
        connection.exec_driver_sql(statement)
