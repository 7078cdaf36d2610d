"""Reaching a target: one that has several addresses (happy eyeballs, RFC 8305 §5), or a unix socket.

Addresses are tried in the order given, the next one 250 ms after the last (or at
once when an attempt fails); the first to connect wins and the others are closed.
"""

from __future__ import annotations

import errno
import select
from _socket import socket as Socket  # noqa: N812
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_NONBLOCK, SOCK_STREAM
from typing import Final, Protocol

from sekimori.planes.relay.flows import Failure
from sekimori.planes.relay.loop import Loop, Timer

__all__ = [
    "DIAL_TIMEOUT",
    "EVENTS",
    "STAGGER",
    "Dialler",
    "Race",
    "UnixDial",
    "failure_of",
    "outcome",
    "stream_socket",
]

DIAL_TIMEOUT: Final = 10.0
STAGGER: Final = 0.25
"""RFC 8305 §5: Connection Attempt Delay, recommended value."""

_BACKLOG_PAUSE: Final = 0.02
"""Seconds between tries while a unix socket's queue is full, as no event tells when it no longer is."""

EVENTS: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
"""What a dialled socket is registered for, from before it is connected to its end."""

_FAILURES: Final[dict[int, Failure]] = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed_out",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENOENT: "refused",  # a unix socket that nobody has made
    errno.EACCES: "prohibited",
    errno.EPERM: "prohibited",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.ENOBUFS: "descriptors",
    errno.ENOMEM: "descriptors",
}


def failure_of(code: int) -> Failure:
    """The counted cause of a failed dial with this errno."""
    return _FAILURES.get(code, "other")


def stream_socket(address: str) -> Socket:
    """A non-blocking TCP socket of the family of `address`. Raises OSError."""
    return Socket(AF_INET6 if ":" in address else AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)


def outcome(sock: Socket, address: tuple[str, int]) -> int | None:
    """How a connect under way has gone: 0, an errno, or None when it is still under way.

    connect(2) is asked again because an event mask is only a hint (it may be that of a
    descriptor closed in the same turn), and SO_ERROR cannot tell "done" from "not yet".
    """
    code = sock.connect_ex(address)
    if code in (errno.EALREADY, errno.EINPROGRESS):
        return None
    return 0 if code == errno.EISCONN else code


class Dialler(Protocol):
    """Who wants the connection."""

    def dialled(self, sock: Socket, target: str, events: int) -> None:
        """Connected to `target`, as `events` told. The socket is registered: replace its handler."""

    def dial_failed(self, cause: Failure) -> None:
        """No address could be reached."""


class _Attempt:
    __slots__ = ("address", "race", "sock")

    def __init__(self, race: Race, sock: Socket, address: tuple[str, int]) -> None:
        self.race = race
        self.sock = sock
        self.address = address

    def on_event(self, events: int) -> None:
        code = outcome(self.sock, self.address)
        if code is not None:
            self.race.settle(self, code, events)


class Race:
    """One dial to several addresses. `cancel` ends it without a word."""

    __slots__ = ("_attempts", "_dialler", "_last", "_left", "_loop", "_timer")

    def __init__(self, loop: Loop, dialler: Dialler, addresses: Sequence[tuple[str, int]]) -> None:
        """Starts at the next turn of the loop."""
        self._loop = loop
        self._dialler: Dialler | None = dialler
        self._left = list(reversed(addresses))
        self._attempts: set[_Attempt] = set()
        self._last = errno.EADDRNOTAVAIL
        self._timer: Timer | None = None
        loop.soon(self._next)

    def settle(self, attempt: _Attempt, code: int, events: int) -> None:
        """An attempt has ended with this errno (0: connected), as `events` told."""
        self._attempts.discard(attempt)
        dialler = self._dialler
        if code:
            self._loop.unregister(attempt.sock.fileno())
            attempt.sock.close()
            self._last = code
            self._next()
        elif dialler is not None:
            self.cancel()
            dialler.dialled(attempt.sock, attempt.address[0], events)

    def cancel(self) -> None:
        """Close every attempt still under way."""
        self._dialler = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in self._attempts:
            self._loop.unregister(attempt.sock.fileno())
            attempt.sock.close()
        self._attempts.clear()

    def _next(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._left and self._dialler is not None:
            code = self._attempt(self._left.pop())
            if code == errno.EINPROGRESS:
                if self._left:
                    self._timer = self._loop.call_later(STAGGER, self._next)
                return
            self._last = code
        dialler = self._dialler
        if dialler is not None and not self._attempts:
            self.cancel()
            dialler.dial_failed(failure_of(self._last))

    def _attempt(self, address: tuple[str, int]) -> int:
        try:
            sock = stream_socket(address[0])
        except OSError as error:
            return error.errno or errno.EIO
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            return code
        attempt = _Attempt(self, sock, address)
        self._attempts.add(attempt)
        # A connect already complete is told by the first event, like any other.
        self._loop.register(sock.fileno(), EVENTS, attempt)
        return errno.EINPROGRESS


class UnixDial:
    """A dial to a unix socket. `cancel` ends it without a word."""

    __slots__ = ("_dialler", "_loop", "_path", "_timer")

    def __init__(self, loop: Loop, dialler: Dialler, path: str) -> None:
        """Starts at the next turn of the loop."""
        self._loop = loop
        self._dialler: Dialler | None = dialler
        self._path = path
        self._timer: Timer | None = None
        loop.soon(self._try)

    def on_event(self, _events: int) -> None:
        """Nothing: `dialled` puts another handler in the place in the same turn."""

    def cancel(self) -> None:
        """Try no more."""
        self._dialler = None
        if self._timer is not None:
            self._timer.cancel()

    def _try(self) -> None:
        dialler = self._dialler
        if dialler is None:
            return
        try:
            sock = self._connect()
        except BlockingIOError:
            self._timer = self._loop.call_later(_BACKLOG_PAUSE, self._try)
        except OSError as error:
            self._dialler = None
            dialler.dial_failed(failure_of(error.errno or errno.EIO))
        else:
            self._dialler = None
            dialler.dialled(sock, self._path, 0)

    def _connect(self) -> Socket:
        sock = Socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)
        try:
            sock.connect(self._path)
            self._loop.register(sock.fileno(), EVENTS, self)
        except BaseException:
            sock.close()
            raise
        return sock
