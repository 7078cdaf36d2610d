"""The daemon's end of the control channel: start a worker, or take over one that is there.

Everything set in a worker outlives the connection: a daemon that comes later connects,
asks for `state`, compares digests, and sends only what differs.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekimori.host.frames import MOST_FDS, PROTOCOL, BadFrameError, FrameReader, Outbox
from sekimori.planes.relay.bans import Ban
from sekimori.planes.relay.entry import Entry, Listen

__all__ = ["Control", "Held", "SetAnswer", "WorkerLostError", "WorkerRefusedError", "connect", "spawn"]

_DEADLINE: Final = 10.0
_ENTRIES_A_FRAME: Final = 200

SocketName = tuple[str, Listen]
"""Entry id, and the Listen of it that a socket is for."""


class WorkerLostError(Exception):
    """The connection to a worker ended, or it did not answer in time. Its flows may be alive."""


class WorkerRefusedError(Exception):
    """The worker did not do what it was asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """One entry as a worker has it."""

    id: str
    digest: str
    """`Entry.digest` of the terms it goes by."""
    accepting: bool
    """False once it has expired or was removed: flows are living out their grace."""
    listens: frozenset[tuple[str, str, int, bool]]
    """Sockets held: protocol, address, port, dual."""
    flows: int

    def holds(self, listen: Listen) -> bool:
        """Whether the worker has a socket for `listen`."""
        return (listen.protocol, listen.address, listen.port, listen.dual) in self.listens


@dataclass(frozen=True, slots=True)
class SetAnswer:
    """What became of a `set`."""

    missing: tuple[tuple[str, str, str, int, bool], ...]
    """Listens that have no socket in the worker: entry id, protocol, address, port, dual."""
    bad: Mapping[str, str]
    """Entries that were not taken, and why."""


class Control:
    """A connection to one worker. Made by `connect` or `spawn`; used on one event loop.

    `pid`, `protocol` and `started` (unix seconds) are the worker's own words; `knows_carriers` is whether it
    is new enough to, and so to understand entries that lead through one, or to and from unix sockets.
    """

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.path = path
        self.pid = 0
        self.protocol = 0
        self.started = 0.0
        self.knows_carriers = False
        self.on_lost: Callable[[], None] | None = None
        """Called once when the connection ends without `close`."""
        self._sock = sock
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._open = True
        self._writing = False
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._open

    async def set(
        self,
        entries: Iterable[Entry] = (),
        sockets: Mapping[SocketName, socket.socket] | None = None,
        remove: Mapping[str, float | None] | None = None,
    ) -> SetAnswer:
        """Serve `entries` (new, or in place of their ids), stop serving those in `remove`.

        `sockets` are passed on and closed here, whatever happens. An entry keeps every
        socket that the worker already holds for a Listen of it; only new ones are passed.
        `remove` maps an id to the grace of its flows in seconds (0: cut now; None: the
        entry's own). Removals are done first, and entries in the order given; a call is not atomic.

        Raises:
            WorkerLostError, WorkerRefusedError
        """
        owned = {name: sock.detach() for name, sock in (sockets or {}).items()}
        try:
            frames = _frames(entries, owned, remove or {})
        except BaseException:
            _close(owned.values())
            raise
        answers = await asyncio.gather(*[self._begin("set", frame, fds) for frame, fds in frames])
        return SetAnswer(
            tuple(tuple(row) for answer in answers for row in answer["missing"]),
            {name: text for answer in answers for name, text in answer["bad"].items()},
        )

    async def state(self) -> dict[str, Held]:
        """All entries the worker has: what a daemon compares with its own to adopt them."""
        answer = await self._begin("state", {})
        return {
            row["id"]: Held(
                row["id"],
                row["digest"],
                row["accepting"],
                frozenset(tuple(key) for key in row["listens"]),
                row["flows"],
            )
            for row in answer["entries"]
        }

    async def stats(self, ids: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Figures per entry (None: of all), live flows included.

        flows_total, flows_active, bytes_in, bytes_out, packets_in, packets_out, refused
        {source, rate, limit, expired, banned}, failed {refused, timed_out, unreachable,
        prohibited, down, descriptors, other}, last_flow_at (unix seconds or None). Ids not served are absent.
        """
        answer = await self._begin("stats", {} if ids is None else {"ids": list(ids)})
        stats: dict[str, dict[str, Any]] = answer["stats"]
        return stats

    async def sources(self, name: str) -> list[dict[str, Any]]:
        """Figures per source address of one entry: address, active, total, bytes_in, bytes_out,
        packets_in, packets_out, refused, first_seen, last_seen. The row `others` holds the rest.
        """
        answer = await self._begin("sources", {"id": name})
        rows: list[dict[str, Any]] = answer["sources"]
        return rows

    async def flows(self, name: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Live flows of one entry, newest first: protocol, source, source_port, listen_port,
        target, target_port, bytes_in, bytes_out, packets_in, packets_out, age, idle, state.
        """
        answer = await self._begin("flows", {"id": name, "limit": limit})
        rows: list[dict[str, Any]] = answer["flows"]
        return rows

    async def cut(self, name: str | None, source: str | None = None) -> int:
        """End the flows of an entry at once (only those from the prefix `source`); how many.

        Without a name, those from `source` of every entry.
        """
        answer = await self._begin("cut", {"id": name, "source": source})
        count: int = answer["cut"]
        return count

    async def ban(self, bans: Sequence[Ban]) -> int:
        """Keep exactly these prefixes out of every entry from now on, each until its end in Unix seconds.

        Flows from there end at once; how many they were.
        """
        answer = await self._begin("ban", {"bans": list(bans)})
        count: int = answer["cut"]
        return count

    async def carriers(self) -> frozenset[str]:
        """The names of the carriers that the worker can ask now."""
        answer = await self._begin("hello", {"protocol": PROTOCOL})
        return frozenset(name for name, is_up in answer.get("carriers", {}).items() if is_up)

    async def carrier(self, name: str, sock: socket.socket | None) -> None:
        """Have the worker reach the carrier `name` over `sock`, which is closed here; None: by nothing.

        Raises:
            WorkerLostError, WorkerRefusedError (also of a worker too old to know carriers)
        """
        await self._begin("carrier", {"name": name}, None if sock is None else [sock.detach()])

    async def quit(self, grace: float = 0.0) -> None:
        """Tell the worker to leave: accept no more, end once nothing flows or after `grace` seconds."""
        await self._begin("quit", {"grace": grace})

    def close(self) -> None:
        """Hang up. The worker goes on serving."""
        self.on_lost = None
        self._lose("the connection was closed")

    async def _hello(self) -> None:
        answer = await self._begin("hello", {"protocol": PROTOCOL})
        self.pid, self.protocol, self.started = answer["pid"], answer["protocol"], answer["started"]
        self.knows_carriers = "carriers" in answer

    async def _begin(
        self, operation: str, members: dict[str, Any], fds: list[int] | None = None
    ) -> dict[str, Any]:
        if not self._open:
            _close(fds or ())
            raise self._lost("the connection has ended")
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting[number] = future
        self._outbox.put({"n": number, "op": operation, **members}, fds)
        self._send()
        try:
            async with asyncio.timeout(_DEADLINE):
                answer = await future
        except TimeoutError:
            self._lose("no answer")
            raise self._lost(f"no answer within {_DEADLINE:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise WorkerRefusedError(f"cannot {operation}: {answer['error']}")
        return answer

    def _readable(self) -> None:
        try:
            more = self._reader.read()
            while (frame := self._reader.next()) is not None:
                self._take(*frame)
        except BlockingIOError:
            return
        except (BadFrameError, OSError) as error:
            self._lose(str(error))
            return
        if not more:
            self._lose("the worker has ended")

    def _take(self, answer: dict[str, Any], fds: list[int]) -> None:
        _close(fds)  # a worker passes none
        future = self._waiting.get(answer.get("n", 0))
        if future is not None and not future.done():
            future.set_result(answer)

    def _send(self) -> None:
        try:
            waiting = not self._outbox.send()
        except OSError as error:
            self._lose(str(error))
            return
        if waiting and not self._writing:
            self._loop.add_writer(self._sock.fileno(), self._send)
        elif not waiting and self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._writing = waiting

    def _lost(self, cause: str) -> WorkerLostError:
        return WorkerLostError(f"cannot reach the relay worker at {self.path}: {cause}")

    def _lose(self, cause: str) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        if self._writing:
            self._loop.remove_writer(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._lost(cause))
        if self.on_lost is not None:
            self.on_lost()


async def connect(path: Path) -> Control:
    """Connect to the worker that listens at `path`, whoever started it.

    Raises:
        WorkerLostError: nobody listens there, or it does not answer.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(str(path))
    except OSError as error:
        sock.close()
        raise WorkerLostError(f"cannot reach the relay worker at {path}: {error.strerror}") from error
    control = Control(sock, path)
    try:
        await control._hello()
    except BaseException:
        control.close()
        raise
    return control


async def spawn(path: Path, *, user: tuple[int, int] | None = None, options: Sequence[str] = ()) -> Control:
    """Start a worker that listens at `path`, and connect to it.

    The worker detaches once it is listening: it is nobody's child, outlives this process,
    and leaves by itself when it has nothing left to do. `user` is the UID and GID it
    becomes (root only). `options` are further ones of the worker's command line.

    Raises:
        WorkerLostError: it did not start; its own words are on standard error.
    """
    command = [sys.executable, "-m", "sekimori.planes.relay.worker", "--detach", "--socket", str(path)]
    if user is not None:
        command += ["--user", f"{user[0]}:{user[1]}"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise WorkerLostError(f"cannot start a relay worker at {path}: {error.strerror}") from error
    code = await process.wait()
    if code:
        raise WorkerLostError(f"cannot start a relay worker at {path}: it ended with code {code}")
    return await connect(path)


def _frames(
    entries: Iterable[Entry], fds: Mapping[SocketName, int], remove: Mapping[str, float | None]
) -> list[tuple[dict[str, Any], list[int]]]:
    """Cut one `set` into frames that the kernel and the worker's turns can take."""
    by_entry: dict[str, list[tuple[Listen, int]]] = {}
    for (name, listen), fd in fds.items():
        by_entry.setdefault(name, []).append((listen, fd))
    frames = [_Frame()]
    frames[0].remove = dict(remove)
    for entry in entries:
        passed = by_entry.pop(entry.id, [])
        if not frames[-1].has_room(len(passed)):
            frames.append(_Frame())
        frames[-1].add(entry, passed)
    if by_entry:
        raise ValueError(f"sockets for entries that are not set: {', '.join(sorted(by_entry))}")
    return [(frame.to_json(), frame.fds) for frame in frames]


class _Frame:
    """One `set` frame being filled."""

    def __init__(self) -> None:
        self.remove: dict[str, float | None] = {}
        self.fds: list[int] = []
        self._entries: list[dict[str, Any]] = []
        self._sockets: list[tuple[str, str, str, int, bool]] = []

    def has_room(self, sockets: int) -> bool:
        """Whether an entry with so many sockets can be added."""
        return len(self._entries) < _ENTRIES_A_FRAME and len(self.fds) + sockets <= MOST_FDS

    def add(self, entry: Entry, sockets: Iterable[tuple[Listen, int]]) -> None:
        """Add an entry and the sockets passed for it."""
        self._entries.append(entry.to_json())
        for listen, fd in sockets:
            self._sockets.append((entry.id, listen.protocol, listen.address, listen.port, listen.dual))
            self.fds.append(fd)

    def to_json(self) -> dict[str, Any]:
        """The members of the frame."""
        return {"entries": self._entries, "sockets": self._sockets, "remove": self.remove}


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
