"""SOCKS 5 UDP ASSOCIATE: one client's datagrams to the destinations it names (RFC 1928 §7).

An association belongs to the connection it was asked for on, and ends with it. It hears its client only:
datagrams from that address, and from the port that the client named or that the first one came from.

Each destination is dialled for by itself, and has its own socket and its own end: an ICMP error of one
touches no other. So a destination sees its own port of ours, as it would of a symmetric NAT.
"""

from __future__ import annotations

import errno
import select
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections import deque
from socket import AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, SOCK_DGRAM, SOCK_NONBLOCK
from typing import TYPE_CHECKING, Any, Final

from sekimori.planes.relay.admission import plain
from sekimori.planes.relay.carried import Endpoint, Pending
from sekimori.planes.relay.carriers import DIRECT
from sekimori.planes.relay.datagrams import FULL
from sekimori.planes.relay.dynamicrules import allows
from sekimori.planes.relay.flows import Failure
from sekimori.planes.relay.loop import Timer
from sekimori.planes.relay.service import Service
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.udpflow import IDLE, PEER_BUFFER, count_lost, prepare
from sekimori.wire.errors import BadPacket
from sekimori.wire.socks import decode_datagram_untrusted, encode_datagram

if TYPE_CHECKING:
    from sekimori.planes.relay.dynamic import DynamicFlow

__all__ = ["PLACES", "Association"]

PLACES: Final = 256
"""Most destinations of an association; the one silent for longest makes room."""
_UNDER_WAY: Final = 32
"""Most destinations that are being dialled for at once."""
_KEPT: Final = 4
"""Datagrams kept for a destination until it is dialled."""
_TURN: Final = 64
"""Datagrams taken at once, then the others have their turn."""


class Association:
    """The socket that a client sends to, and the destinations it has named."""

    def __init__(
        self,
        flow: DynamicFlow,
        shared: Shared,
        service: Service,
        carrier: str,
        here: tuple[Any, ...],
        port: int,
    ) -> None:
        """Listens beside the connection at `here`, on a port of the kernel's choice.

        `port` is the one that the client says it will send from; 0 leaves that open.

        Raises:
            OSError: no socket can be had.
        """
        self.flow = flow
        self.shared = shared
        self.service = service
        self._carrier = carrier
        self._port = port
        self._client: tuple[Any, ...] = ()
        self._places: dict[Endpoint, _Place] = {}
        self._socks = service.entry.socks
        self._timer: Timer | None = None
        host = plain(here[0])
        self._sock = Socket(AF_INET6 if ":" in host else AF_INET, SOCK_DGRAM | SOCK_NONBLOCK)
        try:
            prepare(self._sock, PEER_BUFFER)
            self._sock.bind((host, 0, *here[2:]) if ":" in host else (host, 0))
            shared.loop.register(self._sock.fileno(), select.EPOLLIN, self)
        except OSError:
            self._sock.close()
            raise
        self.address: Endpoint = (host, self._sock.getsockname()[1])
        self._look_later()

    def on_event(self, _events: int) -> None:
        """Take what the client sent."""
        shared = self.shared
        for _ in range(_TURN):
            if self._sock.fileno() < 0:  # what a datagram led to has ended all
                return
            try:
                size, name = self._sock.recvfrom_into(shared.buffer)
            except OSError as error:
                if error.errno not in FULL:
                    self.lose(error.errno or errno.EIO)
                return
            if self._is_client(name):
                self._forward(shared.view[:size])

    def answer(self, header: bytes, datagram: memoryview) -> None:
        """Send the client what a destination said."""
        flow = self.flow
        flow.last = self.shared.loop.now
        try:
            self._sock.sendmsg((header, datagram), (), 0, self._client)
        except OSError as error:
            self.lose(error.errno or errno.EIO)
        else:
            flow.bytes_out += len(datagram)
            flow.packets_out += 1

    def carried(self, size: int) -> None:
        """A datagram has gone to its destination."""
        self.flow.bytes_in += size
        self.flow.packets_in += 1

    def lose(self, error: int) -> None:
        """Count a datagram lost to an errno, in the mapping's counters."""
        count_lost(self.service.counters.dropped, error)

    def forget(self, place: _Place) -> None:
        """A destination has ended."""
        if self._places.get(place.name) is place:
            del self._places[place.name]

    def close(self) -> None:
        """End it, and all its destinations."""
        if self._timer is not None:
            self._timer.cancel()
        for place in list(self._places.values()):
            place.close()
        if self._sock.fileno() >= 0:
            self.shared.loop.unregister(self._sock.fileno())
            self._sock.close()

    def _is_client(self, name: tuple[Any, ...]) -> bool:
        """Whether a datagram from there is the client's; the first one settles its port."""
        if plain(name[0]) != self.flow.source:
            return False
        if not self._port:
            self._port = name[1]
        if name[1] != self._port:
            return False
        self._client = name
        return True

    def _forward(self, datagram: memoryview) -> None:
        self.flow.last = self.shared.loop.now
        try:
            host, port, start = decode_datagram_untrusted(datagram)
        except BadPacket:
            self.lose(errno.EINVAL)
            return
        if self.service.entry.socks is not self._socks:
            self._judge_again()
        place = self._places.get((host, port)) or self._open(host, port)
        if place is None:
            self.lose(errno.EACCES)
        else:
            place.send(datagram[start:])

    def _open(self, host: str, port: int) -> _Place | None:
        """A new destination; None where it may not be, or too many are under way."""
        socks = self._socks
        if socks is None or not allows(socks, host, port):
            return None
        if sum(place.is_under_way for place in self._places.values()) >= _UNDER_WAY:
            return None
        if len(self._places) >= PLACES:
            min(self._places.values(), key=lambda place: place.last).close()
        place = self._places[host, port] = _Place(self, (host, port))
        carrier = self.shared.carriers.named(self._carrier)
        place.await_dial(carrier.dial(self.flow.order(host, port, "udp"), place), self._carrier == DIRECT)
        return place

    def _judge_again(self) -> None:
        """The terms have changed: destinations that they no longer allow end."""
        socks = self._socks = self.service.entry.socks
        for place in list(self._places.values()):
            if socks is None or not allows(socks, *place.name):
                place.close()

    def _look_later(self) -> None:
        idle = self.service.entry.idle or IDLE
        self._timer = self.shared.loop.call_later(idle / 4, self._look)

    def _look(self) -> None:
        """End the destinations that have been silent too long."""
        end = self.shared.loop.now - (self.service.entry.idle or IDLE)
        for place in [place for place in self._places.values() if place.last <= end]:
            place.close()
        self._look_later()


class _Place:
    """One destination of an association: what is kept for it, then its socket."""

    __slots__ = ("_association", "_header", "_is_own", "_kept", "_sock", "_tie", "last", "name")

    def __init__(self, association: Association, name: Endpoint) -> None:
        self.name = name
        self.last = association.shared.loop.now
        self._association = association
        self._header = encode_datagram(*name)
        self._kept: deque[bytes] = deque()
        self._sock: Socket | None = None
        self._tie: Pending | None = None
        self._is_own = False

    @property
    def is_under_way(self) -> bool:
        """Whether it is being dialled for."""
        return self._sock is None

    def await_dial(self, pending: Pending, is_own: bool) -> None:
        """It is being dialled for; what comes is a socket of its own, or a carrier's."""
        self._tie = pending
        self._is_own = is_own

    def send(self, datagram: memoryview) -> None:
        """Send one datagram there, or keep it for the time when that can be done."""
        self.last = self._association.shared.loop.now
        if self._sock is not None:
            self._send(datagram)
        elif len(self._kept) < _KEPT:
            self._kept.append(bytes(datagram))
        else:
            self._association.lose(errno.EAGAIN)

    def dialled(self, sock: Socket, target: str, events: int) -> None:
        """It is reached."""
        association = self._association
        self._sock = sock
        if self._is_own:
            assert self._tie is not None
            self._header = encode_datagram(*(self._tie.peer or self.name))
            self._tie.end()
            self._tie = None
        try:
            association.shared.loop.register(sock.fileno(), select.EPOLLIN, self)
        except OSError as error:  # ENOSPC: fs.epoll.max_user_watches
            association.lose(error.errno or errno.EIO)
            self.close()
            return
        while self._kept:
            self._send(self._kept.popleft())

    def dial_failed(self, cause: Failure) -> None:
        """It is not reached: what was kept for it is lost."""
        self._tie = None
        self._association.service.fail(cause)
        for _ in self._kept:
            self._association.lose(errno.EHOSTUNREACH)
        self._association.forget(self)

    def aborted(self) -> None:
        """Its carrier has ended it."""
        self.close()

    def on_event(self, events: int) -> None:
        """Pass its answers on."""
        sock, shared = self._sock, self._association.shared
        for _ in range(_TURN):
            if sock is None or sock.fileno() < 0:
                return
            try:
                size = sock.recv_into(shared.buffer, 0, MSG_DONTWAIT)
            except OSError as error:
                if error.errno not in FULL:
                    self._association.lose(error.errno or errno.EIO)
                return
            if not size and sock.family == AF_UNIX and events & (select.EPOLLHUP | select.EPOLLERR):
                self.close()  # its carrier has closed it
                return
            self.last = shared.loop.now
            self._association.answer(self._header, shared.view[:size])

    def close(self) -> None:
        """End it."""
        self._association.forget(self)
        sock, tie = self._sock, self._tie
        self._sock = self._tie = None
        if sock is None:
            if tie is not None:
                tie.cancel()
            return
        if tie is not None:
            tie.abort()
        self._association.shared.loop.unregister(sock.fileno())
        sock.close()

    def _send(self, datagram: memoryview | bytes) -> None:
        association = self._association
        error = self._try(datagram)
        if error and error not in FULL and error != errno.EMSGSIZE:
            # It may be an earlier datagram's: having told it, the socket may take this one.
            association.lose(error)
            error = self._try(datagram)
        if error:
            association.lose(error)
        else:
            association.carried(len(datagram))

    def _try(self, datagram: memoryview | bytes) -> int:
        assert self._sock is not None
        try:
            self._sock.send(datagram, MSG_DONTWAIT)
        except OSError as error:
            return error.errno or errno.EIO
        return 0
