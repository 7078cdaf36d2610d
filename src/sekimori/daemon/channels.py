"""How much users of the SSH door have sent through it to destinations, sessions that ended included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from sekimori.model.linkfacts import SshSession

__all__ = ["ChannelBytes"]

_Session = tuple[str, str, int, float]
"""User, address, port, and since when: no other has all four."""


class ChannelBytes:
    """Adds up what sessions tell of themselves, each of which begins at nothing.

    Args:
        sessions: who is connected now.
    """

    def __init__(self, sessions: Callable[[], Sequence[SshSession]]) -> None:
        self._sessions = sessions
        self._last: dict[_Session, int] = {}
        self._ended: Counter[str] = Counter()

    def read(self) -> Mapping[str, int]:
        """Bytes by user, either way, since this was made; what a session sent after the look before its end
        is not known.
        """
        now = {
            (each.user, each.address, each.port, each.since): each.bytes_in + each.bytes_out
            for each in self._sessions()
        }
        for session in self._last.keys() - now.keys():
            self._ended[session[0]] += self._last[session]
        self._last = now
        total = Counter(self._ended)
        for session, count in now.items():
            total[session[0]] += count
        return total
