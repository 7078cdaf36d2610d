"""What all flows of one worker share: loop, buffer, pipes, bans, carriers, and a spare descriptor."""

from __future__ import annotations

import os
import resource
from typing import Final, Protocol

from sekimori.planes.relay.bans import Bans
from sekimori.planes.relay.carriers import Carriers
from sekimori.planes.relay.idle import IdleWheel
from sekimori.planes.relay.loop import Loop, Timer
from sekimori.planes.relay.pipes import PipePool

__all__ = ["COPY_SIZE", "Pausable", "Shared"]

COPY_SIZE: Final = 1 << 16
"""Bytes read in one go by a direction that is copied: what a stalled reader costs."""

_RESUME_AFTER: Final = 0.1
"""Seconds after which paused listeners try again although no flow of ours has ended."""


_SPARE: Final = 2
"""Descriptors that newcomers leave for what the daemon hands over."""


class Pausable(Protocol):
    """A listener whose accepting can be switched off and on."""

    def pause(self) -> None:
        """Leave newcomers in the kernel's queue."""

    def resume(self) -> None:
        """Accept again (nothing, when the listener has been closed)."""


class Shared:
    """One per worker.

    One descriptor is kept in reserve. A connection is accepted only while the
    reserve is there, so whoever has been accepted can also be dialled for: when
    descriptors run out, newcomers wait in the kernel's queue instead of being lost.

    Attributes:
        brink: the descriptor from which on newcomers must wait. The kernel gives the lowest that is free,
            so as many as dials through carriers are under way are left for their answers.
    """

    __slots__ = (
        "_paused",
        "_reserve",
        "_timer",
        "bans",
        "brink",
        "buffer",
        "carriers",
        "loop",
        "paused",
        "pipes",
        "view",
        "wheel",
    )

    def __init__(self, loop: Loop, wheel: IdleWheel | None = None, pipes: PipePool | None = None) -> None:
        self.loop = loop
        self.wheel = wheel or IdleWheel(loop)
        self.pipes = pipes or PipePool()
        self.bans = Bans()
        self.carriers = Carriers(self)
        self.buffer = bytearray(COPY_SIZE)
        self.view = memoryview(self.buffer)
        self.brink = _most_descriptors() - _SPARE
        self.paused = False
        self._paused: list[Pausable] = []
        self._timer: Timer | None = None
        self._reserve: int | None = None
        self.refill()

    def use_reserve(self) -> bool:
        """Free a descriptor for one that must be had now; False when the reserve is gone."""
        if self._reserve is None:
            return False
        os.close(self._reserve)
        self._reserve = None
        return True

    def scarce(self, listener: Pausable) -> None:
        """Descriptors ran out: pause `listener` until some are freed, or a moment has passed."""
        self.pipes.close()
        if listener not in self._paused:
            listener.pause()
            self._paused.append(listener)
        self.paused = True
        if self._timer is None:
            self._timer = self.loop.call_later(_RESUME_AFTER, self._retry)

    def freed(self) -> None:
        """A flow has given descriptors back: let paused listeners accept again."""
        self.use_reserve()
        if not self.refill() or self._at_brink():
            return
        self.paused = False
        waiting, self._paused = self._paused, []
        for listener in waiting:
            listener.resume()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give everything back."""
        self.carriers.close()
        self.use_reserve()
        self.pipes.close()

    def _retry(self) -> None:
        self._timer = None
        self.freed()
        if self.paused:
            self._timer = self.loop.call_later(_RESUME_AFTER, self._retry)

    def _at_brink(self) -> bool:
        """Whether the reserve, which is the lowest that was free, is one of those to be left alone."""
        return self._reserve is not None and self._reserve >= self.brink

    def refill(self) -> bool:
        """Have the reserve again; False while there is no descriptor for it."""
        if self._reserve is not None:
            return True
        try:
            self._reserve = os.open("/", os.O_PATH | os.O_CLOEXEC)
        except OSError:  # still none to be had: `_retry` asks again
            self._reserve = None
        return self._reserve is not None


def _most_descriptors() -> int:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft
