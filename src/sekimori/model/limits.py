"""How much may come in: rates of new flows and a cap on open ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sekimori.model.causes import cause
from sekimori.model.errors import Problem

__all__ = ["Limits", "Rate"]

_UNITS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_NAMES: Final = {1: "s", 60: "min", 3600: "hour", 86400: "day"}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` new flows in any `seconds`."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `20/min`.

        Raises:
            Problem: `bad-rate`.
        """
        match = re.fullmatch(r"(\d{1,9})\s*/\s*([a-z]+)", text.strip().lower())
        if match is None or match[2] not in _UNITS:
            raise Problem("bad-rate", text=text, why=cause("not-a-rate"))
        if int(match[1]) == 0:
            raise Problem("bad-rate", text=text, why=cause("rate-zero"))
        return cls(int(match[1]), _UNITS[match[2]])

    def __str__(self) -> str:
        return f"{self.count}/{_NAMES[self.seconds]}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps on one mapping; None is no cap."""

    per_source: Rate | None = None
    total: Rate | None = None
    connections: int | None = None
