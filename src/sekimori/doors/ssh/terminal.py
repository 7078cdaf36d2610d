"""What the user sees on a session channel: what was opened, where, for whom, until when, or why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, cast

from asyncssh import SSHServerSession

from sekimori.doors.ssh.subsystem import Desk
from sekimori.doors.ssh.words import Line, line
from sekimori.wire.linkframes import SUBSYSTEM

__all__ = ["Sight", "Terminal"]

_LEAVE: Final = frozenset("qQ\x03\x04")
_LINES_A_SECOND: Final = 20
_BURST: Final = 100
_VISITS: Final = 5
"""Lines about visits in a second; the rest are summed up in one."""


class Sight(Protocol):
    """What a terminal shows."""

    def standing(self) -> Iterable[Line]:
        """How things are now."""
        ...

    def watch(self, terminal: Terminal) -> None:
        """Tell it what happens from now on."""
        ...

    def unwatch(self, terminal: Terminal) -> None:
        """Tell it no more."""
        ...

    def receive(self, channel: Any) -> Desk:
        """Who speaks the subsystem of another Sekimori on a channel."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether another terminal may be opened."""
        ...

    def parting(self) -> Line:
        """The last word to somebody who leaves."""
        ...


class Terminal(SSHServerSession[str]):
    """A session that shows, and does nothing else.

    Args:
        sight: what there is to see.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._chan: Any = None
        self._newline = "\n"
        self._refusal: Line | None = None
        self._desk: Desk | None = None
        self._full = False
        self._missed = 0
        self._credit = float(_BURST)
        self._credited = time.monotonic()
        self._visits = 0  # in this second

    # -- what asyncssh tells ---------------------------------------------------------------------

    def connection_made(self, chan: Any) -> None:
        """The channel is open."""
        self._chan = chan

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        self._sight.unwatch(self)
        if self._desk is not None:
            self._desk.closed()

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        """There is none; but the client's terminal is raw then, and shows lines as they are sent."""
        self._newline = "\r\n"
        return True

    def shell_requested(self) -> bool:
        """Show."""
        return self._sight.has_room

    def exec_requested(self, command: str) -> bool:
        """Nothing runs. It is accepted, so that it can be said why."""
        self._refusal = line("nothing-runs")
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Ours is spoken, and no other."""
        if subsystem != SUBSYSTEM:
            return False
        self._chan.set_encoding(None)
        self._desk = self._sight.receive(self._chan)
        return True

    def session_started(self) -> None:
        """The request was answered."""
        if self._desk is not None:
            return
        if self._refusal is not None:
            self._chan.write_stderr(self._refusal[self._chan.language] + self._newline)
            self._chan.exit(1)
            return
        for each in self._sight.standing():
            self._write(each)
        self._sight.watch(self)

    def data_received(self, data: str, datatype: int | None = None) -> None:
        """Something was typed. Without a terminal only a line `q` is: what is piped in says nothing."""
        if self._desk is not None:
            self._desk.feed(cast(bytes, data))
            return
        leaves = not _LEAVE.isdisjoint(data) if self._newline == "\r\n" else data.strip() in ("q", "Q")
        if leaves:
            self._leave()

    def eof_received(self) -> bool:
        """`ssh -n` and services have nothing to say from the first; they stay."""
        return self._desk is None

    def signal_received(self, signal: str) -> None:
        """INT, TERM and HUP are meant to end it."""
        if self._desk is None:
            self._leave()

    def pause_writing(self) -> None:
        """The client takes nothing: lines are passed over, and counted."""
        self._full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False

    # -- what the session tells --------------------------------------------------------------------

    def show(self, shown: Line) -> None:
        """A line, unless there are too many of them."""
        now = time.monotonic()
        self._credit = min(float(_BURST), self._credit + (now - self._credited) * _LINES_A_SECOND)
        self._credited = now
        if self._full or self._credit < 1:
            self._missed += 1
            return
        self._credit -= 1
        if self._missed:
            self._write(line("missed", count=self._missed))
            self._missed = 0
        self._write(shown)

    def visited(self, said: Callable[[], Line]) -> None:
        """A line about a visit, made only if it is shown."""
        if not self._visits:
            asyncio.get_running_loop().call_later(1.0, self._sum_up)
        self._visits += 1
        if self._visits <= _VISITS:
            self.show(said())
        else:
            self._missed += 1

    def close(self) -> None:
        """End the channel."""
        self._sight.unwatch(self)
        if not self._chan.is_closing():
            self._chan.exit(0)

    def _sum_up(self) -> None:
        self._visits = 0
        if self._missed and not self._full and not self._chan.is_closing():
            self._write(line("missed", count=self._missed))
            self._missed = 0

    def _leave(self) -> None:
        if not self._chan.is_closing():
            self._write(self._sight.parting())
        self.close()

    def _write(self, shown: Line) -> None:
        self._chan.write(shown[self._chan.language] + self._newline)
