"""A link process, with the daemon's side and a worker's side of its channels held by the test."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sekimori.host.frames import FrameReader, Outbox
from sekimori.testing.sshd import Sshd

DEADLINE = 10.0


class Channel:
    """One side of a channel of frames, blocking."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self.frames: list[tuple[dict[str, Any], list[int]]] = []

    def tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        self._outbox.put(message, fds)
        while not self._outbox.send():
            select.select([], [self.sock], [], 1)

    def wait(self, deadline: float = DEADLINE, **members: Any) -> tuple[dict[str, Any], list[int]]:
        """The first frame with these members, once it is there."""
        end = time.monotonic() + deadline
        while True:
            for number, (frame, _fds) in enumerate(self.frames):
                if all(frame.get(key) == value for key, value in members.items()):
                    return self.frames.pop(number)
            left = end - time.monotonic()
            assert left > 0, (
                f"no {members} within {deadline} s, but {[frame for frame, _ in self.frames[-5:]]}"
            )
            select.select([self.sock], [], [], left)
            with suppress(BlockingIOError):
                assert self._reader.read(), f"ended before {members}: {[frame for frame, _ in self.frames]}"
            while (came := self._reader.next()) is not None:
                self.frames.append(came)

    def close(self) -> None:
        for _frame, fds in self.frames:
            for fd in fds:
                os.close(fd)
        self.frames.clear()
        self._reader.close()
        self._outbox.close()
        self.sock.close()


class LinkProcess:
    """`python -m sekimori.planes.link --control FD` with one worker."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sekimori.planes.link", "--control", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "HOME": "/nonexistent", **(env or {})},
            )
        self.control = Channel(ours)
        self.expected = 0
        self.worker = self.new_worker()
        self._numbers = iter(range(1, 1 << 30))
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.control.close()
        self.worker.close()
        for sock in self._sockets:
            sock.close()
        try:
            assert self.process.wait(10) == self.expected  # it ends with its control channel
        finally:
            self.process.kill()
            self.process.wait()

    def new_worker(self) -> Channel:
        ours, theirs = socket.socketpair()
        self.control.tell({"op": "worker", "index": 0}, [theirs.detach()])
        return Channel(ours)

    def start(self, *hops: Sshd, **changes: Any) -> None:
        self.control.tell({"op": "start", **document(*hops, **changes)})

    def up(self, deadline: float = DEADLINE) -> dict[str, Any]:
        return self.control.wait(deadline, op="state", phase="up")[0]

    def ask(self, host: str, port: int, protocol: str = "tcp", source: object = ("192.0.2.1", 5555)) -> int:
        number = next(self._numbers)
        self.worker.tell(
            {
                "op": "dial",
                "n": number,
                "id": "m1",
                "protocol": protocol,
                "host": host,
                "port": port,
                "source": source,
                "listen": ["0.0.0.0", 80],
            }
        )
        return number

    def dial(self, host: str, port: int, protocol: str = "tcp") -> tuple[socket.socket, int]:
        """The worker's end of a flow, blocking, and its number."""
        number = self.ask(host, port, protocol)
        _frame, fds = self.worker.wait(op="dialled", n=number)
        return self.own(fds[0]), number

    def own(self, fd: int) -> socket.socket:
        """A descriptor that was passed, as a blocking socket that is closed at the end."""
        sock = socket.socket(fileno=fd)
        sock.settimeout(DEADLINE)
        self._sockets.append(sock)
        return sock

    def listen(self, port: int, name: str = "m2", protocol: str = "tcp", host: str = "127.0.0.1") -> None:
        self.control.tell(
            {
                "op": "listen",
                "id": name,
                "port_key": f"{protocol}/{port}",
                "protocol": protocol,
                "host": host,
                "port": port,
                "worker": 0,
            }
        )

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def document(*hops: Sshd, **changes: Any) -> dict[str, Any]:
    *jump, place = hops
    return {
        "name": "vps",
        "place": place.url,
        "jump": [each.url for each in jump],
        "identity": [str(place.key)],
        "config": "none",
        "host_keys": [each.host_key_line for each in hops],
        "connections": 1,
        **changes,
    }


def try_once(how: str, *hops: Sshd, env: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """What `--scan` or `--test` says."""
    done = subprocess.run(
        [sys.executable, "-m", "sekimori.planes.link", how],
        input=json.dumps(document(*hops, **changes)) + "\n",
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
        env={**os.environ, "HOME": "/nonexistent", **(env or {})},
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
