"""One channel to a carrier: its dials under way, and the flows that came by it."""

from __future__ import annotations

import os
import select
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable
from socket import socket as PythonSocket  # noqa: N812
from typing import TYPE_CHECKING, Any, Final

from sekimori.host.frames import BadFrameError, FrameReader, Outbox
from sekimori.planes.relay.carried import Arrival, Breakable, Pending, key_of
from sekimori.planes.relay.flows import FAILURES, Failure

if TYPE_CHECKING:
    from sekimori.planes.relay.shared import Shared

__all__ = ["Channel"]

_MOST_UNSENT: Final = 4096
"""Frames that may wait for a carrier that does not read; then it counts as down for new dials."""


class Channel:
    """The worker's end of it.

    Attributes:
        open: whether it stands.
        pending: dials under way, by number.
        flows: what came by it, by `Carried.key`.
    """

    def __init__(
        self, shared: Shared, name: str, sock: PythonSocket, on_arrival: Callable[[Arrival], None]
    ) -> None:
        """Takes over `sock`, a connected stream socket of AF_UNIX."""
        sock.setblocking(False)
        self.open = True
        self.pending: dict[int, Pending] = {}
        self.flows: dict[tuple[str, int], Breakable] = {}
        self._shared = shared
        self._name = name
        self._on_arrival = on_arrival
        self._sock = sock
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._unsent = 0
        self._watching_out = False
        self._paused = False
        shared.loop.register(sock.fileno(), select.EPOLLIN, self)

    @property
    def is_stuck(self) -> bool:
        """Whether the carrier has not read for a long time."""
        return self._unsent > _MOST_UNSENT

    def put(self, message: dict[str, Any]) -> None:
        """Send a frame, now if it can be: what a socket's end means must be known before it is seen."""
        if not self.open:
            return
        self._outbox.put(message)
        self._unsent += 1
        if self._unsent == 1:
            self._send()

    def ask(self, number: int, pending: Pending, message: dict[str, Any]) -> None:
        """Begin a dial, by the frame that asks for it. A descriptor is kept for its answer."""
        self.pending[number] = pending
        self._shared.brink -= 1
        self.put(message)

    def forget(self, key: tuple[str, int]) -> bool:
        """What came by this number is over; whether the carrier has not said so itself."""
        if key[0] == "n" and self._drop(key[1]) is not None:
            return True
        return self.flows.pop(key, None) is not None

    def on_event(self, events: int) -> None:
        """Take what the carrier says, send what waits."""
        if events & select.EPOLLOUT:
            self._send()
        if not self.open or not events & ~select.EPOLLOUT:
            return
        if self._paused:  # only a hang-up is told then, and it would be told without end
            self.close()
            return
        shared = self._shared
        # One descriptor at most comes with one read (unix(7) does not read past one), and there must be
        # room for it, else it were lost.
        if not shared.use_reserve():
            shared.scarce(self)
            return
        try:
            more = self._read()
        except BlockingIOError:
            more = True
        except (BadFrameError, OSError):
            more = False
        if not shared.refill() and more:
            shared.scarce(self)
        if not more:
            self.close()

    def pause(self) -> None:
        """Read no more: there is no descriptor to be had."""
        self._paused = True
        self._watch()

    def resume(self) -> None:
        """Read on."""
        self._paused = False
        self._watch()

    def close(self) -> None:
        """End it; dials under way fail, and what came by it is reset."""
        if not self.open:
            return
        self.open = False
        self._shared.loop.unregister(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()
        self._shared.brink += len(self.pending)
        pending, self.pending = self.pending, {}
        for each in pending.values():
            each.fail("down")
        flows, self.flows = self.flows, {}
        for flow in flows.values():
            flow.aborted()

    def _drop(self, number: int) -> Pending | None:
        pending = self.pending.pop(number, None)
        if pending is not None:
            self._shared.brink += 1
        return pending

    def _watch(self) -> None:
        if self.open:
            self._watching_out = self._unsent > 0
            events = (0 if self._paused else select.EPOLLIN) | (select.EPOLLOUT if self._unsent else 0)
            self._shared.loop.modify(self._sock.fileno(), events)

    def _send(self) -> None:
        try:
            done = self._outbox.send()
        except OSError:
            # Found out while a flow is being served: its own turn must end first.
            self._shared.loop.soon(self.close)
            return
        if done:
            self._unsent = 0
        if self._watching_out == done:
            self._watch()

    def _read(self) -> bool:
        more = self._reader.read()
        while self.open and (frame := self._reader.next()) is not None:
            message, fds = frame
            sockets = _sockets(fds)
            try:
                self._take(message, sockets)
            finally:
                for sock in sockets:
                    sock.close()
        return more

    def _take(self, message: dict[str, Any], sockets: list[Socket]) -> None:
        """Act on a frame; a socket that is taken over is taken out of the list."""
        operation = message.get("op")
        if operation == "arrived":
            arrival = Arrival(self, self._name, message, _only(sockets))
            sockets.clear()
            self._on_arrival(arrival)
        elif operation == "dialled":
            self._dialled(key_of(message), message, sockets)
        elif operation == "aborted":
            flow = self.flows.pop(key_of(message), None)
            if flow is not None:
                flow.aborted()
        elif operation in ("failed", "bound"):
            pending = self.pending.get(key_of(message)[1])
            if pending is None:
                return
            if operation == "bound":
                pending.bound(message)
            else:
                pending.fail(_cause_of(message))

    def _dialled(self, key: tuple[str, int], message: dict[str, Any], sockets: list[Socket]) -> None:
        sock = _only(sockets)
        pending = self._drop(key[1])
        if pending is None:  # its cancellation is on the way
            return
        sockets.clear()
        flow = pending.settle(self._shared, sock, message)
        if flow is not None:
            self.flows[key] = flow
            try:
                flow.dialled(sock, pending.host, 0)
            except OSError:  # ENOSPC: fs.epoll.max_user_watches. It is this flow's end, and not the channel's
                flow.aborted()


def _cause_of(message: dict[str, Any]) -> Failure:
    cause = message.get("cause")
    return next((each for each in FAILURES if each == cause), "other")


def _sockets(fds: list[int]) -> list[Socket]:
    """Descriptors as what they are to be. Closes them all and raises BadFrameError where one is no socket."""
    sockets: list[Socket] = []
    try:
        sockets.extend(Socket(fileno=fd) for fd in fds)
    except OSError as error:
        for sock in sockets:
            sock.close()
        for fd in fds[len(sockets) :]:
            os.close(fd)
        raise BadFrameError("a descriptor that is no socket") from error
    return sockets


def _only(sockets: list[Socket]) -> Socket:
    if len(sockets) != 1:
        raise BadFrameError("a frame without its descriptor")
    sockets[0].setblocking(False)
    return sockets[0]
