"""Happy eyeballs over real loopback sockets, one turn of the loop at a time."""

from __future__ import annotations

import array
import fcntl
import select
import socket
import termios
from _socket import socket as Socket  # noqa: N812
from pathlib import Path

from sekimori.planes.relay.dial import Race, UnixDial
from sekimori.planes.relay.flows import Failure
from sekimori.planes.relay.loop import Loop


class Told:
    """Writes down what a race comes to, and stops the loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sock: Socket | None = None
        self.events = 0
        self.failure: Failure | None = None

    def dialled(self, sock: Socket, _target: str, events: int) -> None:
        self.sock, self.events = sock, events
        self.loop.stop()

    def dial_failed(self, cause: Failure) -> None:
        self.failure = cause
        self.loop.stop()


def _turn(loop: Loop) -> None:
    loop.soon(loop.stop)
    loop.run()


def _wait_until_received(sock: socket.socket) -> None:
    """Until everything sent has been acknowledged (tcp(7), SIOCOUTQ)."""
    unsent = array.array("i", [1])
    while unsent[0]:  # the test's own time limit is the deadline
        fcntl.ioctl(sock, termios.TIOCOUTQ, unsent)


def test_what_a_target_says_at_once_is_told_with_the_connection() -> None:
    loop = Loop()
    told = Told(loop)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Race(loop, told, [("127.0.0.1", port), ("127.0.0.2", port)])
        _turn(loop)
        peer, _address = server.accept()
        with peer:
            peer.sendall(b"220 ready")
            _wait_until_received(peer)
            loop.run()
            assert told.events & select.EPOLLIN
            assert told.sock is not None
            assert told.sock.recv(64) == b"220 ready"
            loop.unregister(told.sock.fileno())
            told.sock.close()
    loop.close()


def test_a_refused_address_gives_way_to_the_next() -> None:
    loop = Loop()
    told = Told(loop)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        Race(loop, told, [("127.0.0.2", port), ("127.0.0.1", port)])
        loop.run()
        assert told.sock is not None
        assert told.sock.getpeername() == ("127.0.0.1", port)
        loop.unregister(told.sock.fileno())
        told.sock.close()
    loop.close()


def test_all_refused_is_told_with_the_cause() -> None:
    loop = Loop()
    told = Told(loop)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    Race(loop, told, [("127.0.0.2", port), ("127.0.0.3", port)])
    loop.run()
    assert told.failure == "refused"
    loop.close()


def test_a_unix_socket_is_reached_or_the_cause_told(tmp_path: Path) -> None:
    loop = Loop()
    told = Told(loop)
    path = tmp_path / "target.sock"
    UnixDial(loop, told, str(path))
    loop.run()
    assert told.failure == "refused"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        UnixDial(loop, told, str(path))
        loop.run()
        assert told.sock is not None
        peer, _address = server.accept()
        peer.close()
        loop.unregister(told.sock.fileno())
        told.sock.close()
        cancelled = Told(loop)
        UnixDial(loop, cancelled, str(path)).cancel()
        _turn(loop)
        assert (cancelled.sock, cancelled.failure) == (None, None)
    loop.close()
