"""Datagrams to one port and out of another: as many as go, or so many a second."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from types import TracebackType

HOST = "127.0.0.1"
BUFFER = 4 << 20
BURST = 64
"""Datagrams between two looks at what has arrived."""
SETTLE = 0.5
"""Seconds of silence after which nothing more is under way."""


@dataclass(frozen=True)
class Count:
    """Of one measurement; `seconds` is how long was sent."""

    sent: int
    arrived: int
    seconds: float


class Load:
    """A sender and a sink of datagrams of one size.

    Attributes:
        target: the sink's port.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._data = b"x" * size
        self._sink = open_udp()
        self._sender = open_udp()
        self.target: int = self._sink.getsockname()[1]

    def __enter__(self) -> Load:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()
        self._sender.close()

    def lead_to(self, port: int) -> None:
        """Send to a port, from which datagrams come to the sink, and wait until they do."""
        self._sender.connect((HOST, port))
        end = time.monotonic() + 10
        while not self._settle(0.05):
            if time.monotonic() > end:
                raise TimeoutError("no datagram came through")
            self._send(1)
        self._settle(SETTLE)

    def flood(self, seconds: float) -> Count:
        """Send without a pause."""
        sent = arrived = 0
        begun = time.perf_counter()
        while (now := time.perf_counter()) < begun + seconds:
            sent += self._send(BURST)
            arrived += self._drain()
        return Count(sent, arrived + self._settle(SETTLE), now - begun)

    def steady(self, per_second: float, seconds: float) -> Count:
        """Send so many a second, a millisecond's worth at a time."""
        sent = arrived = 0
        begun = time.perf_counter()
        while (now := time.perf_counter()) < begun + seconds:
            due = int((now - begun) * per_second) - sent
            if due:
                sent += self._send(min(due, BURST))
            arrived += self._drain()
            time.sleep(0 if due > BURST else 0.001)
        return Count(sent, arrived + self._settle(SETTLE), now - begun)

    def _send(self, count: int) -> int:
        sent = 0
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            for _ in range(count):
                self._sender.send(self._data)
                sent += 1
        return sent

    def _drain(self) -> int:
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sink.recv(65536)
                count += 1
        return count

    def _settle(self, silence: float) -> int:
        """Read on until nothing has come for so many seconds; datagrams."""
        count = 0
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + silence:
            more = self._drain()
            if more:
                count += more
                quiet_since = time.monotonic()
            time.sleep(0.005)
        return count


def open_udp() -> socket.socket:
    """A socket that does not block, with buffers that hold a burst."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind((HOST, 0))
    return sock
