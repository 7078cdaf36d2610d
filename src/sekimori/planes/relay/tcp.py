"""The relay's listening streams: accept, admit, and begin a flow (`tcpflow`)."""

from __future__ import annotations

import errno
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable
from select import EPOLLIN
from socket import (
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPIDLE,
    TCP_NODELAY,
)
from typing import Final

from sekimori.planes.relay.admission import LOCAL, plain
from sekimori.planes.relay.carried import Arrival
from sekimori.planes.relay.dial import failure_of
from sekimori.planes.relay.dynamic import DynamicFlow
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import SourceRow
from sekimori.planes.relay.half import reset
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.tcpflow import HALF_CLOSED_IDLE, IDLE, KEEPALIVE_IDLE, Entrance, TcpFlow

__all__ = ["HALF_CLOSED_IDLE", "IDLE", "Entrance", "TcpFlow", "TcpListener", "new_flow"]

ACCEPTS: Final = 16
"""Most connections accepted in one go: each is carried to its first bytes at once, and others wait."""

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TYPE: Final = SOCK_STREAM | SOCK_NONBLOCK
_PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH}
)
"""What accept(2) may say of one connection that is already gone; the next may be fine."""


def new_flow(
    entrance: Entrance, sock: Socket, row: SourceRow, source: str, port: int, near: Arrival | None = None
) -> TcpFlow:
    """The flow of a newcomer that was admitted, not dialled for yet (see `TcpFlow`)."""
    kind = TcpFlow if entrance.service.entry.socks is None else DynamicFlow
    return kind(entrance, sock, row, source, port, near)


class TcpListener:
    """One listening socket of a service."""

    __slots__ = ("_accept", "_addresses", "_family", "_sock", "closed", "listen", "service", "shared")

    def __init__(self, shared: Shared, sock: Socket, listen: Listen, service: Service) -> None:
        """Takes over `sock` (listening) and begins to accept at once."""
        self.shared = shared
        self.service = service
        self.listen = listen
        self.closed = False
        self._sock = sock
        self._family = sock.family
        # The system call alone, without a socket object of Python's.
        self._accept: Callable[[], tuple[int, tuple[str, int]]] = sock._accept  # type: ignore[attr-defined]
        sock.setblocking(False)
        if sock.family != AF_UNIX:
            # Accepted sockets inherit these, so they cost nothing per connection.
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
            sock.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE)
        self.update()
        shared.loop.register(sock.fileno(), EPOLLIN, self)

    def update(self) -> None:
        """The service's entry, or `listen`, has changed."""
        self._addresses = [(target, self.listen.target_port) for target in self.service.entry.targets]

    def on_event(self, _events: int) -> None:
        """Accept who is waiting (the socket is level-triggered: who is left comes again)."""
        accept, shared = self._accept, self.shared
        for _ in range(ACCEPTS):
            try:
                fd, address = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                # Mostly no descriptors; whatever it is, asking again at once would not end.
                self.service.fail(failure_of(error.errno or errno.EIO))
                shared.scarce(self)
                return
            self._newcomer(Socket(self._family, _TYPE, 0, fd), address)
            if fd >= shared.brink:
                shared.scarce(self)
            if shared.paused:
                return

    def pause(self) -> None:
        """Leave newcomers in the kernel's queue."""
        if not self.closed:
            self.shared.loop.modify(self._sock.fileno(), 0)

    def resume(self) -> None:
        """Accept again."""
        if not self.closed:
            self.shared.loop.modify(self._sock.fileno(), EPOLLIN)

    def stop(self) -> None:
        """Close the socket: newcomers see their connection refused."""
        if not self.closed:
            self.closed = True
            self.shared.loop.unregister(self._sock.fileno())
            self._sock.close()

    def close(self, grace: float = 0.0) -> None:
        """Like `stop`; live flows are the service's business."""
        self.stop()

    def flow(self, sock: Socket, row: SourceRow, source: str, port: int) -> TcpFlow:
        """The flow of a newcomer that was admitted, not dialled for yet."""
        return new_flow(self, sock, row, source, port)

    def _newcomer(self, sock: Socket, address: tuple[str, int]) -> None:
        if self._family == AF_UNIX:
            address = LOCAL, 0
        source = plain(address[0]) if self._family == AF_INET6 else address[0]
        service = self.service
        row = service.admit(source)
        if row is None:
            reset(sock)
            return
        flow = self.flow(sock, row, source, address[1])
        service.opened(flow)
        try:
            flow.dial(self._addresses)
        except OSError as error:
            self._dial_again(flow, error)

    def _dial_again(self, flow: TcpFlow, error: OSError) -> None:
        """No descriptor for the target's side: use the reserve, and accept no more until it is back."""
        if error.errno in _NO_DESCRIPTORS:
            self.shared.scarce(self)
            if self.shared.use_reserve():
                try:
                    flow.dial(self._addresses)
                except OSError as again:
                    error = again
                else:
                    return
        flow.dial_failed(failure_of(error.errno or errno.EIO))
