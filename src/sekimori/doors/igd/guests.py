"""Who may be connected: so many altogether, and so many of each, so that nobody keeps the others out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Final

__all__ = ["Guests"]

_ALTOGETHER: Final = 64
_EACH: Final = 8


class Guests:
    """Counts connections.

    Args:
        altogether: the most there may be.
        each: the most of one guest.
    """

    def __init__(self, altogether: int = _ALTOGETHER, each: int = _EACH) -> None:
        self._altogether = altogether
        self._each = each
        self._here: Counter[Hashable] = Counter()

    @contextlib.contextmanager
    def seat(self, guest: Hashable, *, more: bool = True) -> Iterator[bool]:
        """Whether one more connection of a guest may be; it counts for the length of the block.

        Args:
            guest: whose it is.
            more: whether it is another connection, or one that is counted already for another guest: a
                device by its address first, and then by what it is.
        """
        full = self._here[guest] >= self._each or (more and self._here[None] >= self._altogether)
        keys = () if full else (guest, None) if more else (guest,)
        self._here.update(keys)
        try:
            yield not full
        finally:
            self._here.subtract(keys)
            if not self._here[guest]:
                del self._here[guest]

    def __len__(self) -> int:
        """How many connections there are."""
        return self._here[None]
