"""Where clients come in: before anybody is known, each costs a socket and little else.

Whoever connects is greeted at once and then waited for; only one that says something gets a connection of
asyncssh. How many may wait, and who gives way, is in `waiting`; who is not listened to for a while because
of what came from there before, in `penalties`.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
from asyncssh.connection import SSHServerConnectionOptions

from sekimori.doors.ssh.connection import BANNER, DEADLINE, DoorConnection
from sekimori.doors.ssh.penalties import Penalties, source_of
from sekimori.doors.ssh.waiting import Stage, Waiting
from sekimori.model.address import IPNetwork

__all__ = ["Entrance"]

_AT_ONCE: Final = 64
"""Newcomers that are taken in one turn of the loop."""
_PAUSE: Final = 0.1
"""Seconds without accepting, where there are no descriptors left."""
_UNACKNOWLEDGED: Final = 9000
"""Milliseconds that what was sent may go without an acknowledgement (tcp(7), TCP_USER_TIMEOUT)."""
_SUMMARY: Final = 60.0

_log = structlog.get_logger("ssh")


class _Newcomer:
    """A socket that was accepted, and the connection it became."""

    __slots__ = ("conn", "sock", "source")

    def __init__(self, sock: socket.socket, source: IPNetwork) -> None:
        self.sock = sock
        self.source = source
        self.conn: DoorConnection | None = None


class Entrance:
    """Accepts, and hands over who logs in.

    Args:
        options: of every connection.
        tasks: the parent of what it starts.
        penalties: what sources have brought upon themselves.
        is_full: whether nobody more can be let in.
    """

    def __init__(
        self,
        options: SSHServerConnectionOptions,
        tasks: TaskGroup,
        penalties: Penalties,
        is_full: Callable[[], bool],
    ) -> None:
        self._options = options
        self._tasks = tasks
        self._penalties = penalties
        self._is_full = is_full
        self._loop = asyncio.get_running_loop()
        self._listening: dict[str, socket.socket] = {}
        self._waiting: Waiting[_Newcomer] = Waiting()
        self._by_conn: dict[DoorConnection, _Newcomer] = {}
        self._counts: Counter[str] = Counter()

    def listen(self, key: str, sock: socket.socket) -> None:
        """Accept at a listening socket, owned from now on."""
        self.unlisten(key)
        sock.setblocking(False)
        self._listening[key] = sock
        self._loop.add_reader(sock.fileno(), self._accept, sock)

    def unlisten(self, key: str) -> None:
        """Accept there no more."""
        sock = self._listening.pop(key, None)
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    def close(self) -> None:
        """Accept nobody, and send away who waits."""
        for key in [*self._listening]:
            self.unlisten(key)
        for newcomer in self._waiting:
            self._send_away(newcomer)

    # -- what connections tell -----------------------------------------------------------------------

    def keyed(self, conn: DoorConnection) -> None:
        """A connection is encrypted."""
        newcomer = self._by_conn.get(conn)
        if newcomer is not None:
            self._waiting.reach(newcomer, Stage.KEYED)

    def logged_in(self, conn: DoorConnection) -> None:
        """Somebody logged in, and waits no more."""
        newcomer = self._by_conn.pop(conn, None)
        if newcomer is not None:
            self._counts["logged_in"] += 1
            self._penalties.succeed(newcomer.source)
            self._waiting.leave(newcomer)

    def lost(self, conn: DoorConnection, is_fault: bool) -> None:
        """A connection has ended; whether by something that no client in order says."""
        newcomer = self._by_conn.pop(conn, None)
        if newcomer is None:
            return
        self._waiting.leave(newcomer)
        if conn.tries or is_fault:
            self._blame(newcomer)

    # -- its life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send away who waits too long, and tell once a minute what came."""
        told = self._loop.time()
        while True:
            await asyncio.sleep(1.0)
            now = self._loop.time()
            for newcomer in self._waiting.late(now - DEADLINE):
                self._counts["too_late"] += 1
                if newcomer.conn is not None:
                    self._blame(newcomer)
                self._send_away(newcomer)
            if now - told >= _SUMMARY:
                told = now
                if self._counts:
                    _log.info("came", **self._counts, waiting=len(self._waiting))
                    self._counts.clear()

    # -- inside --------------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, peer = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._rest(listening)
                    return
                continue  # a newcomer that has left already (accept(2))
            self._take(sock, str(peer[0]))

    def _rest(self, listening: socket.socket) -> None:
        """Accept nobody for a moment."""
        self._counts["no_descriptors"] += 1
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_PAUSE, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._listening.values():
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _take(self, sock: socket.socket, peer: str) -> None:
        self._counts["came"] += 1
        source = source_of(ipaddress.ip_address(peer.partition("%")[0]))
        now = self._loop.time()
        if self._penalties.is_shut_out(source, now) or self._is_full():
            self._counts["turned_away"] += 1
            sock.close()
            return
        newcomer = _Newcomer(sock, source)
        gone = self._waiting.come(newcomer, source, now)
        if gone is not None:
            self._counts["gave_way"] += 1
            self._drop(gone)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
            sock.send(BANNER + b"\r\n")
        except OSError:  # it has left already
            self._send_away(newcomer)
            return
        self._loop.add_reader(sock.fileno(), self._hear, newcomer)

    def _hear(self, newcomer: _Newcomer) -> None:
        """Somebody said something, or left."""
        try:
            heard = newcomer.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:  # reset
            heard = b""
        if not heard:
            self._send_away(newcomer)
            return
        self._loop.remove_reader(newcomer.sock.fileno())
        self._waiting.reach(newcomer, Stage.SPEAKING)
        newcomer.conn = DoorConnection(self._loop, self._options)
        self._by_conn[newcomer.conn] = newcomer
        self._tasks.create_task(self._hand_over(newcomer, newcomer.conn))

    async def _hand_over(self, newcomer: _Newcomer, conn: DoorConnection) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: conn, newcomer.sock)
        except OSError:  # it has left meanwhile
            self._send_away(newcomer)
        if conn not in self._by_conn and conn.admitted is None:  # it gave way meanwhile
            conn.abort()

    def _send_away(self, newcomer: _Newcomer) -> None:
        self._waiting.leave(newcomer)
        self._drop(newcomer)

    def _drop(self, newcomer: _Newcomer) -> None:
        if newcomer.conn is not None:
            self._by_conn.pop(newcomer.conn, None)
            newcomer.conn.abort()  # where it has its transport; else once it has
        else:
            self._loop.remove_reader(newcomer.sock.fileno())
            newcomer.sock.close()

    def _blame(self, newcomer: _Newcomer) -> None:
        self._counts["failed"] += 1
        self._penalties.fail(newcomer.source, self._loop.time())
