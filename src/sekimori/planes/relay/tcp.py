"""The relay's TCP path: accept, admit, dial; `half` then carries the bytes.

Nothing is done towards a target before the newcomer has been admitted. Whoever is
refused, or cannot be dialled for, sees a reset.
"""

from __future__ import annotations

import errno
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable, Sequence
from select import EPOLLIN, EPOLLOUT
from socket import (
    AF_INET6,
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPIDLE,
    TCP_NODELAY,
)
from typing import Final

from sekimori.planes.relay.admission import plain
from sekimori.planes.relay.dial import DIAL_TIMEOUT, EVENTS, Race, failure_of, outcome, stream_socket
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import Failure, Flow, SourceRow
from sekimori.planes.relay.half import READ, Half, reset
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.wire import proxyproto

__all__ = ["HALF_CLOSED_IDLE", "IDLE", "TcpFlow", "TcpListener"]

IDLE: Final = 2 * 3600 + 4 * 60.0
"""RFC 5382 REQ-5: an established connection is not dropped before 2 hours 4 minutes of silence."""
HALF_CLOSED_IDLE: Final = 3600.0
KEEPALIVE_AFTER: Final = 30.0
"""Seconds of silence after which keepalive is set on the target's socket."""
KEEPALIVE_IDLE: Final = 60
ACCEPTS: Final = 16
"""Most connections accepted in one go: each is carried to its first bytes at once, and others wait."""

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TYPE: Final = SOCK_STREAM | SOCK_NONBLOCK
_PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH}
)
"""What accept(2) may say of one connection that is already gone; the next may be fine."""


class TcpFlow(Flow):
    """One connection: a client, soon a server, and the bytes between them."""

    __slots__ = ("_client", "_dial", "_halves", "_service", "_shared", "_watched")

    def __init__(self, listener: TcpListener, sock: Socket, row: SourceRow, source: str, port: int) -> None:
        shared = listener.shared
        Flow.__init__(self, row, (source, port), listener.listen, "", shared.loop.now, DIAL_TIMEOUT)
        self._service = listener.service
        self._shared = shared
        self._client = sock
        self._halves: tuple[Half, Half] | None = None
        self._dial: Socket | Race | None = None
        self._watched = False  # keepalive is on

    @property
    def state(self) -> str:
        """dialling, open or half-closed."""
        if self._halves is None:
            return "dialling"
        return "half-closed" if self._halves[0].eof or self._halves[1].eof else "open"

    # -- dialling --------------------------------------------------------------

    def dial(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Begin to connect. Raises OSError when there is no descriptor for it."""
        if not addresses:
            self.dial_failed("unreachable")
            return
        address = addresses[0]
        self.target = address[0]
        if len(addresses) > 1:
            self._dial = Race(self._shared.loop, self, addresses)
            return
        self._dial = sock = stream_socket(address[0])
        code: int | None = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            # A target on this machine has answered by now: asking once more saves a turn of the loop.
            code = outcome(sock, address)
        if code is None:
            self._shared.loop.register(sock.fileno(), EVENTS, self)
        elif code:
            sock.close()
            self._dial = None
            self.dial_failed(failure_of(code))
        else:
            self._shared.loop.register(sock.fileno(), READ, self)
            self.dialled(sock, address[0], 0, armed=False)

    def on_event(self, events: int) -> None:
        """The only target has answered (or not: an event is a hint)."""
        sock = self._dial
        if not isinstance(sock, Socket):
            return
        code = outcome(sock, (self.target, self.listen.target_port))
        if code is None:
            return
        if code:
            self.dial_failed(failure_of(code))
            return
        self.dialled(sock, self.target, events)

    def dialled(self, sock: Socket, target: str, events: int, *, armed: bool = True) -> None:
        """The target is connected, its socket registered: for EVENTS, or for READ when not `armed`.

        `events` are those that told so: what a target says first may have come with them, and an
        edge is told once.
        """
        shared, loop = self._shared, self._shared.loop
        self._dial = None
        self.target = target
        self.last = loop.now
        client = Half(shared, self, self._client, self._client.fileno(), True)
        server = Half(shared, self, sock, sock.fileno(), False)
        client.peer, server.peer = server, client
        server.armed = armed
        self._halves = (client, server)
        loop.replace(server.fd, server)
        self._set_idle(min(KEEPALIVE_AFTER, self._idle()))
        if self._service.entry.proxy_protocol:
            client.write_first(self._introduction())
            if client.fd < 0:  # the target was gone already
                return
        # What the client has said by now is passed on at once; registering then tells only of more.
        client.go_on()
        if client.fd >= 0:
            loop.register(client.fd, READ, client)
        if events & ~EPOLLOUT and server.fd >= 0:
            server.on_event(events & ~EPOLLOUT)

    def dial_failed(self, cause: Failure) -> None:
        """No target could be reached."""
        self._service.fail(cause)
        self.reset()

    def _introduction(self) -> bytes:
        here = self._client.getsockname()
        return proxyproto.encode(
            self._service.entry.proxy_protocol,
            "tcp",
            (self.source, self.source_port),
            (plain(here[0]), here[1]),
        )

    # -- ending ----------------------------------------------------------------

    def close(self) -> None:
        """Both directions have ended in order."""
        halves = self._halves
        assert halves is not None
        self._halves = None
        forget = self._shared.loop.forget
        for half in halves:
            forget(half.fd)
            half.sock.close()
            half.release()
        self._over()

    def reset(self) -> None:
        """End now, both sides seeing a reset (nothing, when it has ended)."""
        if self._client.fileno() < 0:
            return
        halves, dial = self._halves, self._dial
        self._halves = self._dial = None
        loop = self._shared.loop
        if halves is not None:
            for half in halves:
                loop.forget(half.fd)
                reset(half.sock)
                half.release()
        else:
            if isinstance(dial, Race):
                dial.cancel()
            elif dial is not None:
                loop.forget(dial.fileno())
                dial.close()
            reset(self._client)
        self._over()

    cut = reset

    def half_closed(self) -> None:
        """One direction has ended: the other has a shorter time to be silent."""
        if self._watched:
            self._set_idle(min(HALF_CLOSED_IDLE, self._idle()))

    def on_idle(self) -> None:
        """Silence: the dial took too long, keepalive is due, or the flow is over."""
        halves = self._halves
        if halves is None:
            self.dial_failed("timed_out")
            return
        half_closed = halves[0].eof or halves[1].eof
        limit = min(HALF_CLOSED_IDLE, self._idle()) if half_closed else self._idle()
        if self._watched or self.idle_after >= limit:
            self.reset()
            return
        self._watched = True
        server = halves[1].sock
        server.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        server.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE)
        self.idle_after = limit
        self._service.wheel.add(self)

    def _idle(self) -> float:
        idle = self._service.entry.idle
        return IDLE if idle is None else idle

    def _set_idle(self, seconds: float) -> None:
        shorter = seconds < self.idle_after
        self.idle_after = seconds
        if shorter:  # a longer time is seen when the wheel comes round
            self._service.wheel.add(self)

    def _over(self) -> None:
        self._service.ended(self)
        if self._shared.paused:
            self._shared.freed()


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
        accept = self._accept
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
                self.shared.scarce(self)
                return
            self._newcomer(Socket(self._family, _TYPE, 0, fd), address)
            if self.shared.paused:
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

    def _newcomer(self, sock: Socket, address: tuple[str, int]) -> None:
        source = plain(address[0]) if self._family == AF_INET6 else address[0]
        service = self.service
        row = service.admit(source)
        if row is None:
            reset(sock)
            return
        flow = TcpFlow(self, sock, row, source, address[1])
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
