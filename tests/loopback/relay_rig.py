"""A real relay worker for tests, and peers that do one thing each."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from sekimori.planes.relay.control import Control, WorkerLostError, spawn
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen

DEADLINE = 10.0


async def eventually(condition: Callable[[], Any], deadline: float = DEADLINE) -> Any:
    """The first true value of `condition` (or of what it lets us await), asked until the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class Relay:
    """A worker and what it was told."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._names = 0

    async def serve(
        self,
        target_port: int,
        *,
        address: str = "127.0.0.1",
        dual: bool = False,
        targets: tuple[str, ...] = ("127.0.0.1",),
        **terms: Any,
    ) -> Entry:
        """Set an entry with one TCP listen on a free port."""
        self._names += 1
        listen = Listen("tcp", address, 0, target_port, dual)
        sock = open_listen(listen)
        listen = replace(listen, port=sock.getsockname()[1])
        entry = Entry(f"entry-{self._names}", (listen,), targets, **terms)
        answer = await self.control.set([entry], {(entry.id, listen): sock})
        assert answer.missing == ()
        assert answer.bad == {}
        return entry

    async def stats(self, entry: Entry) -> dict[str, Any]:
        """Figures of one entry."""
        return (await self.control.stats([entry.id]))[entry.id]


@asynccontextmanager
async def running(path: Path, *options: str) -> AsyncIterator[Relay]:
    """A worker at `path` that is gone at the end."""
    control = await spawn(path, options=options)
    relay = Relay(control)
    pid = control.pid
    try:
        yield relay
    finally:
        if relay.control.alive:  # perhaps another connection by now
            with suppress(WorkerLostError):  # told to leave, it may hang up before it answers
                await relay.control.quit()
            relay.control.close()
        await gone(pid)


async def gone(pid: int) -> None:
    """Wait for a process to end; kill it when it does not."""
    try:
        await eventually(lambda: not _alive(pid))
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def port_of(entry: Entry) -> int:
    """The port of an entry's only listen."""
    return entry.listens[0].port


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Peer:
    """A non-blocking socket with the calls that tests need; every wait has a deadline."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def send(self, data: bytes) -> None:
        """Send all."""
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, most: int = 1 << 20) -> bytes:
        """What comes next; empty at the end."""
        async with asyncio.timeout(DEADLINE):
            return await asyncio.get_running_loop().sock_recv(self.sock, most)

    async def exactly(self, count: int) -> bytes:
        """So many bytes."""
        data = bytearray()
        while len(data) < count:
            more = await self.receive(count - len(data))
            assert more, f"the stream ended after {len(data)} of {count} bytes"
            data += more
        return bytes(data)

    async def rest(self) -> bytes:
        """All until the end."""
        data = bytearray()
        while more := await self.receive():
            data += more
        return bytes(data)

    def end(self) -> None:
        """Say that no more will be sent."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close in order."""
        self.sock.close()

    async def was_reset(self) -> bool:
        """Wait for the end; whether it was a reset."""
        try:
            await self.rest()
        except ConnectionResetError:
            return True
        return False


async def dial(port: int, address: str = "127.0.0.1", source: str | None = None) -> Peer:
    """Connect to a port, from `source`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        if source is not None:
            sock.bind((source, 0))
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return Peer(sock)


async def turned_away(port: int, source: str | None = None) -> bool:
    """Whether a newcomer is reset; the reset may come before connect has returned."""
    try:
        peer = await dial(port, source=source)
    except ConnectionResetError:
        return True
    try:
        return await peer.was_reset()
    finally:
        peer.close()


class Target:
    """A listening socket whose connections the test takes one by one."""

    def __init__(self, address: str = "127.0.0.1", backlog: int = 128) -> None:
        self._sock = socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=backlog
        )
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        self.peers: list[Peer] = []

    async def accept(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(DEADLINE):
            sock, _address = await asyncio.get_running_loop().sock_accept(self._sock)
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    def take(self) -> Peer | None:
        """A connection that is waiting to be accepted."""
        try:
            sock, _address = self._sock.accept()
        except BlockingIOError:
            return None
        self.peers.append(Peer(sock))
        return self.peers[-1]

    def untouched(self) -> bool:
        """Whether nobody is waiting to be accepted."""
        return self.take() is None

    def close(self) -> None:
        """Close the listening socket and every connection taken."""
        self._sock.close()
        for peer in self.peers:
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def pair(relay: Relay, target: Target, entry: Entry | None = None) -> tuple[Entry, Peer, Peer]:
    """A client and the target's end of its flow."""
    entry = entry or await relay.serve(target.port)
    client = await dial(port_of(entry))
    return entry, client, await target.accept()


async def ended(relay: Relay, entry: Entry) -> dict[str, Any]:
    """The figures of an entry without live flows; empty while there are some."""
    stats = await relay.stats(entry)
    return {} if stats["flows_active"] else stats
