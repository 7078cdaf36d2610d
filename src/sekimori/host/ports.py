"""Local ports: who holds one, and whether we may have it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sekimori.model.address import IPAddress

__all__ = [
    "Holder",
    "dual_stack",
    "find_free_port",
    "find_holder",
    "first_unprivileged_port",
    "is_local",
    "try_bind",
]

Transport = Literal["tcp", "udp"]
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens on a port; what could not be seen is None."""

    pid: int | None
    name: str | None

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of another user"
        return f"{self.name or 'a process'} (pid {self.pid})"


def dual_stack() -> bool:
    """Whether this machine has IPv6, so that one socket can serve both families."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def try_bind(transport: Transport, address: str, port: int, *, dual: bool) -> int:
    """Take a port for a moment without sharing it: 0, or the errno of why not.

    SO_REUSEADDR skips TIME_WAIT for TCP and nothing else; SO_REUSEPORT is left off, so a
    listener that would share its port with ours is found too.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, _KINDS[transport] | socket.SOCK_CLOEXEC) as sock:
            if transport == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
            sock.bind((address, port))
            if transport == "tcp":
                sock.listen(1)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def is_local(address: IPAddress) -> bool:
    """Whether an address is one of this machine: only then can a socket be bound to it."""
    return try_bind("udp", str(address), 0, dual=False) == 0


def find_holder(transport: Transport, port: int, on: IPAddress | None) -> Holder:
    """Who listens on a port (of an address, or of any), as far as this user may see."""
    # Imported late: it is needed only to tell why not.
    import psutil

    for found in psutil.net_connections(kind=transport):
        if transport == "tcp" and found.status != psutil.CONN_LISTEN:
            continue
        if not found.laddr or found.laddr.port != port or not _meets(found.laddr.ip, on):
            continue
        if found.pid is None:
            return Holder(None, None)
        try:
            return Holder(found.pid, psutil.Process(found.pid).name())
        except psutil.Error:  # it ended, or is another user's
            return Holder(found.pid, None)
    return Holder(None, None)


def first_unprivileged_port() -> int:
    """The first port that binds without privilege (ip-sysctl, ip_unprivileged_port_start)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:  # not shown in this container: the kernel's default
        return 1024


def find_free_port(transport: Transport, address: str, wanted: int, *, dual: bool) -> int:
    """A port that can be had instead of `wanted`: a like one above it where possible."""
    for port in _like(wanted):
        if try_bind(transport, address, port, dual=dual) == 0:
            return port
    return 0


def _like(port: int) -> Iterator[int]:
    offsets = (8000, 10000) if port < 1024 else ()
    yield from (port + offset for offset in offsets if port + offset <= 65535)
    yield from range(port + 1, min(port + 50, 65536))


def _meets(address: str, on: IPAddress | None) -> bool:
    return on is None or address in (str(on), "0.0.0.0", "::", f"::ffff:{on}") or on.is_unspecified
