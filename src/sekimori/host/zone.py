"""The system's time zone, by its IANA name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sekimori.model.errors import Problem
from sekimori.model.schedule import load_zone

__all__ = ["local_zone"]


def local_zone(root: Path = Path("/")) -> str:
    """The zone that `TZ`, `/etc/timezone` or `/etc/localtime` names; UTC where none does."""
    for key in _candidates(root):
        try:
            load_zone(key)
        except Problem:
            continue
        return key
    return "UTC"


def _candidates(root: Path) -> Iterator[str]:
    named = os.environ.get("TZ", "").removeprefix(":")
    if named:
        yield named
    timezone = root / "etc/timezone"
    if timezone.is_file():
        yield timezone.read_text(encoding="ascii", errors="replace").strip()
    localtime = root / "etc/localtime"
    if localtime.is_symlink():
        _, found, key = str(localtime.readlink()).partition("zoneinfo/")
        if found:
            yield key
