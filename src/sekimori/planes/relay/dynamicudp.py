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
_DIAL_PAUSE: Final = 1.0
"""Seconds after a failed dial in which datagrams are dropped, before one has the destination tried again."""
_TURN: Final = 64
"""Datagrams taken at once, then the others have their turn."""


class Association:
    """The socket that a client sends to, and the destinations it has named.

    Attributes:
        address: where the client is to send to.
        is_direct: what a dial gives is a socket of the destination's own, and not a carrier's.
    """

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
        self.is_direct = carrier == DIRECT
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

    def keep_to_terms(self) -> None:
        """End the destinations that the terms, if they have changed, no longer allow."""
        if self.service.entry.socks is self._socks:
            return
        self._socks = self.service.entry.socks
        for place in list(self._places.values()):
            if not self._may_reach(place.name):
                place.close()

    def dial(self, place: _Place) -> Pending | None:
        """Have a destination dialled for; None where too many are under way."""
        if sum(each.is_under_way for each in self._places.values()) >= _UNDER_WAY:
            return None
        carrier = self.shared.carriers.named(self._carrier)
        return carrier.dial(self.flow.order(*place.name, "udp"), place)

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
        self.keep_to_terms()
        place = self._places.get((host, port)) or self._open((host, port))
        if place is None:
            self.lose(errno.EACCES)
        else:
            place.send(datagram[start:])

    def _open(self, name: Endpoint) -> _Place | None:
        """A new destination; None where it may not be."""
        if not self._may_reach(name):
            return None
        if len(self._places) >= PLACES:
            min(self._places.values(), key=lambda place: place.last).close()
        place = self._places[name] = _Place(self, name)
        return place

    def _may_reach(self, name: Endpoint) -> bool:
        return self._socks is not None and allows(self._socks, *name, far=not self.is_direct)

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
    """One destination of an association: kept datagrams that have it dialled for, then a socket."""

    __slots__ = ("_association", "_header", "_kept", "_pause_until", "_sock", "_tie", "last", "name")

    def __init__(self, association: Association, name: Endpoint) -> None:
        self.name = name
        self.last = association.shared.loop.now
        self._association = association
        self._header = encode_datagram(*name)
        self._kept: deque[bytes] = deque()
        self._sock: Socket | None = None
        self._tie: Pending | None = None
        self._pause_until = self.last

    @property
    def is_under_way(self) -> bool:
        """Whether it is being dialled for."""
        return self._sock is None and self._tie is not None

    def send(self, datagram: memoryview) -> None:
        """Send one datagram there, or keep it for the time when that can be done."""
        association = self._association
        now = self.last = association.shared.loop.now
        if self._sock is not None:
            self._send(datagram)
            return
        if self._tie is None and now >= self._pause_until:
            self._tie = association.dial(self)
        if self._tie is None:
            association.lose(errno.EHOSTUNREACH)
        elif len(self._kept) < _KEPT:
            self._kept.append(bytes(datagram))
        else:
            association.lose(errno.EAGAIN)

    def dialled(self, sock: Socket, target: str, events: int) -> None:
        """It is reached."""
        association = self._association
        self._sock = sock
        if association.is_direct:
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
        association = self._association
        self._tie = None
        self._pause_until = association.shared.loop.now + _DIAL_PAUSE
        association.service.fail(cause)
        while self._kept:
            self._kept.popleft()
            association.lose(errno.EHOSTUNREACH)

    def aborted(self) -> None:
        """Its carrier has ended it."""
        self.close()

    def on_event(self, events: int) -> None:
        """Pass its answers on."""
        self._association.keep_to_terms()
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
