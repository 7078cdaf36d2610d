"""Totals of what went through each mapping."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; every mapping begins without totals."""
    op.create_table(
        "usage",
        sa.Column("mapping_id", sa.Text, primary_key=True),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("packets_in", sa.BigInteger, nullable=False),
        sa.Column("packets_out", sa.BigInteger, nullable=False),
        sa.Column("flows_total", sa.BigInteger, nullable=False),
        sa.Column("refused", sa.BigInteger, nullable=False),
        sa.Column("last_flow_at", sa.Double),
    )
