"""Where the epoch is written down, and the clocks that it is counted by."""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import Final

import structlog

from sekimori.doors.portmap.epoch import Epoch, Instant
from sekimori.host.writing import write_whole

__all__ = ["read_epoch", "read_instant", "write_epoch"]

_NAME: Final = "portmap-epoch.json"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger("portmap")


def read_instant() -> Instant:
    """Now.

    Raises:
        OSError: `/proc` is not there.
    """
    return Instant(_boot(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def read_epoch(directory: Path) -> Epoch | None:
    """The epoch as it was last written down; None where it was not, or cannot be read."""
    try:
        return Epoch.from_document(json.loads((directory / _NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("epoch_not_read", file=str(directory / _NAME), why=str(error))
        return None


def write_epoch(directory: Path, epoch: Epoch) -> None:
    """Write it down: the whole of it, or the old one stays.

    One that cannot be written is a line in the log: devices then ask for their mappings again after the next
    start, and lose nothing.
    """
    try:
        write_whole(directory / _NAME, json.dumps(epoch.to_document()).encode())
    except OSError as error:
        _log.warning("epoch_not_written", file=str(directory / _NAME), why=str(error))


@cache
def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()
