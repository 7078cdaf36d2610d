"""How much users of the SSH door have sent through it to destinations, sessions that ended included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

__all__ = ["ChannelBytes"]


class ChannelBytes:
    """Adds up what the door tells, as it is carried and once more when a session ends.

    It outlasts the door and its process. Lost is only what a process carried after it last told, which it
    does every second: where it was killed, or ended because the door was shut or set anew.
    """

    def __init__(self) -> None:
        self._carried: Counter[str] = Counter()

    def add(self, user: str, count: int) -> None:
        """A user has carried so many bytes more, either way."""
        self._carried[user] += count

    def read(self) -> Mapping[str, int]:
        """Bytes by user, either way, since this was made."""
        return Counter(self._carried)
