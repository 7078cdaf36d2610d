"""A carrier for tests: the other end of a worker's channel, each step of it taken by the test itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sekimori.host.frames import FrameReader, Outbox
from tests.loopback.relay_rig import DEADLINE, Peer, Relay, eventually


class FakeCarrier:
    """Speaks the frames of `host.frames`; nothing happens unless the test says so."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.peers: list[Peer] = []
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)

    async def heard(self, operation: str | None = None) -> dict[str, Any]:
        """The next frame from the worker, which is of this operation."""
        while (frame := self._reader.next()) is None:
            async with asyncio.timeout(DEADLINE):
                await _readable(self.sock)
            with suppress(BlockingIOError):
                assert self._reader.read(), "the worker has closed the channel"
        message, fds = frame
        assert fds == []
        assert operation in (None, message["op"]), message
        return message

    async def hung_up(self) -> None:
        """Wait until the worker has ended the channel, whatever it still says."""
        async with asyncio.timeout(DEADLINE):
            while True:
                await _readable(self.sock)
                try:
                    if not self._reader.read():
                        return
                except ConnectionResetError:  # it left something unread
                    return

    async def tell(self, message: dict[str, Any], sock: socket.socket | None = None) -> None:
        """Send a frame, with a descriptor."""
        self._outbox.put(message, None if sock is None else [sock.detach()])
        await eventually(self._outbox.send)

    def pair(self, kind: int = socket.SOCK_STREAM) -> tuple[Peer, socket.socket]:
        """The carrier's own end of a flow, and the one to pass."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        peer = Peer(ours)
        self.peers.append(peer)
        return peer, theirs

    async def dialled(self, order: dict[str, Any], kind: int = socket.SOCK_STREAM) -> Peer:
        """Answer a dial: the far side is this peer."""
        peer, theirs = self.pair(kind)
        await self.tell({"op": "dialled", "n": order["n"], "local": ["127.0.0.1", 4]}, theirs)
        return peer

    async def arrive(
        self,
        key: int,
        name: str,
        listen: tuple[str, int],
        source: tuple[str, int] | None = ("192.0.2.1", 5555),
        protocol: str = "tcp",
    ) -> Peer:
        """Bring a newcomer, who is this peer."""
        kind = socket.SOCK_SEQPACKET if protocol == "udp" else socket.SOCK_STREAM
        peer, theirs = self.pair(kind)
        message = {"op": "arrived", "k": key, "id": name, "protocol": protocol}
        await self.tell({**message, "source": source, "listen": listen}, theirs)
        return peer

    def close(self) -> None:
        """End the channel and every flow's end, as a process does that ends."""
        self._reader.close()
        self._outbox.close()
        self.sock.close()
        for peer in self.peers:
            peer.close()


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(sock.fileno(), event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(sock.fileno())


@asynccontextmanager
async def carrying(relay: Relay, name: str = "vps") -> AsyncIterator[FakeCarrier]:
    """A carrier of this name that the worker knows."""
    ours, theirs = socket.socketpair()
    await relay.control.carrier(name, theirs)
    carrier = FakeCarrier(ours)
    try:
        yield carrier
    finally:
        carrier.close()


def descriptors(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
