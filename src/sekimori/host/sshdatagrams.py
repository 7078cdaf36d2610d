"""Carries datagrams between a unix SOCK_SEQPACKET socket and a channel of the subsystem `sekimori`.

Both ends of such a channel use it (`wire.linkframes` has what is said before). Nothing waits here: a datagram
that the channel or the socket does not take now is dropped and counted, so one slow peer holds up no other.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final

from asyncssh.channel import SSHChannel

from sekimori.host.sshline import Line
from sekimori.wire.linkframes import LONGEST, Records, pack_record

__all__ = ["MOST_UNSENT", "DatagramPump", "record_pair"]

MOST_UNSENT: Final = 1 << 18
"""Bytes that may wait before datagrams are dropped: 20 ms at 100 Mbit/s."""

_AT_ONCE: Final = 64
_BUFFER: Final = 1 << 20


def record_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep datagrams apart and do not block: ours, and one to hand away."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in pair:
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return pair


class DatagramPump:
    """One flow of datagrams, from the record after the answer on.

    Attributes:
        dropped: datagrams that were, either way.
        bytes_in: bytes from the channel, the length before each datagram among them.
        bytes_out: bytes to the channel, likewise.

    Args:
        sock: our end of a `record_pair`, or a connected UDP socket; owned from now on.
        chan: the channel; whoever is its session passes what comes to `feed`, and calls `close` at its end.
        line: the connection's.
        on_end: called once, when the worker has closed its end or `close` was called.
    """

    def __init__(
        self, sock: socket.socket, chan: SSHChannel[bytes], line: Line, on_end: Callable[[], None]
    ) -> None:
        self.dropped = 0
        self.bytes_in = self.bytes_out = 0
        self._sock = sock
        self._chan = chan
        self._line = line
        self._on_end = on_end
        self._records = Records()
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._loop.add_reader(sock.fileno(), self._read)

    def feed(self, data: bytes | memoryview) -> None:
        """Bytes of the channel."""
        self.bytes_in += len(data)
        for record in self._records.feed_untrusted(data):
            if self._over:
                return
            try:
                self._sock.send(record)
            except (BlockingIOError, InterruptedError, ConnectionRefusedError):
                # Full; or, of a UDP socket, nobody was there for an earlier one (ICMP).
                self.dropped += 1
            except OSError:  # closed by the worker, or longer than the socket takes
                self._lose_or_close()

    def close(self) -> None:
        """End it, and the channel with it."""
        if self._over:
            return
        self._over = True
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._chan.close()
        self._on_end()

    def _read(self) -> None:
        records: list[bytes] = []
        ended = False
        for _ in range(_AT_ONCE):
            try:
                data = self._sock.recv(LONGEST)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionRefusedError:
                continue
            except OSError:
                ended = True
                break
            if not data and self._has_hung_up():  # and not a datagram of no bytes
                ended = True
                break
            records.append(pack_record(data))
        self._send(records)
        if ended:
            self.close()

    def _send(self, records: list[bytes]) -> None:
        if self._chan.is_closing():
            return
        for record in records:
            if self._chan.get_write_buffer_size() + self._line.waiting > MOST_UNSENT:
                self.dropped += 1
            else:
                self._line.write(self._chan, memoryview(record))
                self.bytes_out += len(record)

    def _lose_or_close(self) -> None:
        self.dropped += 1
        if self._has_hung_up():
            self.close()

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN | select.POLLRDHUP)
        return any(events & (select.POLLHUP | select.POLLRDHUP) for _fd, events in poll.poll(0))
