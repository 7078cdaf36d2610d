"""What every decoder of strangers' bytes raises, and nothing else."""

from __future__ import annotations

__all__ = ["BadPacket"]


class BadPacket(ValueError):  # noqa: N818 - the name that every codec here is written against
    """These bytes are not what the protocol allows."""
