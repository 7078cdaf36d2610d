"""Migrations: from every schema ever released to the newest, in the caller's transaction."""

from __future__ import annotations

import io
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

__all__ = ["settings", "upgrade"]


def settings(connection: sa.Connection | None = None) -> Config:
    """Alembic's settings, without an ini file and without talk on stdout."""
    config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
    # '%' begins an interpolation in Alembic's settings, and a directory may hold one.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Bring the database to a schema. The caller commits: all steps take effect, or none."""
    command.upgrade(settings(connection), to)
