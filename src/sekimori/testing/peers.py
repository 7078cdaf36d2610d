"""Peers that tests talk through a relay with: echoes, talkers, a long transfer. Every wait is bounded."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, TypeVar

__all__ = [
    "DEADLINE",
    "Datagrams",
    "Peers",
    "Talker",
    "TcpEcho",
    "Transfer",
    "UdpEcho",
    "eventually",
    "is_alive",
]

T = TypeVar("T")


class Call(Protocol):
    """Runs what makes a socket, in whichever network it is to be in."""

    def __call__(self, make: Callable[[], T], /) -> T: ...


DEADLINE: Final = 10.0
"""Seconds that anything may take that should take milliseconds."""


def eventually(condition: Callable[[], T | None], deadline: float = DEADLINE, every: float = 0.02) -> T:
    """The first true value of `condition`, asked again and again for `deadline` seconds.

    Raises:
        AssertionError: it did not come true.
    """
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"it did not come true within {deadline:g} s: last {value!r}")
        time.sleep(every)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Talker:
    """A TCP connection; every call gives up after `DEADLINE`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE)
        self.sock = sock

    def send(self, data: bytes) -> None:
        """Send all."""
        self.sock.sendall(data)

    def exactly(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: the stream ended before.
        """
        data = bytearray()
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError(f"the stream ended after {len(data)} of {count} bytes")
            data += more
        return bytes(data)

    def says_back(self, data: bytes) -> bool:
        """Whether an echo at the other end returns `data`."""
        self.send(data)
        return self.exactly(len(data)) == data

    def rest(self) -> bytes:
        """All until the end of the stream."""
        data = bytearray()
        while more := self.sock.recv(1 << 16):
            data += more
        return bytes(data)

    def ended(self, within: float = DEADLINE) -> Literal["closed", "reset"]:
        """Wait for the end of the connection; how it came.

        Raises:
            TimeoutError: it still stands.
        """
        self.sock.settimeout(within)
        try:
            self.rest()
        except ConnectionResetError:
            return "reset"
        finally:
            self.sock.settimeout(DEADLINE)
        return "closed"

    def close(self) -> None:
        """Close it in order."""
        self.sock.close()


class Datagrams:
    """A UDP socket connected to one address."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def ask(self, data: bytes, deadline: float = DEADLINE) -> bytes:
        """Send until something comes back: datagrams may be lost.

        Raises:
            TimeoutError: nothing came.
        """
        end = time.monotonic() + deadline
        self.sock.settimeout(min(0.5, deadline))
        while time.monotonic() < end:
            with suppress(TimeoutError, ConnectionRefusedError):  # lost, or nobody there yet
                self.sock.send(data)
                return self.sock.recv(1 << 16)
        raise TimeoutError(f"no answer within {deadline:g} s")

    def close(self) -> None:
        """Close it."""
        self.sock.close()


class TcpEcho:
    """A listener that says `tag` and then returns what it gets, to the end of each connection.

    Attributes:
        port: where it listens.
        seen: the peers' addresses, in the order they came.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0, tag: bytes = b"") -> None:
        self._tag = tag
        self._sock = socket.create_server((address, port), family=_family(address), backlog=256)
        self.port: int = self._sock.getsockname()[1]
        self.seen: list[tuple[str, int]] = []
        self._taken: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Close the listener and every connection."""
        with suppress(OSError):  # not connected: shutdown is to wake `accept`, and does
            self._sock.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(DEADLINE)
        self._sock.close()
        for sock in self._taken:
            with suppress(OSError):  # it has ended already
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(DEADLINE)

    def _accept(self) -> None:
        while True:
            try:
                sock, address = self._sock.accept()
            except OSError:  # `close` woke us
                return
            self.seen.append(address[:2])
            self._taken.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=[sock], daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError):  # a reset ends it as any end does
            sock.sendall(self._tag)
            while data := sock.recv(1 << 16):
                sock.sendall(data)


class UdpEcho:
    """A datagram socket that returns what it gets, after `tag`.

    Attributes:
        port: where it listens.
        seen: the senders' addresses, in the order their datagrams came.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0, tag: bytes = b"") -> None:
        self._tag = tag
        self._sock = socket.socket(_family(address), socket.SOCK_DGRAM)
        self._sock.bind((address, port))
        self.port: int = self._sock.getsockname()[1]
        self.seen: list[tuple[str, int]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):  # not connected: shutdown is to wake `recvfrom`, and does
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                data, address = self._sock.recvfrom(1 << 16)
            except ConnectionRefusedError:  # an earlier peer has gone
                continue
            except OSError:
                return
            if not data and not address:  # `close` woke us
                return
            self.seen.append(address[:2])
            with suppress(OSError):  # the peer has gone
                self._sock.sendto(self._tag + data, address)


class Transfer:
    """Blocks sent to an echo and compared as they come back, until told to finish.

    One block at a time is under way, so that it goes on for as long as a test needs without
    filling the machine.
    """

    BLOCK: Final = 1 << 16

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.blocks = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> int:
        """Stop, and return how many bytes came back unchanged.

        Raises:
            AssertionError: bytes were changed; or the error that ended the connection.
        """
        self._stop.set()
        self._thread.join(DEADLINE)
        if self._error is not None:
            raise self._error
        assert not self._thread.is_alive(), "the transfer stands still"
        return self.blocks * self.BLOCK

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                block = hashlib.shake_128(struct.pack("!Q", self.blocks)).digest(self.BLOCK)
                assert self._talker.says_back(block), f"block {self.blocks} came back changed"
                self.blocks += 1
        except (OSError, EOFError, AssertionError) as error:
            self._error = error


class Peers:
    """Makes peers and closes them all at the end.

    Args:
        call: how to run what makes a socket: `Host.call` of `netlab` makes it in a namespace.
    """

    def __init__(self, call: Call | None = None) -> None:
        self._call: Call = call or _make_here
        self._stack = ExitStack()

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def tcp_echo(self, address: str = "127.0.0.1", port: int = 0, tag: bytes = b"") -> TcpEcho:
        """A TCP echo server."""
        return self._own(self._call(lambda: TcpEcho(address, port, tag)))

    def udp_echo(self, address: str = "127.0.0.1", port: int = 0, tag: bytes = b"") -> UdpEcho:
        """A UDP echo server."""
        return self._own(self._call(lambda: UdpEcho(address, port, tag)))

    def tcp_echoes(self, ports: Iterable[int], address: str = "127.0.0.1") -> list[TcpEcho]:
        """An echo on each port; each says its port and a newline first."""
        return [self.tcp_echo(address, port, f"{port}\n".encode()) for port in ports]

    def udp_echoes(self, ports: Iterable[int], address: str = "127.0.0.1") -> list[UdpEcho]:
        """An echo on each port; each says its port and a newline before what it returns."""
        return [self.udp_echo(address, port, f"{port}\n".encode()) for port in ports]

    def dial(self, port: int, address: str = "127.0.0.1", source: str | None = None) -> Talker:
        """Connect by TCP.

        Raises:
            OSError: nobody accepts.
        """
        return self._own(Talker(self._call(lambda: _connect(socket.SOCK_STREAM, address, port, source))))

    def datagrams(self, port: int, address: str = "127.0.0.1", source: str | None = None) -> Datagrams:
        """A UDP socket that sends to a port."""
        return self._own(Datagrams(self._call(lambda: _connect(socket.SOCK_DGRAM, address, port, source))))

    def transfer(self, talker: Talker) -> Transfer:
        """Begin a transfer over a connection to an echo."""
        return Transfer(talker)

    def accepts(self, port: int, address: str = "127.0.0.1", source: str | None = None) -> bool:
        """Whether a newcomer is let in: connected, and not reset before it has said anything.

        A relay that refuses a source resets it at accept, which may come after `connect` returned;
        so the newcomer sends one byte to an echo and waits for the answer.
        """
        try:
            talker = self.dial(port, address, source)
            talker.send(b"?")
            talker.exactly(1)
        except (ConnectionRefusedError, ConnectionResetError, EOFError, BrokenPipeError):
            return False
        talker.close()
        return True

    def _own(self, peer: _P) -> _P:
        self._stack.callback(peer.close)
        return peer


_P = TypeVar("_P", Talker, Datagrams, TcpEcho, UdpEcho)


def _make_here(make: Callable[[], T], /) -> T:
    return make()


def _connect(kind: socket.SocketKind, address: str, port: int, source: str | None) -> socket.socket:
    sock = socket.socket(_family(address), kind)
    try:
        sock.settimeout(DEADLINE)
        if source is not None:
            sock.bind((source, 0))
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
