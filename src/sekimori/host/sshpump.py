"""Carries a stream between an SSH channel and one end of a unix socket pair.

The other end of the pair is a relay worker's. Either direction ends by itself (EOF here, shutdown(2) there),
and what was broken off there is broken off here: an SSH channel that closes without an EOF before it, or
whose connection is lost, was not an orderly end.

Memory is bounded by the channel's receive window and one read of the socket: neither side is read while the
other one takes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from asyncssh.channel import SSHChannel, SSHForwardChannel
from asyncssh.constants import MSG_CHANNEL_EOF
from asyncssh.packet import SSHPacket

from sekimori.host.sshchannel import PACKET, QUIET, WINDOW, Carried
from sekimori.host.sshline import Line

__all__ = ["MOST_WINDOW", "PACKET", "WINDOW", "Pump", "stream_pair"]

MOST_WINDOW: Final = 16 << 20
"""What that grows to where the path is long: 160 MB/s over 100 ms."""

_READ: Final = 1 << 18
_BUFFER: Final = 1 << 20

_scratch: Final = memoryview(bytearray(_READ))
"""Where all of them read to: it is used up before anything else runs."""

_Chan = SSHForwardChannel[bytes]


def stream_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets that do not block: ours, and one to hand away."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    for each in pair:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return pair


class Pump(Carried):
    """The session of one forwarded channel, TCP or unix.

    Args:
        sock: our end of a `stream_pair`; owned from now on.
        line: the connection's.
        on_end: called once when the flow is over; with True when the far side broke it off.
    """

    def __init__(self, sock: socket.socket, line: Line, on_end: Callable[[bool], None]) -> None:
        self.bytes_in = 0
        """Bytes from the far side."""
        self.bytes_out = 0
        """Bytes to the far side."""
        self.busy_at = 0.0
        """The loop's time at which any came from either."""
        self._sock = sock
        self._fd = sock.fileno()
        self._line = line
        self._on_end: Callable[[bool], None] | None = on_end
        self._loop = asyncio.get_running_loop()
        self._readers = line.readers
        self._reading = False
        self._chan: _Chan | None = None
        self._queue: memoryview | None = None  # what the worker has not taken
        self._far_ended = False  # it said EOF, though perhaps not all before it has been written
        self._local_ended = False
        self._shut = False
        self._held = False  # the channel or the connection takes nothing now
        self._over = False
        self._growth = _Growth(line)

    @property
    def is_over(self) -> bool:
        """Whether nothing goes through any more."""
        return self._over

    # What asyncssh tells

    def connection_made(self, chan: Any) -> None:
        """The channel is open."""
        if self._over:  # nobody waits for it any more
            chan.abort()
            return
        self._chan = chan
        # Its handlers by kind are looked up on the object: only this one's EOF is seen here.
        chan._packet_handlers = _HANDLERS
        chan._logger = QUIET
        self._far_ended = chan._recv_state in ("eof_pending", "eof")
        # Nothing waits in the channel but the rest of one read; `resume_writing` says that it has gone.
        chan.set_write_buffer_limits(high=0, low=0)

    def session_started(self) -> None:
        """Data may flow."""
        if self._chan is not None:
            self._line.add(self)
            self._listen()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Bytes from the far side, by way of asyncssh."""
        self.parts_received([memoryview(data)], len(data))

    def parts_received(self, parts: list[memoryview], count: int) -> None:
        """Bytes from the far side, by way of the line."""
        if self._over:
            return
        self.bytes_in += count
        self.busy_at = now = self._loop.time()
        if self._queue is not None:
            self._queue = memoryview(b"".join((self._queue, *parts)))
            return
        try:
            sent = self._sock.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # the worker has closed its end without a word before
            self.abort()
            return
        if sent < count:
            self._queue = memoryview(b"".join(parts))[sent:]
            self._loop.add_writer(self._fd, self._drain)
            if self._chan is not None:
                self._chan.pause_reading()
            self._growth.held()
        elif self._chan is not None:
            self._growth.delivered(self._chan, count, now)

    def eof_received(self) -> bool:
        """The far side sends no more. The channel stays open for ours."""
        self._far_ended = True
        self._look()
        return True

    def pause_writing(self) -> None:
        """The far side's window is full."""
        self.hold()

    def resume_writing(self) -> None:
        """All that was written has gone."""
        self.unhold()
        # An EOF goes out after this, in the same turn.
        self._loop.call_soon(self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, or the whole connection has gone."""
        self._chan = None
        if self._over:
            return
        if exc is not None or not self._far_ended or self._line.is_lost:
            self._end(broken=True)
        elif self._queue is None:
            self._end(broken=False)
        else:  # what it sent is still to be delivered; what the worker says until then goes nowhere
            self._held = False
            self._listen()

    # What the connection and the carrier tell

    def noted_eof(self) -> None:
        """The far side's EOF came in; what was sent before it may not have been delivered yet."""
        self._far_ended = True

    def hold(self) -> None:
        """Read nothing from the worker for now."""
        if not self._held:
            self._held = True
            if self._chan is not None:
                self._deafen()

    def unhold(self) -> None:
        """Read on, unless the connection is held up too."""
        if self._held and not self._line.is_full:
            self._held = False
            if not self._over:
                self._listen()

    def resume_line(self) -> None:
        """The connection takes something again."""
        if self._chan is not None and not self._chan.get_write_buffer_size():
            self.unhold()

    def abort(self) -> None:
        """The worker broke the flow off, or is gone: so is the channel, without an EOF."""
        if not self._over:
            self._end(broken=False)

    # Inside

    def _listen(self) -> None:
        if not self._local_ended and not self._held and not self._reading:
            self._reading = True
            self._readers.add(self._fd, self._read)

    def _deafen(self) -> None:
        if self._reading:
            self._reading = False
            self._readers.remove(self._fd)

    def _read(self) -> None:
        try:
            count = self._sock.recv_into(_scratch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # closed with something unread: broken off
            self.abort()
            return
        if not count:
            self._local_ended = True
            self._deafen()
            if self._chan is not None:
                self._chan.write_eof()
            self._look()
            return
        self.bytes_out += count
        self.busy_at = self._loop.time()
        if self._chan is None or self._chan.is_closing():
            return  # it is closed by the far side, which takes nothing more
        self._line.write(self._chan, _scratch[:count])
        if self._line.is_full:
            self.hold()

    def _drain(self) -> None:
        assert self._queue is not None
        try:
            sent = self._sock.send(self._queue)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if sent < len(self._queue):
            self._queue = self._queue[sent:]
            return
        self._queue = None
        self._loop.remove_writer(self._fd)
        if self._chan is None:  # closed in order meanwhile
            self._end(broken=False)
            return
        self._chan.resume_reading()
        self._look()

    def _look(self) -> None:
        """End what has ended."""
        if self._over or self._queue is not None or self._chan is None:
            return
        chan = self._chan
        if chan._recv_state != "eof":  # it may have been noted, and not all before it been written
            return
        if not self._shut:
            self._shut = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:  # the worker has closed its end
                self.abort()
                return
        if self._local_ended and not chan.get_write_buffer_size():
            chan.close()  # both have ended: RFC 4254 §5.3 has either side say so

    def _end(self, *, broken: bool) -> None:
        self._over = True
        self._line.remove(self)
        self._deafen()
        if self._queue is not None:
            self._queue = None
            self._loop.remove_writer(self._fd)
        if self._chan is not None:
            chan, self._chan = self._chan, None
            chan.abort()
        on_end, self._on_end = self._on_end, None  # which may hold us: no cycle is to be left
        if on_end is not None:
            on_end(broken)  # first the word, then the end of the socket, which says less
        self._sock.close()


class _Growth:
    """Has the receive window grow where the sender is held up by it while we take all that comes.

    A whole window within two round trips and never a wait for our side means that it caps the path.
    """

    __slots__ = ("_line", "_seen", "_since")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._since = 0.0
        self._seen = 0

    def held(self) -> None:
        """Our side was too slow: begin to count anew."""
        self._seen = 0

    def delivered(self, chan: _Chan, count: int, now: float) -> None:
        """Bytes went through."""
        if not self._seen:
            self._since = now
        self._seen += count
        window = chan._init_recv_window
        if self._seen < window:
            return
        rtt = self._line.rtt
        if rtt is not None and now - self._since < 2 * rtt and window < MOST_WINDOW:
            chan._init_recv_window = min(2 * window, MOST_WINDOW)
        self._seen = 0


def _process_eof(chan: SSHChannel[bytes], kind: int, number: int, packet: SSHPacket) -> None:
    if isinstance(chan._session, Pump):
        chan._session.noted_eof()
    SSHChannel._process_eof(chan, kind, number, packet)


_HANDLERS: Final = {**SSHForwardChannel._packet_handlers, MSG_CHANNEL_EOF: _process_eof}
