"""The relay worker: `python -m sekimori.planes.relay.worker --socket PATH`.

It has no privilege and opens no listening socket for mappings: a daemon passes those.
It does not need the daemon to go on: it serves what it was told, ends what has an end,
and leaves once it has served nothing, with no daemon connected, for a minute.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from sekimori.host.privileges import become, name_process, parse_user
from sekimori.planes.relay.flows import Flow
from sekimori.planes.relay.half import Half
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.roster import Roster
from sekimori.planes.relay.server import ControlServer, PathTakenError
from sekimori.planes.relay.shared import Shared

__all__ = ["main"]

_LINGER: Final = 60.0
_MOST_DESCRIPTORS: Final = 1 << 20


class _Worker:
    """The process: loop, signals, and when to leave."""

    def __init__(self, path: Path, linger: float) -> None:
        self.loop = Loop()
        self.loop.on_fault = _fault
        self._linger = linger
        self._idle_since: float | None = None
        self._wakeup = self._take_signals()
        self._shared = Shared(self.loop)
        self._roster = Roster(self._shared)
        # Last: who sees the socket may tell us things, or send a signal.
        self._server = ControlServer(self.loop, self._roster, path, self.leave)

    def run(self) -> None:
        """Serve until told to leave, or nobody needs us."""
        self._look()
        self.loop.run()
        self._roster.close()
        self._server.close()
        self._shared.close()

    def _take_signals(self) -> socket.socket:
        wakeup, self._waker = socket.socketpair()
        wakeup.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        # A signal only wakes the loop; what it means is decided in `on_event`.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        self.loop.register(wakeup.fileno(), select.EPOLLIN, self)
        return wakeup

    def on_event(self, _events: int) -> None:
        """A signal came in."""
        if signal.SIGTERM in self._wakeup.recv(64):
            self.loop.stop()

    def leave(self, grace: float) -> None:
        """Stop accepting and end once nothing flows, at the latest after `grace` seconds."""
        for name in list(self._roster.services):
            self._roster.remove(name, grace)
        # In the next turn, so that the answer to who asked gets out.
        self.loop.soon(self._leave_when_empty)

    def _leave_when_empty(self) -> None:
        if self._roster.busy:
            self.loop.call_later(0.1, self._leave_when_empty)
        else:
            self.loop.stop()

    def _look(self) -> None:
        """Leave when there was nothing to do and nobody to serve for all of `linger`."""
        now = self.loop.now
        if self._server.connections or self._roster.busy:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= self._linger:
            self.loop.stop()
        self.loop.call_later(min(5.0, self._linger / 4), self._look)


def _fault(what: object) -> None:
    """Something here is wrong: say so, end the flow that it happened to, and carry the others on."""
    with suppress(OSError, ValueError):  # standard error may have ended with the daemon it belonged to
        sys.stderr.write(f"sekimori-relay: a fault in {type(what).__name__}\n{traceback.format_exc()}")
    owner = getattr(what, "__self__", what)
    if isinstance(owner, Half | Flow):
        owner.cut()


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; its exit code."""
    options = _parser().parse_args(arguments)
    _raise_descriptors(options.descriptors)
    try:
        worker = _Worker(options.socket, options.linger)
    except (PathTakenError, OSError) as error:
        sys.stderr.write(f"sekimori-relay: {error}\n")
        return 1
    if options.user is not None:
        become(*options.user)
    if options.detach and os.fork():
        # The worker, listening by now, goes on as a child of init: whoever started us may end.
        os._exit(0)
    if options.detach:
        os.setsid()
    # Flows hold no cycles once they have ended, so counting references frees them; a
    # collection would only stop ten thousand flows to look through them.
    gc.collect()
    gc.freeze()
    gc.disable()
    name_process("sekimori-relay")
    worker.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sekimori-relay", description="Carries flows for a daemon.")
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to be told on")
    parser.add_argument("--user", type=parse_user, metavar="UID:GID", help="drop privileges to these numbers")
    parser.add_argument("--detach", action="store_true", help="go on in the background once listening")
    parser.add_argument("--linger", type=float, default=_LINGER, help="seconds to stay with nothing to do")
    parser.add_argument("--descriptors", type=int, default=_MOST_DESCRIPTORS, help="most open files")
    return parser


def _raise_descriptors(most: int) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = int(Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))
    wanted = min(most, ceiling)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except ValueError:  # above the hard limit, and no CAP_SYS_RESOURCE to raise that
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
