"""Which schemas there are, for whoever need not load what a schema is made with."""

from __future__ import annotations

from typing import Final

__all__ = ["HEAD", "KNOWN"]

KNOWN: Final = ("0001", "0002", "0003")
"""Every schema this version can read, oldest first (the ids in `migrations/versions`)."""

HEAD: Final = KNOWN[-1]
"""The schema this version writes. A ledger stamped with it opens without loading Alembic or SQLAlchemy."""
