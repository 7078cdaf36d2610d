"""The first ledger: mappings with their claims, lists, and the journal.

A migration never changes once it is released, so it shares nothing with `schema`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From nothing."""
    _make_standing()
    _make_journal()
    rules = _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE
    for statement in rules:
        op.execute(statement)


def _make_standing() -> None:
    op.create_table(
        "mappings",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("mappings_name", "mappings", [sa.text("lower(name)")], unique=True)
    op.create_table(
        "claims",
        sa.Column("mapping_id", sa.Text, sa.ForeignKey("mappings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("family", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.CheckConstraint("first >= 1 AND last <= 65535 AND first <= last", name="claims_ports"),
        sa.CheckConstraint("(family = 0) = (address = '') AND family IN (0, 4, 6)", name="claims_family"),
    )
    op.create_index("claims_first", "claims", ["protocol", "first"])
    wide = sa.text("last - first > 63")
    op.create_index("claims_wide", "claims", ["protocol"], sqlite_where=wide, postgresql_where=wide)
    op.create_table(
        "lists",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("prefixes", sa.Text, nullable=False),
    )


def _make_journal() -> None:
    op.create_table(
        "revisions",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("door", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("revision", sa.BigInteger, sa.ForeignKey("revisions.number"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
    )
    op.create_index("journal_subject", "journal", ["subject_id", "revision"])
    op.create_index("journal_name", "journal", [sa.text("lower(name)"), "revision"])


_RIVAL = """
        c.protocol = NEW.protocol AND c.mapping_id <> NEW.mapping_id
        AND c.first <= NEW.last AND c.last >= NEW.first
        AND (c.family = 0 OR NEW.family = 0 OR c.family = NEW.family AND (
            c.address = NEW.address
            OR c.address IN ('0.0.0.0', '::') OR NEW.address IN ('0.0.0.0', '::')))"""

_NO_RIVAL = f"""
    SELECT RAISE(ABORT, 'two mappings claim one port') WHERE EXISTS (
        SELECT 1 FROM claims AS c INDEXED BY claims_first
        WHERE c.first >= NEW.first - 63 AND {_RIVAL}
    ) OR EXISTS (
        SELECT 1 FROM claims AS c INDEXED BY claims_wide
        WHERE c.last - c.first > 63 AND {_RIVAL}
    );"""  # noqa: S608 - constants of this module only

_SQLITE = (
    f"CREATE TRIGGER claims_insert BEFORE INSERT ON claims BEGIN {_NO_RIVAL} END",
    f"CREATE TRIGGER claims_update BEFORE UPDATE ON claims BEGIN {_NO_RIVAL} END",
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
        "SELECT RAISE(ABORT, 'the journal only grows'); END"
        for table in ("revisions", "journal")
        for verb in ("UPDATE", "DELETE")
    ),
)

_HOST = "split_part(address, chr(37), 1)::inet"  # without an IPv6 zone; 37 is '%', which drivers read
_NET4 = f"(CASE WHEN address IN ('', '0.0.0.0') THEN '0.0.0.0/0'::inet ELSE {_HOST} END)"
_NET6 = f"(CASE WHEN address IN ('', '::') THEN '::/0'::inet ELSE {_HOST} END)"

_POSTGRESQL = (
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    *(
        f"ALTER TABLE claims ADD CONSTRAINT claims_apart_{family} EXCLUDE USING gist ("
        "protocol WITH =, mapping_id WITH <>, int4range(first, last, '[]') WITH &&, "
        f"{net} inet_ops WITH &&) WHERE (family IN (0, {family}))"
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
