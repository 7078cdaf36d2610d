"""Which kernel this is."""

from __future__ import annotations

import os
import re

__all__ = ["kernel_at_least"]


def kernel_at_least(major: int, minor: int) -> bool:
    """Whether the running kernel is of this version or a later one (uname(2))."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (major, minor)
