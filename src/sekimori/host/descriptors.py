"""How many descriptors this process may have."""

from __future__ import annotations

import resource
from contextlib import suppress

__all__ = ["raise_descriptors"]


def raise_descriptors() -> None:
    """Take as many as are allowed: each flow keeps one, and sockets are passed on by the hundred."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then the soft limit serves, with fewer at one time
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
