"""What this process is to the system: its log, its descriptors, its directories, and its last words."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from sekimori.model.errors import Problem

__all__ = ["make_private", "print_problem", "wait_for_stdin"]


def make_private(directory: Path) -> None:
    """Make a directory that only we can enter, where it is not there.

    Raises:
        Problem: `state-unusable`.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        why = f"{directory.name}: {error.strerror}"
        raise Problem("state-unusable", directory=str(directory.parent), why=why) from None


async def wait_for_stdin(ended: asyncio.Event) -> None:
    """Set an event when standard input ends."""
    # A thread, for standard input may be what epoll refuses: a file, or /dev/null.
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def read() -> None:
        while os.read(0, 4096):
            pass
        with suppress(RuntimeError):  # the loop has ended first
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    await over.wait()
    ended.set()


def print_problem(problem: Problem, language: str) -> None:
    """Tell why nothing goes on, and what to do."""
    sys.stderr.write(f"sekimori: {problem.title(language)}\n")
    fix = problem.fix(language)
    if fix:
        sys.stderr.write(f"  {fix}\n")
