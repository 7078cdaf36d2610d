"""The door's process, with the test in the daemon's place: each word is said when the test says it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncssh

from sekimori.doors.ssh.process import serve
from sekimori.doors.ssh.rosterframes import roster_frames
from sekimori.host.frames import FrameReader, Outbox
from sekimori.model.grantwords import parse_grant

__all__ = ["DEADLINE", "DaemonSide", "housed", "until"]

DEADLINE = 10.0
GRANT = {"ports": "8000-8999", "from": "anyone"}


class DaemonSide:
    """Speaks the daemon's half of the control channel (`doors.ssh.process`).

    Attributes:
        port: where the door listens, on 127.0.0.1.
        key: the client's.
        heard: all that the process has said, in order.
        tasks: for what a test does beside.
    """

    def __init__(self, sock: socket.socket, tasks: asyncio.TaskGroup) -> None:
        sock.setblocking(False)
        self.tasks = tasks
        self.sock = sock
        self.heard: list[dict[str, Any]] = []
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)

    def tell(self, *messages: dict[str, Any], sock: socket.socket | None = None) -> None:
        """Say all of these in one breath; a socket goes with the last."""
        for message in messages:
            self._outbox.put(
                message, [sock.detach()] if sock is not None and message is messages[-1] else None
            )
        assert self._outbox.send()

    async def tell_at_length(self, *messages: dict[str, Any]) -> None:
        """Say what is more than fits the channel at one time."""
        for message in messages:
            self._outbox.put(message)
        await until(self._outbox.send)

    async def hears(self, operation: str, count: int = 1) -> dict[str, Any]:
        """The frame of an operation, the first or another, once it has come."""

        def found() -> list[dict[str, Any]]:
            with suppress(BlockingIOError):
                self._reader.read()
            while (frame := self._reader.next()) is not None:
                self.heard.append(frame[0])
            return [each for each in self.heard if each["op"] == operation]

        await until(lambda: len(found()) >= count)
        return found()[count - 1]

    def roster(self, options: str = "", **grant: object) -> None:
        """Let `alice` in by the client's key."""
        line = self.key.export_public_key().decode().strip()
        row = {
            "user": "alice",
            "line": f"{options} {line}".strip(),
            "grant": parse_grant(GRANT | grant).to_document(),
            "expires_at": None,
            "principal": "alice",
        }
        self.tell(*roster_frames([row], [], "UTC")[0])

    def bound(self, ask: dict[str, Any], generation: int = 1) -> dict[str, Any]:
        """The answer that a port was opened."""
        facts = {"place": "192.0.2.1:8080", "sources": "anyone", "until": None, "again": False}
        answer = {"op": "bound", "n": ask["n"], "id": "0001", "generation": generation}
        return answer | {"port": ask["port"] or 8080, "facts": facts}

    @asynccontextmanager
    async def client(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with asyncssh.connect(
            "127.0.0.1", self.port, known_hosts=None, client_keys=[self.key], username="alice", config=None
        ) as conn:
            yield conn


@asynccontextmanager
async def housed() -> AsyncIterator[DaemonSide]:
    """The process's work, in this process, until the block ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    async with asyncio.TaskGroup() as tasks:
        side = DaemonSide(ours, tasks)
        tasks.create_task(serve(theirs))
        try:
            host = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
            side.tell({"op": "start", "host_keys": [host], "exempt": ["127.0.0.0/8"], "first": 1})
            await side.hears("ready")
            listening = socket.create_server(("127.0.0.1", 0))
            side.port = listening.getsockname()[1]
            side.tell({"op": "listen", "key": "here"}, sock=listening)
            side.roster()
            yield side
        finally:
            ours.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)
