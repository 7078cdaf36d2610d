"""Serve the API on a unix socket, with the kernel's word on who is at the other end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from sekimori.doors.api.access import read_peer
from sekimori.model.errors import Problem

__all__ = ["bind_socket", "serve"]

_BACKLOG: Final = 128
_GRACE: Final = 2.0
"""Seconds that calls under way get to end when the daemon does."""

_log = structlog.get_logger(__name__)


async def serve(
    app: FastAPI,
    socket_path: Path,
    *,
    mode: int = 0o660,
    group: int | None = None,
    started: Callable[[], None] | None = None,
) -> None:
    """Serve an app on a unix socket until cancelled; calls under way get two seconds to end.

    Args:
        app: from `create_app`.
        socket_path: made here, and removed at the end.
        mode: of the socket; `Access.socket_mode` says which.
        group: a group id for the socket; None leaves it the daemon's.
        started: called once the socket accepts.

    Raises:
        Problem: see `bind_socket`.
    """
    with bind_socket(socket_path, mode=mode, group=group) as listener:
        await _serve_on(app, listener, started)


@contextmanager
def bind_socket(path: Path, *, mode: int = 0o660, group: int | None = None) -> Iterator[socket.socket]:
    """A listening unix socket at `path`, removed when the context ends.

    What an ended daemon left there is replaced; what still answers, or is no socket, is not.

    Raises:
        Problem: `state-in-use` when somebody answers there, `state-unusable` otherwise.
    """
    path = path.absolute()
    try:
        path.parent.mkdir(0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        listener = _listen(path, mode, group)
    except OSError as error:
        why = error.strerror or str(error)  # a path beyond 107 bytes has no errno
        raise Problem("state-unusable", directory=str(path.parent), why=f"{path.name}: {why}") from None
    made = os.stat(path)
    try:
        yield listener
    finally:
        listener.close()
        with suppress(FileNotFoundError):  # somebody removed it already
            there = os.stat(path)
            if (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino):
                path.unlink()


class _Server:
    """The connections of one listener. Signals and lifespan are the daemon's, not uvicorn's."""

    def __init__(self, app: FastAPI) -> None:
        self._config = uvicorn.Config(
            app,
            http=_PeerProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        self._state = ServerState()
        self._closing: asyncio.Event = app.state.closing

    def accept(self) -> asyncio.Protocol:
        """A protocol for a new connection."""
        protocol = _PeerProtocol(self._config, self._state, {})
        protocol.closing = self._closing
        return protocol

    async def drain(self) -> None:
        """Let calls under way end, for a while; then end them."""
        self._closing.set()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(self._state.tasks, timeout=_GRACE)
            for task in late:
                task.cancel()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _PeerProtocol(H11Protocol):
    """uvicorn's HTTP, which also tells each call who its peer is and how to cut it off."""

    closing: asyncio.Event

    def connection_made(self, transport: Any) -> None:
        """Note the peer's credentials."""
        super().connection_made(transport)
        if self.closing.is_set():  # accepted in the last moment, when nobody waits for it any more
            transport.abort()
            return
        self.app_state = {
            "peer": read_peer(transport.get_extra_info("socket")),
            "hang_up": transport.abort,
        }


async def _serve_on(app: FastAPI, listener: socket.socket, started: Callable[[], None] | None) -> None:
    server = _Server(app)
    loop = asyncio.get_running_loop()
    accepting = await loop.create_unix_server(server.accept, sock=listener, backlog=_BACKLOG)
    _log.info("api.listening", socket=listener.getsockname())
    if started is not None:
        started()
    try:
        await loop.create_future()
    finally:
        accepting.close()
        await server.drain()


def _listen(path: Path, mode: int, group: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Made for its owner only and then opened: nobody slips in before its group is right.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(mode)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    try:
        there = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    pid = _who_answers(path)
    if pid is not None:
        raise Problem("state-in-use", pid=pid, directory=str(path.parent))
    path.unlink()


def _who_answers(path: Path) -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        try:
            caller.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except TimeoutError:
            return 0  # its queue is full: somebody listens, and is busy
        return read_peer(caller).pid
