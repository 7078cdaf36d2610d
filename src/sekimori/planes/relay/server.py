"""The worker's end of the control channel: daemons connect here and say what to serve."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sekimori.host.frames import PROTOCOL, BadFrameError, FrameReader, Outbox
from sekimori.planes.relay.entry import Entry
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.roster import Roster
from sekimori.planes.relay.service import ListenKey, Service, key_of

__all__ = ["ControlServer", "PathTakenError"]

_UCRED: Final = struct.Struct("iII")
_FRAMES_A_TURN: Final = 16
"""Frames served before the flows have their turn again."""
_FLOWS_SHOWN: Final = 1000
_ACCEPT_AGAIN: Final = 0.1


class PathTakenError(Exception):
    """The path is taken by a worker that is alive."""


class ControlServer:
    """Listens on a unix socket and serves every connection until it ends."""

    def __init__(self, loop: Loop, roster: Roster, path: Path, quit_: Callable[[float], None]) -> None:
        """Raises OSError, or PathTakenError when another worker listens at `path`."""
        self.loop = loop
        self.roster = roster
        self.quit = quit_
        self.started = time.time()
        self.connections: set[_Connection] = set()
        self._path = path
        self._sock = _listen(path)
        self._uids = {0, os.geteuid()}
        loop.register(self._sock.fileno(), select.EPOLLIN, self)

    def on_event(self, _events: int) -> None:
        """A daemon connects."""
        try:
            sock, _address = self._sock.accept()
        except OSError:
            # Gone already, or no descriptor for it: it stays in the queue, so look again in a while.
            self.loop.modify(self._sock.fileno(), 0)
            self.loop.call_later(_ACCEPT_AGAIN, self._accept_again)
            return
        sock.setblocking(False)
        _pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid not in self._uids:
            sock.close()
            return
        self.connections.add(_Connection(self, sock))

    def _accept_again(self) -> None:
        if self._sock.fileno() >= 0:
            self.loop.modify(self._sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Stop listening and hang up."""
        self.loop.unregister(self._sock.fileno())
        self._sock.close()
        with suppress(OSError):  # already gone, or a directory that this user may no longer write
            self._path.unlink()
        for connection in list(self.connections):
            connection.hang_up()


def _listen(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        _clear(path)
        sock.bind(str(path))
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def _clear(path: Path) -> None:
    """Remove what a worker that is no more has left at `path`."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise PathTakenError(f"cannot listen at {path}: a worker is already there")
    path.unlink()


class _Connection:
    """One daemon's connection."""

    def __init__(self, server: ControlServer, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._open = True
        self._writing = False
        server.loop.register(sock.fileno(), select.EPOLLIN, self)

    def on_event(self, _events: int) -> None:
        """Serve what was asked, send what waits."""
        try:
            more = self._reader.read()
        except BlockingIOError:
            more = True
        except (BadFrameError, OSError):
            more = False
        if not more:
            self.hang_up()
            return
        self._serve()

    def hang_up(self) -> None:
        """Close the connection; what it set stays served."""
        if not self._open:
            return
        self._open = False
        self._server.connections.discard(self)
        self._server.loop.unregister(self._sock.fileno())
        self._reader.close()
        self._outbox.close()
        self._sock.close()

    def _serve(self) -> None:
        try:
            for _ in range(_FRAMES_A_TURN):
                frame = self._reader.next()
                if frame is None:
                    break
                self._outbox.put(self._answer(*frame))
            else:
                self._server.loop.soon(self._serve_on)
            self._send()
        except (BadFrameError, OSError):
            self.hang_up()

    def _serve_on(self) -> None:
        if self._open:
            self._serve()

    def _send(self) -> None:
        waiting = not self._outbox.send()
        if waiting != self._writing:
            self._writing = waiting
            events = select.EPOLLIN | select.EPOLLOUT if waiting else select.EPOLLIN
            self._server.loop.modify(self._sock.fileno(), events)

    def _answer(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        sockets = [socket.socket(fileno=fd) for fd in fds]
        try:
            operation = _OPERATIONS.get(message.get("op", ""))
            if operation is None:
                raise _RefusedError(f"no operation {message.get('op')!r}")
            answer = operation(self._server, message, sockets)
        except (_RefusedError, KeyError, TypeError, ValueError) as error:
            answer = {"error": _words(error)}
        finally:
            for sock in sockets:
                sock.close()
        return {"n": message.get("n"), **answer}


class _RefusedError(Exception):
    """An answer that says why not."""


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, _RefusedError) else f"{type(error).__name__}: {error}"


def _hello(server: ControlServer, _message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "pid": os.getpid(),
        "started": server.started,
        "entries": len(server.roster.services),
        "carriers": server.roster.carriers.state(),
    }


def _set(server: ControlServer, message: dict[str, Any], sockets: list[socket.socket]) -> dict[str, Any]:
    """Entries that make no sense are named in `bad`; the others take effect."""
    passed: dict[str, dict[ListenKey, socket.socket]] = {}
    for (name, protocol, address, port, dual), sock in zip(message.get("sockets", ()), sockets, strict=True):
        passed.setdefault(name, {})[protocol, address, port, dual] = sock
    sockets.clear()  # what entries leave in `passed` comes back below, to be closed
    for name, grace in message.get("remove", {}).items():
        server.roster.remove(name, grace)
    bad: dict[str, str] = {}
    missing: list[list[Any]] = []
    for value in message.get("entries", ()):
        try:
            entry = Entry.from_json(value)
            lacking = server.roster.set(entry, passed.get(entry.id, {}))
        except (KeyError, TypeError, ValueError, OSError) as error:
            bad[str(value.get("id"))] = _words(error)
        else:
            missing += [[entry.id, *key_of(listen)] for listen in lacking]
    sockets.extend(sock for rest in passed.values() for sock in rest.values())
    return {"missing": missing, "bad": bad}


def _state(server: ControlServer, _message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    return {"entries": server.roster.state()}


def _stats(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    return {"stats": server.roster.counters(message.get("ids"))}


def _sources(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    service = _service(server, message)
    return {"sources": service.counters.by_source(service.flows)}


def _flows(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    service, now = _service(server, message), server.loop.now
    most = message.get("limit", _FLOWS_SHOWN)
    chosen = sorted(service.flows, key=lambda flow: flow.started, reverse=True)[:most]
    return {"flows": [flow.to_json(now) for flow in chosen], "total": len(service.flows)}


def _cut(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    if message["id"] is None:
        return {"cut": server.roster.cut_source(message["source"])}
    return {"cut": _service(server, message).cut_source(message.get("source"))}


def _ban(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    return {"cut": server.roster.ban((prefix, end) for prefix, end in message["bans"])}


def _carrier(server: ControlServer, message: dict[str, Any], sockets: list[socket.socket]) -> dict[str, Any]:
    """Reach a carrier by the descriptor that comes along; without one, have no such carrier."""
    name, carriers = message["name"], server.roster.carriers
    if sockets:
        carriers.attach(name, sockets.pop(0))
    else:
        carriers.detach(name)
    return {}


def _quit(server: ControlServer, message: dict[str, Any], _sockets: list[socket.socket]) -> dict[str, Any]:
    server.quit(float(message.get("grace", 0.0)))
    return {}


def _service(server: ControlServer, message: dict[str, Any]) -> Service:
    service = server.roster.services.get(message["id"])
    if service is None:
        raise _RefusedError(f"no entry {message['id']!r} here")
    return service


_OPERATIONS: Final[
    dict[str, Callable[[ControlServer, dict[str, Any], list[socket.socket]], dict[str, Any]]]
] = {
    "hello": _hello,
    "set": _set,
    "state": _state,
    "stats": _stats,
    "sources": _sources,
    "flows": _flows,
    "cut": _cut,
    "ban": _ban,
    "carrier": _carrier,
    "quit": _quit,
}
