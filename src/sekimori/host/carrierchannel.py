"""A carrier's side of its channel to one relay worker (asyncio).

A carrier is a process that dials, and takes newcomers, for the relay: over SSH, or directly. Each relay
worker has one channel to it, a stream socket pair with the frames of `host.frames`:

    worker -> carrier
      {"op":"dial","n":17,"id":"m12","protocol":"tcp"|"udp"|"unix","host":"db","port":5432,
       "source":["192.0.2.1",5555]|null,"listen":["0.0.0.0",8080]|null}     reach this place
      {"op":"bind","n":18,...}                           wait for one connection (SOCKS's BIND)
      {"op":"cancel","n":17}                             its client has gone
      {"op":"aborted","n":17} | {"op":"aborted","k":5}   its client broke off: so must the far side
      {"op":"turned_away","k":5}                         this newcomer is not let in
    carrier -> worker
      {"op":"dialled","n":17,"local":["addr",port]|null,"peer":["addr",port]|null} and a descriptor
      {"op":"bound","n":18,"local":["addr",port]}        then "dialled" once somebody came
      {"op":"failed","n":17,"cause":"refused"|...}       see `CAUSES`
      {"op":"arrived","k":5,"id":"m12","protocol":"tcp"|"udp","source":[...],"listen":[...]} and a descriptor
      {"op":"aborted","n":17} | {"op":"aborted","k":5}   the far side broke off: so must the client's

What is passed is one end of a flow. A stream's end is half-closed by shutdown(2). Datagrams travel over
SOCK_SEQPACKET, one to a record; either side sends without waiting and drops what does not go.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import CancelledError, Task, TaskGroup
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog

from sekimori.host.frames import BadFrameError, FrameReader, Outbox

__all__ = ["CAUSES", "Cause", "Channel", "Dial", "DialFailed", "Dialled", "Endpoint", "Flow"]

_log = structlog.get_logger("carrier")

Cause = Literal["refused", "timed_out", "unreachable", "prohibited", "down", "other"]
CAUSES: Final[tuple[Cause, ...]] = ("refused", "timed_out", "unreachable", "prohibited", "down", "other")
"""Why a place could not be reached: nobody listens there, no answer came, no way or no such name, the far end
does not allow it, the link is down, anything else."""

Endpoint = tuple[str, int]
"""Address and port; a unix socket is its path and 0."""


@dataclass(frozen=True, slots=True)
class Dial:
    """What a worker wants to be reached, or waited for.

    Attributes:
        n: the worker's number for it.
        worker: the worker's index.
        id: the mapping's.
        op: `dial`, or `bind` to wait for one connection from `host`.
        protocol: tcp, udp or unix (then `host` is a path).
        host: an address or a name, which the carrier resolves where it connects.
        source: who came, where that is known.
        listen: where they came in.
        asked: the whole frame, with members that only some carriers know.
    """

    n: int
    worker: int
    id: str
    op: str
    protocol: str
    host: str
    port: int
    source: Endpoint | None
    listen: Endpoint | None
    asked: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Dialled:
    """A place that was reached.

    Attributes:
        sock: the worker's end, that does not block; `Carriage` closes it here once it is sent.
        local: where it was dialled from.
        peer: who it leads to, after a `bind`.
        on_aborted: called once when the worker breaks the flow off, or is gone. A carrier that gives one
            calls `Carriage.over` when the flow has ended.
    """

    sock: socket.socket
    local: Endpoint | None = None
    peer: Endpoint | None = None
    on_aborted: Callable[[], None] | None = None


class DialFailed(Exception):  # noqa: N818 - it says what happened, as `failed` in the channel does
    """A place could not be reached, or a newcomer not be handed over.

    Attributes:
        cause: one of `CAUSES`.
    """

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class Flow:
    """Whom to tell that a flow is broken off, or was not let in."""

    on_aborted: Callable[[], None]
    on_turned_away: Callable[[], None] | None = None


class Channel:
    """The channel of one worker."""

    def __init__(
        self,
        index: int,
        sock: socket.socket,
        tasks: TaskGroup,
        serve: Callable[[Dial], Awaitable[Dialled]],
        on_lost: Callable[[Channel], None],
    ) -> None:
        sock.setblocking(False)
        self.index = index
        self.flows: dict[tuple[str, int], Flow] = {}
        self._sock = sock
        self._tasks = tasks
        self._serve = serve
        self._on_lost = on_lost
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._serving: dict[int, Task[None]] = {}
        self._broken: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._writing = False
        self._closed = False
        self._loop.add_reader(sock.fileno(), self._read)

    @property
    def is_stuck(self) -> bool:
        """Whether the worker reads too slowly to be given more."""
        return bool(self._outbox)

    def put(self, message: dict[str, Any], sock: socket.socket | None = None) -> None:
        """Send a frame, with a descriptor that is owned from now on."""
        if self._closed:
            if sock is not None:
                sock.close()
            return
        self._outbox.put(message, [sock.detach()] if sock is not None else None)
        self._write()

    def abort(self, key: tuple[str, int]) -> None:
        """Have the worker reset a flow; one that it has not been told of yet, once it is."""
        kind, number = key
        if self.flows.pop(key, None) is not None:
            self.put({"op": "aborted", kind: number})
        elif kind == "n" and number in self._serving:
            self._broken.add(number)

    def forget(self, key: tuple[str, int]) -> None:
        """A flow has ended."""
        self.flows.pop(key, None)

    def close(self) -> None:
        """End the channel and all that came by it."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()
        for task in list(self._serving.values()):
            task.cancel()
        flows, self.flows = self.flows, {}
        for flow in flows.values():
            flow.on_aborted()

    def _write(self) -> None:
        try:
            done = self._outbox.send()
        except OSError as error:
            _log.warning("worker_gone", worker=self.index, why=str(error))
            self._loop.call_soon(self._on_lost, self)
            return
        if done and self._writing:
            self._loop.remove_writer(self._sock.fileno())
        elif not done and not self._writing:
            self._loop.add_writer(self._sock.fileno(), self._write)
        self._writing = not done

    def _read(self) -> None:
        try:
            more = self._reader.read()
            while not self._closed and (frame := self._reader.next()) is not None:
                self._take(frame[0])
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, BadFrameError, KeyError, TypeError, ValueError) as error:
            _log.warning("worker_gone", worker=self.index, why=repr(error))
            more = False
        if not more and not self._closed:
            self._on_lost(self)

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("op"):
            case "dial" | "bind":
                dial = _read_dial(self.index, message)
                task = self._tasks.create_task(self._dial(dial))
                self._serving[dial.n] = task
                # Not in the task itself: it may be cancelled before it has begun.
                task.add_done_callback(lambda _task: self._served(dial.n))
            case "cancel":
                serving = self._serving.get(message["n"])
                if serving is not None and not serving.done():  # it is taken out in a later turn
                    serving.cancel()
                else:  # our answer and its change of mind met on the way
                    self._end(("n", message["n"]))
            case "aborted":
                self._end(_key_of(message))
            case "turned_away":
                flow = self.flows.pop(("k", message["k"]), None)
                if flow is not None and flow.on_turned_away is not None:
                    flow.on_turned_away()

    def _end(self, key: tuple[str, int]) -> None:
        flow = self.flows.pop(key, None)
        if flow is not None:
            flow.on_aborted()

    async def _dial(self, dial: Dial) -> None:
        try:
            dialled = await self._serve(dial)
        except DialFailed as failure:
            self.put({"op": "failed", "n": dial.n, "cause": failure.cause})
        except CancelledError:
            # Cancelled for this dial alone: the group must not take it for its own end.
            if self._closed:
                raise
        except Exception:
            _log.exception("dial_failed", dial=str(dial))
            self.put({"op": "failed", "n": dial.n, "cause": "other"})
        else:
            self._answer(dial, dialled)

    def _served(self, number: int) -> None:
        self._serving.pop(number, None)
        self._broken.discard(number)

    def _answer(self, dial: Dial, dialled: Dialled) -> None:
        if self._closed:
            dialled.sock.close()
            if dialled.on_aborted is not None:
                dialled.on_aborted()
            return
        if dialled.on_aborted is not None:
            self.flows["n", dial.n] = Flow(dialled.on_aborted)
        self.put({"op": "dialled", "n": dial.n, "local": dialled.local, "peer": dialled.peer}, dialled.sock)
        if dial.n in self._broken:  # before anybody could be told: an end of it must not look orderly
            self.flows.pop(("n", dial.n), None)
            self.put({"op": "aborted", "n": dial.n})


def _read_dial(worker: int, message: dict[str, Any]) -> Dial:
    return Dial(
        n=message["n"],
        worker=worker,
        id=message["id"],
        op=message["op"],
        protocol=message["protocol"],
        host=message["host"],
        port=message["port"],
        source=_endpoint(message.get("source")),
        listen=_endpoint(message.get("listen")),
        asked=message,
    )


def _endpoint(value: Any) -> Endpoint | None:
    return None if value is None else (str(value[0]), int(value[1]))


def _key_of(message: dict[str, Any]) -> tuple[str, int]:
    return ("n", message["n"]) if "n" in message else ("k", message["k"])
