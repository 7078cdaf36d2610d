"""The one writer: every commit to the ledger, one at a time, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sekimori.ledger.store import Ledger
from sekimori.model.decision import Made
from sekimori.model.events import Committed, Event
from sekimori.model.pending import Unconfirmed
from sekimori.model.request import Context

__all__ = ["Writer"]


class Writer:
    """Commits decisions. Hold `turn` from the decision to its commit, so that nothing comes between.

    Events are published only after the commit.
    """

    def __init__(self, ledger: Ledger, publish: Callable[[Event], None]) -> None:
        self.ledger = ledger
        self.turn = asyncio.Lock()
        self._publish = publish
        # One thread: SQLite has one writer, and a slow disk must not stop the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    async def commit(
        self,
        changes: Sequence[Made],
        context: Context,
        at: float,
        within: int | None = None,
        settles: Sequence[int] = (),
        unconfirmed: Sequence[Unconfirmed] = (),
    ) -> Committed:
        """Write one revision (`Ledger.write`). The caller holds `turn`.

        Once begun, a commit is finished and told with the turn still held, whatever becomes of who
        asked: else the next decision would be made on a state about to be replaced.

        Raises:
            Problem: `disk-full` or `ledger-failed`; nothing was changed.
            asyncio.CancelledError: who asked went away; the commit stands all the same.
        """
        assert self.turn.locked()
        loop = asyncio.get_running_loop()
        asked = (changes, context, at, within, settles, unconfirmed)
        writing = loop.run_in_executor(self._thread, self.ledger.write, *asked)
        cancelled = await _to_its_end(writing)
        committed = writing.result()
        # Here and not in the thread: readers on the loop go through the snapshot without a lock.
        self.ledger.take(committed)
        self._publish(committed)
        if cancelled is not None:
            raise cancelled
        return committed

    async def settle(self, numbers: Sequence[int], unconfirmed: Sequence[Unconfirmed] = ()) -> None:
        """Have revisions wait for no confirmation any more (`Ledger.settle`). The caller holds `turn`.

        Raises:
            Problem, asyncio.CancelledError: as `commit`.
        """
        assert self.turn.locked()
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._thread, self.ledger.settle, numbers, unconfirmed)
        cancelled = await _to_its_end(writing)
        writing.result()
        self.ledger.forget(numbers, unconfirmed)
        if cancelled is not None:
            raise cancelled

    def tell(self, event: Event) -> None:
        """Publish something that is no commit."""
        self._publish(event)

    def close(self) -> None:
        """Wait for a commit under way and let the thread go."""
        self._thread.shutdown(wait=True)


async def _to_its_end(work: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until work is done, whatever becomes of who asked; their cancellation, if one came."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
