"""Writing a file so that, whatever happens meanwhile, it is the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in the place of the one that is there, once all of it is on the disk.

    It is written beside it first, under its name with `.new` behind.

    Raises:
        OSError: it could not be written; the old one is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # one that was left behind may have another
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
