"""What doors see of the gate. In process it is `LocalGate`; across the socket it is the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sekimori.gate.confirm import Waiting
from sekimori.model.decision import Made, Notice
from sekimori.model.events import Committed
from sekimori.model.lifetime import Lifetime
from sekimori.model.pending import Pending
from sekimori.model.request import Ask, Context

__all__ = ["Gate", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking.

    Attributes:
        planned: True for a dry run: nothing was changed.
        committed: the revision written; None for a dry run, or when there was nothing to change.
        changes: what changed, or would.
        notices: what the asker should know.
        confirm_within: seconds in which it must be confirmed, or would have to be; None is not at all.
    """

    planned: bool
    committed: Committed | None
    changes: tuple[Made, ...]
    notices: tuple[Notice, ...] = ()
    confirm_within: int | None = None

    @property
    def pending(self) -> Pending | None:
        """Until when what was done must be confirmed, or it is taken back."""
        return None if self.committed is None else self.committed.pending


class Gate(Protocol):
    """The four asks (submit, change, renew, close; and lists to define), and their dry run."""

    async def enact(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """Do all of `asks` as one revision, and see them applied; or none of them.

        Raises:
            Problem: why not. Nothing was changed.
        """
        ...

    async def explain(self, asks: Sequence[Ask], context: Context) -> Outcome:
        """What `enact` would do, by the same steps, without doing it.

        Raises:
            Problem: what `enact` would raise.
        """
        ...

    async def undo(
        self, revision: int | None, context: Context, *, lifetime: Lifetime | None = None, plan: bool = False
    ) -> Outcome:
        """Take a revision back (None is the newest that changed anything), as a new one.

        Raises:
            Problem: `no-such-revision`, `changed-since`, `already-closed`, `already-expired`, or
                what policy says of the terms today.
        """
        ...

    async def confirm(self, context: Context) -> tuple[Pending, ...]:
        """Let stand what waits for this actor to show, by a new connection, that they were not cut off.

        Raises:
            Problem: `nothing-to-confirm`, or `confirm-same-connection`.
        """
        ...

    @property
    def waiting(self) -> Waiting:
        """What waits to be confirmed, and how the latest waits ended."""
        ...
