"""Claims of interfaces; and the settings of the whole machine: the gateway, and bans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No claim so far was of an interface, and no setting was made."""
    op.create_table(
        "settings",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("document", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        _upgrade_postgresql()
    else:
        _upgrade_sqlite()


def _upgrade_postgresql() -> None:
    op.add_column("claims", sa.Column("interface", sa.Text, nullable=False, server_default=""))
    op.create_check_constraint("claims_interface", "claims", "interface = '' OR family = 0")
    for statement in _POSTGRESQL:
        op.execute(statement)


def _upgrade_sqlite() -> None:
    # SQLite adds no constraint to a table that is there. Its indexes and triggers go with the old one.
    op.execute("CREATE TEMPORARY TABLE old_claims AS SELECT * FROM claims")
    op.drop_table("claims")
    _make_claims()
    columns = "mapping_id, position, protocol, address, family, first, last"
    op.execute(f"INSERT INTO claims ({columns}) SELECT {columns} FROM old_claims")  # noqa: S608 - constants
    op.execute("DROP TABLE old_claims")
    op.create_index("claims_first", "claims", ["protocol", "first"])
    op.create_index("claims_wide", "claims", ["protocol"], sqlite_where=sa.text("last - first > 63"))
    for statement in _SQLITE:
        op.execute(statement)


def _make_claims() -> None:
    op.create_table(
        "claims",
        sa.Column("mapping_id", sa.Text, sa.ForeignKey("mappings.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("family", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("interface", sa.Text, nullable=False, server_default=""),
        sa.CheckConstraint("first >= 1 AND last <= 65535 AND first <= last", name="claims_ports"),
        sa.CheckConstraint("(family = 0) = (address = '') AND family IN (0, 4, 6)", name="claims_family"),
        sa.CheckConstraint("interface = '' OR family = 0", name="claims_interface"),
    )


_RIVAL = """
        c.protocol = NEW.protocol AND c.mapping_id <> NEW.mapping_id
        AND c.first <= NEW.last AND c.last >= NEW.first
        AND (c.interface = '' OR NEW.interface = '' OR c.interface = NEW.interface)
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
)

_HOST = "split_part(address, chr(37), 1)::inet"  # without an IPv6 zone; 37 is '%', which drivers read
_NET4 = f"(CASE WHEN address IN ('', '0.0.0.0') THEN '0.0.0.0/0'::inet ELSE {_HOST} END)"
_NET6 = f"(CASE WHEN address IN ('', '::') THEN '::/0'::inet ELSE {_HOST} END)"
_INTERFACES = (
    "(CASE WHEN interface = '' THEN interface_range(NULL, NULL) "
    "ELSE interface_range(interface, interface, '[]') END)"
)

_POSTGRESQL = (
    'CREATE TYPE interface_range AS RANGE (subtype = text, collation = "C")',
    *(f"ALTER TABLE claims DROP CONSTRAINT claims_apart_{family}" for family in (4, 6)),
    *(
        f"ALTER TABLE claims ADD CONSTRAINT claims_apart_{family} EXCLUDE USING gist ("
        "protocol WITH =, mapping_id WITH <>, int4range(first, last, '[]') WITH &&, "
        f"{net} inet_ops WITH &&, {_INTERFACES} WITH &&) WHERE (family IN (0, {family}))"
        for family, net in ((4, _NET4), (6, _NET6))
    ),
)
