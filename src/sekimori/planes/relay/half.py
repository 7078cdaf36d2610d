"""Half of a TCP flow: reads one socket and writes the other.

First bytes go through one buffer that all flows share; a direction that keeps
arriving full is spliced through a pooled pipe. What the writing side does not take
is kept (one buffer, or one pipe) and reading stops until it has gone: a stalled
reader costs that much and no more.

System calls are what a small connection costs, so: TCP_NODELAY towards the target
is set before the second write (the first needs none), accepted sockets are not
switched to non-blocking until they are spliced (MSG_DONTWAIT does for send and
recv), EPOLLOUT is asked for once a socket has been full, and a short read means
that a socket is drained unless its end has been signalled.
"""

from __future__ import annotations

import os
import select
import struct
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from socket import IPPROTO_TCP, MSG_DONTWAIT, SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from typing import Final, Protocol

from sekimori.planes.relay.dial import EVENTS
from sekimori.planes.relay.pipes import PIPE_SIZE, Pipe
from sekimori.planes.relay.shared import COPY_SIZE, Shared

__all__ = ["READ", "TURN", "CarriedHalf", "Half", "Whole", "reset"]

TURN: Final = 1 << 20
"""Bytes after which a spliced direction lets the other flows have their turn."""

READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_ENDED: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_INWARD: Final = select.EPOLLIN | _ENDED
_OUT: Final = select.EPOLLOUT
_ERR: Final = select.EPOLLERR
_BULK_LEAST: Final = 16 * 1024
"""A spliced direction that moves less than this in a turn goes back to copying."""
_SPLICE_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_DOUBT: Final = 0.05
"""Seconds that the ends of a killed process may lie apart; the kernel closes thousands in a few ms."""
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


def reset(sock: Socket) -> None:
    """Close so that the other end sees a reset and nothing stays queued."""
    sock.setsockopt(SOL_SOCKET, SO_LINGER, _LINGER_RESET)
    sock.close()


class Whole(Protocol):
    """The flow that two halves make."""

    bytes_in: int
    bytes_out: int
    last: float

    def close(self) -> None:
        """Both directions have ended in order."""

    def reset(self) -> None:
        """One side is broken: reset both."""

    def half_closed(self) -> None:
        """One direction has ended in order."""


class Half:
    """One side of a flow. `peer` must be set before the first event."""

    __slots__ = (
        "armed",
        "bulk",
        "ended",
        "eof",
        "fd",
        "flow",
        "held",
        "inward",
        "lazy",
        "peer",
        "pending",
        "pipe",
        "shared",
        "sock",
    )

    peer: Half

    def __init__(self, shared: Shared, flow: Whole, sock: Socket, fd: int, inward: bool) -> None:
        self.shared = shared
        self.flow = flow
        self.sock = sock
        self.fd = fd
        self.inward = inward
        self.pending: bytes | None = None  # read from here, not yet taken by the peer
        self.pipe: Pipe | None = None  # the same: `held` bytes of it in a pipe
        self.held = 0
        self.eof = False  # the end was read, and passed on to the peer
        self.ended = False  # the end (FIN or RST) was signalled: a short read does not mean drained
        self.bulk = False
        self.armed = False  # registered for EPOLLOUT
        self.lazy = 0 if inward else 2  # writes until TCP_NODELAY must be set (0: never, or it is inherited)

    def on_event(self, events: int) -> None:
        """The socket is readable, writable again, ended or broken."""
        if events & _INWARD:
            if events & _ENDED:
                self.ended = True
            if self.eof or self.pending is not None or self.pipe is not None:
                if events & _ERR and self.sock.getsockopt(SOL_SOCKET, SO_ERROR):
                    self.flow.reset()
                    return
            elif self.bulk:
                self._splice()
            else:
                self._pump()
        if events & _OUT and self.fd >= 0:
            peer = self.peer
            if peer.pending is not None or peer.pipe is not None:
                peer.flush()

    def cut(self) -> None:
        """Reset the flow that this is a half of, if it has not ended."""
        if self.fd >= 0:
            self.flow.reset()

    def go_on(self) -> None:
        """Read on after a pause (nothing, when the flow has ended or waits for the peer)."""
        if self.fd < 0 or self.eof or self.pending is not None or self.pipe is not None:
            return
        if self.bulk:
            self._splice()
        else:
            self._pump()

    def flush(self) -> None:
        """Give the peer what it would not take before, then read on."""
        if not (self._flush_pending() if self.pipe is None else self._flush_pipe()):
            return
        self.flow.last = self.shared.loop.now
        self.go_on()

    def write_first(self, data: bytes) -> None:
        """Send `data` to the peer ahead of everything that is read here."""
        self.pending = data
        if self.peer.lazy:
            self.peer.write_soon()
        if not self._flush_pending() and self.fd >= 0:
            self.peer.want_write()

    def want_write(self) -> None:
        """Have EPOLLOUT told from now on. Asked for once, as most sockets are never full."""
        if not self.armed:
            self.armed = True
            self.shared.loop.modify(self.fd, EVENTS)

    def write_soon(self) -> None:
        """Called before a write while TCP_NODELAY is not set."""
        self.lazy -= 1
        if not self.lazy:
            self.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def release(self) -> None:
        """Forget everything that links to other objects. The socket stays open for the flow to end."""
        self.fd = -1
        if self.pipe is not None:
            self.shared.pipes.discard(self.pipe)
            self.pipe = None
        del self.peer

    def _pump(self) -> None:
        """Copy to the peer until this socket is drained or the peer's is full."""
        shared, flow, peer = self.shared, self.flow, self.peer
        flow.last = shared.loop.now
        recv, send = self.sock.recv_into, peer.sock.send
        while True:
            try:
                count = recv(shared.buffer, COPY_SIZE, MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                flow.reset()
                return
            if not count:
                self._pass_end()
                return
            if self.inward:
                flow.bytes_in += count
            else:
                flow.bytes_out += count
            if peer.lazy:
                peer.write_soon()
            try:
                sent = send(shared.view[:count], MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._peer_broken()
                return
            if sent < count:
                self.pending = bytes(shared.view[sent:count])
                peer.want_write()
                return
            if count == COPY_SIZE:
                self._go_bulk()
                return
            if not self.ended:
                return

    def _splice(self) -> None:
        """Like `_pump` for a direction that is bulk: through a pipe, without touching the bytes."""
        shared, flow = self.shared, self.flow
        now = flow.last = shared.loop.now
        pipe = shared.pipes.take(now)
        if pipe is None:
            self.bulk = False
            self._pump()
            return
        before = flow.bytes_in + flow.bytes_out
        self._through(pipe)
        if flow.bytes_in + flow.bytes_out - before < _BULK_LEAST:
            self.bulk = False

    def _through(self, pipe: Pipe) -> None:
        fd, into, moved = self.fd, pipe[1], 0
        flow, pipes = self.flow, self.shared.pipes
        while moved < TURN:
            try:
                count = os.splice(fd, into, PIPE_SIZE, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                pipes.give(pipe)
                return
            except OSError:
                pipes.give(pipe)
                flow.reset()
                return
            if not count:
                pipes.give(pipe)
                self._pass_end()
                return
            moved += count
            if self.inward:
                flow.bytes_in += count
            else:
                flow.bytes_out += count
            self.pipe, self.held = pipe, count
            if not self._drain():
                return
        pipes.give(pipe)
        self.shared.loop.soon(self.go_on)

    def _drain(self) -> bool:
        """Move what lies in the pipe to the peer; True when the pipe is empty and no longer held."""
        assert self.pipe is not None
        into, source = self.peer.fd, self.pipe[0]
        try:
            while self.held:
                self.held -= os.splice(source, into, self.held, flags=_SPLICE_FLAGS)
        except BlockingIOError:
            self.peer.want_write()
            return False
        except OSError:
            self._peer_broken()
            return False
        self.pipe = None
        return True

    def _flush_pipe(self) -> bool:
        pipe = self.pipe
        assert pipe is not None
        if not self._drain():
            return False
        self.shared.pipes.give(pipe)
        return True

    def _flush_pending(self) -> bool:
        data = self.pending
        assert data is not None
        try:
            sent = self.peer.sock.send(data, MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            self._peer_broken()
            return False
        self.pending = None if sent == len(data) else data[sent:]
        return self.pending is None

    def _go_bulk(self) -> None:
        self.bulk = True
        for half in (self, self.peer):
            os.set_blocking(half.fd, False)  # splice has no MSG_DONTWAIT of its own
            if half.lazy:
                half.lazy = 1
                half.write_soon()
        self._splice()

    def _pass_end(self) -> None:
        self.eof = True
        peer = self.peer
        if peer.eof:
            self.flow.close()
            return
        try:
            peer.sock.shutdown(SHUT_WR)
        except OSError:
            self.flow.reset()  # ENOTCONN: the peer was reset in this moment
            return
        self.flow.half_closed()

    def _peer_broken(self) -> None:
        """The peer takes no more (it was reset): pass on what it had said before, then reset.

        A server that refuses a request while it is still being sent answers and closes;
        its answer lies before the reset.
        """
        peer, flow = self.peer, self.flow
        if not peer.eof and peer.pending is None and peer.pipe is None:
            try:
                count = peer.sock.recv_into(self.shared.buffer, COPY_SIZE, MSG_DONTWAIT)
                self.sock.send(self.shared.view[:count], MSG_DONTWAIT)
            except OSError:
                count = 0  # there was nothing more, or nobody left to tell
            if peer.inward:
                flow.bytes_in += count
            else:
                flow.bytes_out += count
        flow.reset()


class CarriedHalf(Half):
    """A half whose socket (of AF_UNIX) has a carrier at its other end.

    A carrier that breaks off says so before it closes, and one that ends in order shuts its end down. One
    that is killed says nothing: its ends and its channel are closed in whatever order, and an end alone
    must not pass for one in order. So a closed end waits a moment for the channel's.
    """

    __slots__ = ("_doubted",)

    def __init__(self, shared: Shared, flow: Whole, sock: Socket, fd: int, inward: bool) -> None:
        Half.__init__(self, shared, flow, sock, fd, inward)
        self.lazy = 0
        self._doubted = False

    def _pass_end(self) -> None:
        if self.peer.eof or not self._is_closed():
            Half._pass_end(self)
        elif not self._doubted:
            self._doubted = True
            self.shared.loop.call_later(_DOUBT, self._pass_late_end)

    def _pass_late_end(self) -> None:
        if self.fd >= 0 and not self.eof:  # no word of its being broken off has come meanwhile
            Half._pass_end(self)

    def _is_closed(self) -> bool:
        """Whether the other end is closed, and not only shut down."""
        try:
            self.sock.send(b"", MSG_DONTWAIT)
        except OSError:
            return True
        return False
