"""The state directory: made private, and held by one daemon at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from sekimori.model.causes import os_cause
from sekimori.model.errors import Problem

__all__ = ["hold_state"]

_MODE: Final = 0o700


def hold_state(directory: Path) -> int:
    """Make the directory where it is missing, and lock it for this process.

    The lock is the kernel's (flock on `lock`), so it ends with the process, however that ends.

    Returns:
        The descriptor that holds the lock; it stays open as long as the lock is wanted.

    Raises:
        Problem: `state-unusable` or `state-in-use`.
    """
    try:
        directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem("state-unusable", directory=str(directory), why=os_cause(error)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Problem("state-in-use", directory=str(directory), pid=pid) from None
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # a full disk: the lock holds all the same, only its holder's number is not told
        os.ftruncate(fd, 0)
    return fd
