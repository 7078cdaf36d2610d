"""Opens the sockets that a daemon passes to its workers."""

from __future__ import annotations

import socket
from typing import Final

from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.unixsockets import open_path

__all__ = ["BACKLOG", "open_listen"]

BACKLOG: Final = 4096
"""Newcomers that may wait in the kernel (it takes net.core.somaxconn if that is less)."""


def open_listen(listen: Listen) -> socket.socket:
    """A bound socket for `listen`, a stream one listening: to be passed to one worker and closed here.

    TCP sockets are opened with SO_REUSEPORT, so each worker can have its own. A datagram
    socket goes to exactly one worker, and its port can be bound only once. So does a unix socket.

    Raises:
        OSError: the address cannot be bound (EADDRINUSE, EADDRNOTAVAIL, EACCES), or the path cannot be
            had (`unixsockets.open_path`).
    """
    if listen.protocol == "unix":
        return open_path(listen.address)
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    kind = socket.SOCK_STREAM if listen.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listen.dual else 1)
        if listen.protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listen.address, listen.port))
        if listen.protocol == "tcp":
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
