"""Things that are said seldom, however often there is cause."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

__all__ = ["Seldom"]

_MOST: Final = 1024


class Seldom:
    """Whether a thing was not said for a while. Remembers so many things, those said last.

    Args:
        every: seconds that it stays said.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def is_due(self, thing: Hashable, now: float) -> bool:
        """Whether to say it now; if so, it counts as said."""
        said = self._said.get(thing)
        if said is not None and 0 <= now - said < self._every:
            return False
        self._said[thing] = now
        self._said.move_to_end(thing)
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
        return True
