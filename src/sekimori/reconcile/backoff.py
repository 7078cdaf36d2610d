"""When to try again what failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["Backoff"]

_FIRST: Final = 1.0
_LONGEST: Final = 30.0


@dataclass(slots=True)
class Backoff:
    """Doubling delays by key, from 1 s to 30 s."""

    _delays: dict[str, float] = field(default_factory=dict)

    def failed(self, key: str) -> float:
        """Seconds to wait before the next try of `key`."""
        delay = min(self._delays.get(key, _FIRST / 2) * 2, _LONGEST)
        self._delays[key] = delay
        return delay

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        self._delays.pop(key, None)
