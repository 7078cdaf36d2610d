"""A relay worker with the direct dialler, and a client that speaks SOCKS 5 byte by byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sekimori.planes.dialler.keeper import NAME, Dialler
from sekimori.planes.relay.entry import Entry, Socks
from tests.loopback.relay_rig import Peer, Relay, dial, eventually, port_of, running

HERE = ("127.0.0.0/8", "[::1]")


@asynccontextmanager
async def socks_relay(
    path: Path, *options: str, user: tuple[int, int] | None = None
) -> AsyncIterator[tuple[Relay, Dialler]]:
    """A worker and a dialler that are gone at the end."""
    async with running(path, *options) as relay, dialling(relay, user) as dialler:
        yield relay, dialler


@asynccontextmanager
async def dialling(relay: Relay, user: tuple[int, int] | None = None) -> AsyncIterator[Dialler]:
    """A dialler for a worker."""

    async def attach(name: str, take: Callable[[int, socket.socket], None]) -> None:
        ours, theirs = socket.socketpair()
        take(0, theirs)
        await relay.control.carrier(name, ours)

    async def detach(name: str) -> None:
        if relay.control.alive:
            await relay.control.carrier(name, None)

    dialler = Dialler(attach, detach, user)
    async with asyncio.TaskGroup() as group:
        running_ = group.create_task(dialler.run())
        dialler.want(True)
        await eventually(lambda: dialler.is_up)
        try:
            yield dialler
        finally:
            running_.cancel()


async def serve(relay: Relay, rules: tuple[str, ...] = HERE, **terms: Any) -> Entry:
    """A SOCKS port."""
    users = terms.pop("users", ())
    own = terms.pop("own", ())
    return await relay.serve(0, targets=(), carrier=NAME, socks=Socks(users, rules, own), **terms)


def packed(host: str, port: int) -> bytes:
    """An address as SOCKS 5 has it."""
    try:
        address = ip_address(host)
    except ValueError:
        return bytes((3, len(host))) + host.encode() + port.to_bytes(2)
    return bytes((1 if address.version == 4 else 4,)) + address.packed + port.to_bytes(2)


class Client:
    """A SOCKS 5 client. `command` and `answer` are the protocol's steps; `peer` the connection."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    @classmethod
    async def connect(cls, entry: Entry, source: str | None = None) -> Client:
        """Connected, and greeted without a password."""
        client = cls(await dial(port_of(entry), source=source))
        await client.peer.send(b"\x05\x01\x00")
        assert await client.peer.exactly(2) == b"\x05\x00"
        return client

    async def command(self, command: int, host: str, port: int) -> None:
        """CONNECT (1), BIND (2) or UDP ASSOCIATE (3)."""
        await self.peer.send(bytes((5, command, 0)) + packed(host, port))

    async def answer(self) -> tuple[int, tuple[str, int]]:
        """The code of the answer, and its address."""
        head = await self.peer.exactly(4)
        assert (head[0], head[2]) == (5, 0)
        size = {1: 4, 4: 16}[head[3]]
        raw = await self.peer.exactly(size + 2)
        return head[1], (str(ip_address(raw[:size])), int.from_bytes(raw[size:]))

    async def ask(self, command: int, host: str, port: int) -> tuple[int, tuple[str, int]]:
        """A command and its answer."""
        await self.command(command, host, port)
        return await self.answer()

    def close(self) -> None:
        """Hang up."""
        self.peer.close()
