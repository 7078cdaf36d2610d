"""One far peer of a datagram port that a carrier listens on: an end of a pair, a socket to the target."""

from __future__ import annotations

import errno
import select
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sekimori.planes.relay.carried import NOBODY, Arrival, read_endpoint
from sekimori.planes.relay.datagrams import FULL
from sekimori.planes.relay.dial import failure_of
from sekimori.planes.relay.flows import Flow, SourceRow
from sekimori.planes.relay.udpflow import ICMP, IDLE, PEER_BUFFER, count_lost, dial, prepare
from sekimori.wire import proxyproto

if TYPE_CHECKING:
    from sekimori.planes.relay.arrivals import FarListen

__all__ = ["UdpArrival"]

_A_TURN: Final = 64
"""Datagrams carried one way before the others have their turn."""


class UdpArrival(Flow):
    """Carries datagrams between the far peer and the target. What a full socket does not take is dropped."""

    __slots__ = ("_arrival", "_header", "_near", "_place", "_refused", "_target")

    def __init__(self, place: FarListen, arrival: Arrival, row: SourceRow, target: Socket, host: str) -> None:
        """Takes over the arrival's socket, and `target`. Raises OSError when they cannot be watched."""
        service, loop = place.service, place.shared.loop
        idle = service.entry.idle or IDLE
        super().__init__(row, arrival.source, place.listen, host, loop.now, idle)
        self._place = place
        self._arrival = arrival
        self._near = arrival.sock
        self._target = target
        self._refused = False
        self._header = b"" if service.entry.proxy_protocol != 2 else self._introduction()
        prepare(self._near, PEER_BUFFER)
        loop.register(target.fileno(), select.EPOLLIN, self)
        try:
            loop.register(self._near.fileno(), select.EPOLLIN, _Near(self))
        except OSError:
            loop.unregister(target.fileno())
            raise

    @staticmethod
    def start(place: FarListen, arrival: Arrival, row: SourceRow) -> None:
        """Begin for a newcomer that was admitted, or turn it away where no target can be had."""
        service, code = place.service, errno.EADDRNOTAVAIL
        for host in service.entry.targets:
            try:
                target = dial(host, place.listen.target_port)
            except OSError as error:
                code = error.errno or errno.EIO
                continue
            try:
                flow = UdpArrival(place, arrival, row, target, host)
            except OSError as error:
                target.close()
                code = error.errno or errno.EIO
                continue
            arrival.hold(flow)
            service.opened(flow)
            return
        service.abandon(row, failure_of(code))
        arrival.turn_away()

    def _introduction(self) -> bytes:
        here = self._arrival.listen
        if self.source == NOBODY or read_endpoint(here) is None:
            return proxyproto.encode_unknown(2)
        return proxyproto.encode(2, "udp", (self.source, self.source_port), here)

    def on_event(self, _events: int) -> None:
        """Pass the target's answers on."""
        self._carry(self._target, self._answer)

    def on_near(self) -> None:
        """Pass on what the far peer sent; end once its carrier has closed."""
        self._carry(self._near, self._send)

    def _carry(self, sock: Socket, pass_on: Callable[[memoryview], None]) -> None:
        shared = self._place.shared
        self.last = shared.loop.now
        for _ in range(_A_TURN):
            try:
                size = sock.recv_into(shared.buffer)
            except OSError as error:
                if error.errno not in FULL:
                    self._break(sock, error.errno or errno.EIO)
                return
            if not size and sock is self._near and _is_closed(sock):
                self.cut()
                return
            pass_on(shared.view[:size])

    def _break(self, sock: Socket, error: int) -> None:
        if sock is self._near:  # closed with answers unread
            self.cut()
        else:
            self._note(error)

    def _send(self, datagram: memoryview) -> None:
        error = self._try_send(datagram)
        if error and error not in FULL:
            # It may be an earlier datagram's: having told it, the socket may take this one.
            self._note(error)
            error = self._try_send(datagram)
        if error:
            count_lost(self._place.service.counters.dropped, error)
        else:
            self.bytes_in += len(datagram)
            self.packets_in += 1

    def _try_send(self, datagram: memoryview) -> int:
        try:
            self._target.send(self._header + datagram if self._header else datagram)
        except OSError as error:
            return error.errno or errno.EIO
        self._header = b""
        return 0

    def _answer(self, datagram: memoryview) -> None:
        try:
            self._near.send(datagram)
        except OSError as error:
            count_lost(self._place.service.counters.dropped, error.errno or errno.EIO)
        else:
            self.bytes_out += len(datagram)
            self.packets_out += 1

    def _note(self, error: int) -> None:
        """What the target's host says by ICMP is about this peer only, and goes on."""
        service = self._place.service
        count_lost(service.counters.dropped, error)
        if error in ICMP and not self._refused:
            self._refused = True
            service.fail(failure_of(error))

    def aborted(self) -> None:
        """The far side broke off."""
        self.cut()

    def on_idle(self) -> None:
        """Silence: the end, unless the terms have come to allow more of it."""
        limit = self._place.service.entry.idle or IDLE
        if limit <= self.idle_after:
            self.cut()
            return
        self.idle_after = limit
        self._place.service.wheel.add(self)

    def cut(self) -> None:
        """End the flow."""
        if self._near.fileno() < 0:
            return
        self._arrival.abort()
        loop = self._place.shared.loop
        for sock in (self._near, self._target):
            loop.unregister(sock.fileno())
            sock.close()
        self._place.service.ended(self)


class _Near:
    """The far peer's side of a flow."""

    __slots__ = ("_flow",)

    def __init__(self, flow: UdpArrival) -> None:
        self._flow = flow

    def on_event(self, _events: int) -> None:
        """Something came from the far peer, or its end."""
        self._flow.on_near()


def _is_closed(sock: Socket) -> bool:
    """Whether a pair's other end is closed: the end of records reads like an empty one."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return bool(poll.poll(0))
