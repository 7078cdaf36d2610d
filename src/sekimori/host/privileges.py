"""What a process of its own gives up before it meets strangers, and how the kernel is told of it."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ["become", "hide_memory", "name_process", "parse_user"]

# prctl(2)
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38


def parse_user(text: str) -> tuple[int, int]:
    """Read `UID:GID`.

    Raises:
        ValueError: it is not two numbers.
    """
    uid, gid = text.split(":")
    return int(uid), int(gid)


def become(uid: int, gid: int) -> None:
    """Be that user and nobody else, for good: no other groups, and no way to gain privileges by execve(2).

    Whatever is imported later must lie where that user may read it; modules in root's home do not.

    Raises:
        OSError: it may not, or the kernel cannot.
    """
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory, and cores from being written."""
    _prctl(_PR_SET_DUMPABLE, 0)


def name_process(name: str) -> None:
    """How `ps` tells of this process; the kernel keeps 15 bytes of it."""
    _prctl(_PR_SET_NAME, name.encode())


def _prctl(option: int, value: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
