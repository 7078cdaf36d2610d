"""What Alembic runs around the migrations."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # The caller's transaction holds all steps (SQLite's DDL is transactional too).
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
