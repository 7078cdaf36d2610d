"""What users carry to destinations, as the door's process tells it, and who keeps their quotas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

__all__ = ["Accounts", "Tally"]


class Accounts(Protocol):
    """Who keeps the quotas, as the door sees them."""

    def carried(self, user: str, count: int) -> None:
        """A user has carried so many bytes more through channels to destinations."""
        ...

    def used_up(self) -> Collection[str]:
        """The users who have used up their quota, of the period that is now."""
        ...


class Tally:
    """Makes additions of the totals that sessions tell of themselves, each of which begins at nothing."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._last: dict[int, int] = {}

    def told(self, row: Mapping[str, Any]) -> None:
        """A session's figures: `session`, `user`, `bytes_in` and `bytes_out`."""
        number, total = int(row["session"]), int(row["bytes_in"]) + int(row["bytes_out"])
        more = total - self._last.get(number, 0)
        self._last[number] = total
        if more > 0:
            self._accounts.carried(str(row["user"]), more)

    def gone(self, row: Mapping[str, Any]) -> None:
        """A session's last figures."""
        self.told(row)
        del self._last[int(row["session"])]

    def clear(self) -> None:
        """There are no sessions any more."""
        self._last.clear()
