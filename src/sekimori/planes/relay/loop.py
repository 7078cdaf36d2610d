"""The worker's event loop: one epoll, a table of handlers, coarse timers.

asyncio costs a relay four times what an epoll table does (measured: DESIGN.md §4),
so the data path runs on this. Handlers get epoll's event mask as a *hint*: a
descriptor closed and reused within one batch may deliver a stale mask, so a
handler must take the word of the system call it makes, not of the mask.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["BATCH", "Handler", "Loop", "Timer"]

BATCH: Final = 512
"""Most events taken from the kernel in one turn."""


class Handler(Protocol):
    """What a registered descriptor belongs to."""

    def on_event(self, events: int) -> None:
        """React to an epoll event mask (a hint, see the module's text)."""


class Timer:
    """One call at one moment; `cancel` makes it not happen."""

    __slots__ = ("action", "when")

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Forget the call. The heap drops the husk when its time comes."""
        self.action = None


class Loop:
    """Runs handlers and timers until `stop`.

    `now` is the monotonic clock in seconds, read once a turn: precise enough for
    timeouts, and free for the hot path.
    """

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.on_fault: Callable[[object], None] | None = None
        """Called from an except block with the handler or action that raised; None lets it end `run`."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], None]] = deque()
        self._running = False

    def register(self, fd: int, events: int, handler: Handler) -> None:
        """Deliver `events` (an epoll mask) of `fd` to `handler`."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, fd: int, events: int) -> None:
        """Change the mask of a registered descriptor (0 pauses it)."""
        self._epoll.modify(fd, events)

    def replace(self, fd: int, handler: Handler) -> None:
        """Deliver the events of a registered descriptor to another handler."""
        self._handlers[fd] = handler

    def unregister(self, fd: int) -> None:
        """Forget `fd`. Call it before closing the descriptor."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """Like `unregister`, for a descriptor closed next: the kernel drops it at close.

        Only for descriptors that no other process shares, else the kernel keeps them.
        """
        self._handlers.pop(fd, None)

    def soon(self, action: Callable[[], None]) -> None:
        """Run `action` in the next turn: how a busy flow gives way to the others."""
        self._soon.append(action)

    def call_at(self, when: float, action: Callable[[], None]) -> Timer:
        """Run `action` at `when` (in the scale of `now`)."""
        timer = Timer(when, action)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def call_later(self, delay: float, action: Callable[[], None]) -> Timer:
        """Run `action` after `delay` seconds."""
        return self.call_at(self.now + delay, action)

    def stop(self) -> None:
        """End `run` after the present turn."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        handlers = self._handlers
        poll = self._epoll.poll
        while self._running:
            events = poll(self._timeout(), BATCH)
            self.now = time.monotonic()
            for fd, mask in events:
                handler = handlers.get(fd)
                if handler is not None:
                    # One flow's fault must not lose the events of the others in this batch.
                    try:
                        handler.on_event(mask)
                    except Exception:
                        self._fault(handler)
            if self._soon:
                self._run_soon()
            if self._timers:
                self._run_timers()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()

    def _timeout(self) -> float:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return -1.0
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_soon(self) -> None:
        # Only what was there at the start of the turn: an action may queue itself again.
        for _ in range(len(self._soon)):
            self._act(self._soon.popleft())

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                self._act(action)

    def _act(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            self._fault(action)

    def _fault(self, what: object) -> None:
        if self.on_fault is None:
            raise  # what the caller has just caught
        self.on_fault(what)
