"""The log of every process of this program: lines on standard error."""

from __future__ import annotations

import os
import sys

import structlog

__all__ = ["configure_log"]


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
