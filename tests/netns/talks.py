"""Conversations through a gateway that tests go on asking, and newcomers that are let in or not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress

from sekimori.testing.netlab import Host
from sekimori.testing.peers import DEADLINE, Peers, Talker, UdpEcho

SHORT = 0.4
"""Seconds to wait for an answer that should not come."""

Talk = Callable[[float], bool]
"""Whether a conversation still goes on, asked with a deadline."""


def talk(stack: ExitStack, kind: str, host: Host, source: tuple[str, int], to: tuple[str, int]) -> Talk:
    """A conversation with an echo, by TCP or UDP, for as long as the stack."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    stream = kind == "tcp"

    def connect() -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        stack.enter_context(closing(sock))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(DEADLINE)
        sock.bind(source)
        sock.connect(to)
        return sock

    sock = host.call(connect)
    numbers = iter(range(1_000_000))
    if not stream:
        return lambda within: _answers(sock, b"%d" % next(numbers), within)
    talker = Talker(sock)
    return lambda within: _says_back(talker, b"%06d" % next(numbers), within)


def go_on(talks: Iterable[Talk]) -> bool:
    """Whether all of them go on."""
    return all(each(DEADLINE) for each in talks)


def have_ended(talks: Iterable[Talk]) -> bool:
    """Whether none of them goes on."""
    return not any(each(SHORT) for each in talks)


def fire(peers: Peers, port: int, address: str, count: int, source: str | None = None) -> None:
    """So many new flows of one datagram each, that nobody waits for."""
    for _ in range(count):
        peers.datagrams(port, address, source).sock.send(b"fired")


def came(echo: UdpEcho, address: str) -> int:
    """How many datagrams an echo got from an address."""
    return sum(1 for source, _ in list(echo.seen) if source == address)


def _answers(sock: socket.socket, data: bytes, within: float) -> bool:
    """Whether just this comes back: what was asked before may be answered late."""
    end = time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        sock.settimeout(min(0.2, left))
        with suppress(TimeoutError, OSError):  # lost, or nobody there
            sock.send(data)
            while sock.recv(1 << 16) != data:
                pass
            return True
    return False


def _says_back(talker: Talker, data: bytes, within: float) -> bool:
    talker.sock.settimeout(within)
    try:
        return talker.says_back(data)
    except (TimeoutError, ConnectionResetError, BrokenPipeError, EOFError):
        return False
