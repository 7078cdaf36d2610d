"""Connects to the destinations of `-L`, `-D` and `-J`, once each address that a name has was judged."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sekimori.model.address import HIGHEST_PORT, IPAddress

__all__ = ["Forbidden", "Judge", "connect"]

_LOOKUP: Final = 10.0
_ATTEMPT: Final = 5.0
_WHOLE: Final = 20.0
_MOST_LOOKUPS: Final = 32
_lookups = asyncio.Semaphore(_MOST_LOOKUPS)

Judge = Callable[[IPAddress | None], bool]
"""Whether a destination may be reached, by the address that it has; None before that is known."""


class Forbidden(Exception):  # noqa: N818 - it says what is so
    """The destination may not be reached; nothing was looked up of one that no address could help."""


async def connect(
    host: str, port: int, judge: Judge, kind: socket.SocketKind
) -> tuple[socket.socket, IPAddress]:
    """A connected socket that does not block, a stream or of datagrams, and the address that it leads to.

    Raises:
        Forbidden: the name or all its addresses are not allowed.
        OSError: nobody accepted, there is no such name, or it took too long.
    """
    if not 0 < port <= HIGHEST_PORT or not host or "\0" in host:
        raise Forbidden
    literal = _address(host)
    if not judge(literal):
        raise Forbidden
    async with asyncio.timeout(_WHOLE):
        places = [literal] if literal is not None else await _look_up(host)
        allowed = [place for place in places if judge(place)]
        if not allowed:
            raise Forbidden
        return await _first(allowed, port, kind)


def _address(host: str) -> IPAddress | None:
    """The address that a text is, in any of the forms that connect(2) would take it."""
    plain = host.removeprefix("[").removesuffix("]")
    with suppress(ValueError):
        return ipaddress.ip_address(plain)
    with suppress(
        OSError
    ):  # `127.1`, `0x7f000001`, `2130706433`: inet_aton(3) reads them, and so would connect
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    return None


async def _look_up(host: str) -> list[IPAddress]:
    loop = asyncio.get_running_loop()
    async with _lookups, asyncio.timeout(_LOOKUP):
        try:
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError:  # no name that DNS could have
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    return list(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))


async def _first(
    places: list[IPAddress], port: int, kind: socket.SocketKind
) -> tuple[socket.socket, IPAddress]:
    """Connected to the first of these that accepts."""
    failure: OSError = OSError("no address")
    for place in places:
        try:
            async with asyncio.timeout(_ATTEMPT):
                return await _dial(place, port, kind), place
        except OSError as error:  # TimeoutError is one
            failure = error
    raise failure


async def _dial(place: IPAddress, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET if place.version == 4 else socket.AF_INET6, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, (str(place), port))
    except BaseException:
        sock.close()
        raise
    return sock
