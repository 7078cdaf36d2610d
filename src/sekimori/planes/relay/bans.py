"""Who may not come in by any mapping of this worker, and until when. Apart from sockets and clocks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sekimori.planes.relay.admission import PrefixSet

__all__ = ["Ban", "Bans"]

Ban = tuple[str, float | None]
"""A prefix, and the Unix second at which its ban ends (None: when it is lifted)."""


class Bans:
    """The bans of a worker, one for all its mappings. They end by themselves, daemon or no daemon."""

    __slots__ = ("_bans", "_next", "_prefixes", "any")

    def __init__(self) -> None:
        self.any = False
        """Whether anybody is banned; read before every `hold`, which costs more."""
        self._bans: tuple[Ban, ...] = ()
        self._prefixes = PrefixSet(())
        self._next = math.inf

    def set(self, bans: Iterable[Ban]) -> None:
        """Go by exactly these from now on.

        Raises:
            ValueError: one of them is of no prefix; nothing has changed then.
        """
        self._take(tuple(bans))

    def hold(self, source: str, wall: float) -> bool:
        """Whether a `plain` address is banned at `wall` (Unix seconds)."""
        if wall >= self._next:
            self._take(tuple((prefix, end) for prefix, end in self._bans if end is None or wall < end))
        return source in self._prefixes

    def _take(self, bans: tuple[Ban, ...]) -> None:
        self._prefixes = PrefixSet(prefix for prefix, _ in bans)
        self._bans = bans
        self._next = min((end for _, end in bans if end is not None), default=math.inf)
        self.any = bool(bans)
