"""A long path between two hosts of a lab: every packet arrives so many seconds after it left.

Made of two TUN devices and a thread that carries packets from one to the other, because not every kernel has
`netem`. It counts what is under way, so that a test can look at windows instead of at the clock.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sekimori.testing.netlab import Host

__all__ = ["FAR", "NEAR", "LongPath", "why_no_path"]

NEAR: Final = "192.0.2.1"
"""The address of the host that is named first."""
FAR: Final = "192.0.2.2"

_DEVICE: Final = Path("/dev/net/tun")
_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_MTU: Final = 16_000
"""Bytes: few packets, so that Python carries hundreds of megabytes a second."""
_BUFFERS: Final = "4096 33554432 67108864"
"""Of TCP (tcp(7)): the most is above any window of SSH."""
_AT_ONCE: Final = 64


def why_no_path() -> str | None:
    """Why none can be made here; None when one can."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"needs {_DEVICE}"
    return None


class LongPath:
    """The path, for as long as the context.

    Args:
        near: has `NEAR`.
        far: has `FAR`.
        delay: seconds one way.
    """

    def __init__(self, near: Host, far: Host, delay: float) -> None:
        self._hosts = near, far
        self._delay = delay
        self._ends: list[_End] = []
        self._stop = os.eventfd(0)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="long-path")

    def __enter__(self) -> Self:
        for host, (here, there) in zip(self._hosts, ((NEAR, FAR), (FAR, NEAR)), strict=True):
            self._ends.append(_End(host.call(_open_tun)))
            host.ip(f"address add {here} peer {there} dev long", f"link set long mtu {_MTU} up")
            host.call(_widen_tcp)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.eventfd_write(self._stop, 1)
        if self._thread.ident is not None:
            self._thread.join()
        for fd in (self._stop, *(end.fd for end in self._ends)):
            os.close(fd)
        if self._failure is not None:
            raise self._failure

    def reset(self) -> None:
        """Forget the most that was under way."""
        for end in self._ends:
            end.most = 0

    @property
    def most_to_near(self) -> int:
        """The most bytes that were under way to the first host at one time."""
        return self._ends[1].most

    @property
    def most_to_far(self) -> int:
        """The most bytes that were under way to the second host at one time."""
        return self._ends[0].most

    def _run(self) -> None:
        try:
            self._carry()
        except Exception as failure:  # raised where the context ends
            self._failure = failure

    def _carry(self) -> None:
        near, far = self._ends
        ways = {near.fd: (near, far.fd), far.fd: (far, near.fd)}
        with select.epoll() as poll:
            for fd in (self._stop, *ways):
                poll.register(fd, select.EPOLLIN)
            while True:
                next_due = min((end.queue[0][0] for end in self._ends if end.queue), default=None)
                wait = None if next_due is None else max(0.0, next_due - time.monotonic())
                for fd, _events in poll.poll(wait):
                    if fd == self._stop:
                        return
                    ways[fd][0].take(self._delay)
                now = time.monotonic()
                for end, to in ways.values():
                    end.give(to, now)


class _End:
    """A device, and what left by it and has not arrived."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.queue: deque[tuple[float, bytes]] = deque()
        self.most = 0
        self._under_way = 0

    def take(self, delay: float) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.fd, _MTU)
            except BlockingIOError:
                break
            self.queue.append((time.monotonic() + delay, packet))
            self._under_way += len(packet)
        self.most = max(self.most, self._under_way)

    def give(self, to: int, now: float) -> None:
        while self.queue and self.queue[0][0] <= now:
            packet = self.queue.popleft()[1]
            self._under_way -= len(packet)
            os.write(to, packet)


def _open_tun() -> int:
    """A device `long` in the network of this thread."""
    fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", b"long", _IFF_TUN | _IFF_NO_PI))
    return fd


def _widen_tcp() -> None:
    for name in ("tcp_rmem", "tcp_wmem"):
        Path("/proc/sys/net/ipv4", name).write_text(_BUFFERS)
