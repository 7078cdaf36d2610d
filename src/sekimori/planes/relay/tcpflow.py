"""One stream through the relay: dialled for, then carried by two halves (`half`), and ended.

Nothing is done towards a target before the newcomer has been admitted. Whoever is
refused, or cannot be dialled for, sees a reset.
"""

from __future__ import annotations

import errno
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable, Sequence
from select import EPOLLOUT
from socket import AF_UNIX, IPPROTO_TCP, SO_KEEPALIVE, SOL_SOCKET, TCP_KEEPIDLE
from typing import Final, Literal, Protocol

from sekimori.planes.relay.admission import LOCAL, plain
from sekimori.planes.relay.carried import NOBODY, Arrival, Carried, Order, Pending, read_endpoint
from sekimori.planes.relay.carriers import CARRIER_DIAL_TIMEOUT
from sekimori.planes.relay.dial import (
    DIAL_TIMEOUT,
    EVENTS,
    Race,
    UnixDial,
    failure_of,
    outcome,
    stream_socket,
)
from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import Failure, Flow, SourceRow
from sekimori.planes.relay.half import READ, CarriedHalf, Half, reset
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.wire import proxyproto

__all__ = ["HALF_CLOSED_IDLE", "IDLE", "KEEPALIVE_IDLE", "Entrance", "TcpFlow"]

IDLE: Final = 2 * 3600 + 4 * 60.0
"""RFC 5382 REQ-5: an established connection is not dropped before 2 hours 4 minutes of silence."""
HALF_CLOSED_IDLE: Final = 3600.0
KEEPALIVE_AFTER: Final = 30.0
"""Seconds of silence after which keepalive is set on the target's socket."""
KEEPALIVE_IDLE: Final = 60


class Entrance(Protocol):
    """Where connections come in."""

    shared: Shared
    service: Service
    listen: Listen


class TcpFlow(Flow):
    """One connection: a client, soon a server, and the bytes between them.

    The name is the usual case's: either side may be a unix socket, or have come by a carrier.
    """

    __slots__ = ("_client", "_dial", "_far", "_halves", "_near", "_service", "_shared", "_watched")

    def __init__(
        self,
        entrance: Entrance,
        sock: Socket,
        row: SourceRow,
        source: str,
        port: int,
        near: Arrival | None = None,
    ) -> None:
        """Takes over `sock`. `near` is how a carrier brought it."""
        shared = entrance.shared
        Flow.__init__(self, row, (source, port), entrance.listen, "", shared.loop.now, DIAL_TIMEOUT)
        self._service = entrance.service
        self._shared = shared
        self._client = sock
        self._halves: tuple[Half, Half] | None = None
        self._dial: Socket | Race | UnixDial | Pending | None = None
        self._near = near
        self._far: Carried | None = None
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
        carrier = self._service.entry.carrier
        if carrier is not None:
            self.dial_through(carrier, self._order(*address))
            return
        self.target = address[0]
        if address[0].startswith("/"):
            self._dial = UnixDial(self._shared.loop, self, address[0])
            return
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

    def dial_through(self, carrier: str, order: Order) -> None:
        """Begin to connect by way of a carrier."""
        self.target = order.host
        self.carrier = carrier
        self.idle_after = CARRIER_DIAL_TIMEOUT
        self._dial = self._far = self._shared.carriers.named(carrier).dial(order, self)

    def _order(self, host: str, port: int) -> Order:
        protocol: Literal["tcp", "unix"] = "tcp"
        if host.startswith("/"):
            protocol, port = "unix", 0
        source = None if self.source in (LOCAL, NOBODY) else (self.source, self.source_port)
        return Order(self._service.entry.id, protocol, host, port, source, self.entered_at())

    def entered_at(self) -> tuple[str, int]:
        """The address and port that the client came to; of a unix socket its path."""
        if self.source == LOCAL:
            return self.listen.address, 0
        if self._near is not None:
            return self._near.listen
        here = self._client.getsockname()
        return plain(here[0]), here[1]

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
        loop = self._shared.loop
        self._dial = None
        self.target = target
        self.last = loop.now
        client = self._half(self._client, self._near, True)
        server = self._half(sock, self._far, False)
        client.peer, server.peer = server, client
        server.armed = armed
        self._halves = (client, server)
        loop.replace(server.fd, server)
        self._set_idle(min(KEEPALIVE_AFTER, self._idle()))
        first = self.first_words()
        if first:
            client.write_first(first)
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

    def aborted(self) -> None:
        """A carrier says that the far side broke off."""
        self.reset()

    def _half(self, sock: Socket, carried: Carried | None, inward: bool) -> Half:
        local = sock.family == AF_UNIX
        kind = CarriedHalf if local and carried is not None else Half
        half = kind(self._shared, self, sock, sock.fileno(), inward)
        if local:
            half.lazy = 0
        return half

    def first_words(self) -> bytes:
        """What the target hears ahead of all that is read from the client: who that is, if asked for."""
        version = self._service.entry.proxy_protocol
        if not version:
            return b""
        here = self.entered_at()
        if self.source in (LOCAL, NOBODY) or read_endpoint(here) is None:
            return proxyproto.encode_unknown(version)
        return proxyproto.encode(version, "tcp", (self.source, self.source_port), here)

    # -- ending ----------------------------------------------------------------

    def close(self) -> None:
        """Both directions have ended in order."""
        halves = self._halves
        assert halves is not None
        self._halves = None
        forget = self._forget()
        for tie in (self._near, self._far):
            if tie is not None:
                tie.end()
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
        forget = self._forget()
        if isinstance(dial, Socket):
            forget(dial.fileno())
            dial.close()
        elif dial is not None:
            dial.cancel()
        for tie in (self._near, self._far):
            if tie is not None:  # before its socket is closed, which alone says less
                tie.abort()
        if halves is None:
            reset(self._client)
        else:
            for half in halves:
                forget(half.fd)
                reset(half.sock)
                half.release()
        self._over()

    cut = reset

    def _forget(self) -> Callable[[int], None]:
        """What to call with a descriptor before it is closed: a carrier may still have a copy of it."""
        loop = self._shared.loop
        return loop.forget if self._near is None and self._far is None else loop.unregister

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
        if server.family != AF_UNIX:
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
