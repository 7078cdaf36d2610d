"""An SSH connection whose two ends both carry flows over a `Line`."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_CONNECT_FAILED

from sekimori.host.sshchannel import ask
from sekimori.host.sshline import Line
from sekimori.host.sshpump import Pump, stream_pair

__all__ = ["MEGABYTE", "Pair", "digest", "joined", "receive", "send", "until"]

MEGABYTE = 1 << 20
GCM = "aes128-gcm@openssh.com"


class Far(asyncssh.SSHServer):
    """A server that lets anybody in and hands every channel's stream to the test."""

    def __init__(
        self, streams: asyncio.Queue[socket.socket], pumps: list[Pump], ends: list[bool], lines: bool
    ) -> None:
        self._streams = streams
        self._pumps = pumps
        self._ends = ends
        self._lines = lines
        self.line: Line | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def auth_completed(self) -> None:
        if self._lines:
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        self.line = Line(self.conn)

    def connection_requested(self, host: str, port: int, orig_host: str, orig_port: int) -> Any:
        if not self._lines:
            return True
        if host == "nowhere":
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, "nobody is there")
        assert self.line is not None
        ours, theirs = stream_pair()
        self._streams.put_nowait(theirs)
        self._pumps.append(Pump(ours, self.line, self._ends.append))
        return self._pumps[-1]


class Pair:
    """Two ends of an SSH connection, and the streams that go through."""

    def __init__(self, conn: asyncssh.SSHClientConnection, line: Line, streams: asyncio.Queue[socket.socket]):
        self.conn = conn
        self.line = line
        self.streams = streams
        self.ends: list[bool] = []
        self.far_ends: list[bool] = []
        self.far_pumps: list[Pump] = []

    async def open(self) -> tuple[socket.socket, socket.socket, Pump]:
        theirs, pump, opened = self.ask()
        assert await opened is None
        return theirs, await self.streams.get(), pump

    def ask(self, host: str = "far") -> tuple[socket.socket, Pump, Future[asyncssh.ChannelOpenError | None]]:
        ours, theirs = stream_pair()
        pump = Pump(ours, self.line, self.ends.append)
        return theirs, pump, ask(self.conn, pump, b"direct-tcpip", (host, 1), ("", 0))


@asynccontextmanager
async def joined(**options: Any) -> AsyncIterator[Pair]:
    streams: asyncio.Queue[socket.socket] = asyncio.Queue()
    pumps: list[Pump] = []
    ends: list[bool] = []
    key = asyncssh.generate_private_key("ssh-ed25519")
    shared = {"encryption_algs": [GCM], "compression_algs": ["none"], **options}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await asyncssh.create_server(
                lambda: Far(streams, pumps, ends, True), "127.0.0.1", 0, server_host_keys=[key], **shared
            )
        )
        conn = await asyncssh.connect(
            "127.0.0.1",
            server.get_port(),
            known_hosts=None,
            config=None,
            username="x",
            client_keys=None,
            agent_path=None,
            **shared,
        )
        stack.push_async_callback(conn.wait_closed)
        stack.callback(conn.abort)
        pair = Pair(conn, Line(conn), streams)
        pair.far_ends = ends
        pair.far_pumps = pumps
        yield pair


async def send(sock: socket.socket, data: bytes, *, end: bool = True) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)
    if end:
        sock.shutdown(socket.SHUT_WR)


async def receive(sock: socket.socket, delay: Callable[[], Awaitable[None]] | None = None) -> bytes:
    data = bytearray()
    loop = asyncio.get_running_loop()
    while more := await loop.sock_recv(sock, MEGABYTE):
        data += more
        if delay is not None:
            await delay()
    return bytes(data)


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - each end says it when it is over
            await asyncio.sleep(0.01)
