"""By which connection whoever asks came to this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["find_caller"]

_VARIABLE: Final = "SSH_CONNECTION"
_PROC: Final = Path("/proc")


def find_caller(environ: Mapping[str, str], pid: int | None = None, proc: Path = _PROC) -> str | None:
    """What sshd wrote into SSH_CONNECTION (ssh(1)) when whoever asks logged in; None where nobody did.

    `sudo` and `su -` take it out of the environment, so the processes above this one are asked too, as far
    as they may be read: root may read all. Where the variable is set to nothing, nobody is asked.

    Args:
        environ: of this process.
        pid: where to begin; None is the parent of this process.
        proc: where procfs is mounted.
    """
    if _VARIABLE in environ:
        return environ[_VARIABLE] or None
    for above in _ancestors(os.getppid() if pid is None else pid, proc):
        try:
            block = (proc / str(above) / "environ").read_bytes()
        except OSError:  # another user's, or gone by now
            continue
        for line in block.split(b"\0"):
            name, _, value = line.partition(b"=")
            if name == _VARIABLE.encode() and value:
                return value.decode("ascii", "replace")
    return None


def _ancestors(pid: int, proc: Path) -> Iterator[int]:
    """A process and those above it, but for the first of all."""
    seen = set[int]()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        yield pid
        pid = _parent(pid, proc)


def _parent(pid: int, proc: Path) -> int:
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return 0
    # The name stands in brackets and may hold any of them itself (proc(5)).
    fields = text.rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0
