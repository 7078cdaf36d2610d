"""What this process is to the system: its log, its descriptors, its directories, and its last words."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from sekimori.model.errors import Problem

__all__ = ["configure_log", "make_private", "print_problem", "raise_descriptors"]


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


def raise_descriptors() -> None:
    """Sockets pass through this process by the hundred on their way to the workers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then the soft limit serves, with smaller mappings
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def print_problem(problem: Problem, language: str) -> None:
    """Tell why nothing goes on, and what to do."""
    sys.stderr.write(f"sekimori: {problem.title(language)}\n")
    fix = problem.fix(language)
    if fix:
        sys.stderr.write(f"  {fix}\n")


def configure_log() -> None:
    """Log to standard error, a line for each event, from the level that `SEKIMORI_LOG` names."""
    level = os.environ.get("SEKIMORI_LOG", "info").lower()
    names = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(names.get(level, 20)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
