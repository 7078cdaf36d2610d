"""Reaching what a client named: resolve, judge every address, connect.

A name is judged twice: as it was said, and by each of its addresses, of which only those that may be are
connected to. So a name that leads to this machine (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final

from sekimori.host.carrier import Dial, DialFailed, Dialled, Endpoint
from sekimori.model.errors import Problem
from sekimori.model.target import Resolution
from sekimori.planes.dialler.judging import Rules
from sekimori.planes.dialler.race import cause_of, connect

__all__ = ["AT_ONCE_EACH", "BIND_WITHIN", "CONNECT_WITHIN", "Reacher"]

CONNECT_WITHIN: Final = 15.0
"""Seconds for names and connecting: less than a worker waits, so that it hears why."""
BIND_WITHIN: Final = 120.0
"""Seconds that the port of a BIND waits for its one connection."""

AT_ONCE_EACH: Final = 256
"""Dials of one source that are under way at once: who names places that never answer fills only this."""
_AT_ONCE: Final = 1024
_LOOK_AFTER: Final = 1.0
"""Seconds after which it is looked again which networks this machine is in."""
_BUFFER: Final = 512 << 10
"""Asked of the kernel for a destination's datagrams, as the relay does for its own."""


class Reacher:
    """Serves the dials of relay workers.

    Args:
        resolve: the addresses of a name, those to be tried first in front; raises Problem.
        bound: tells a worker where a BIND waits.
        own: the prefixes of the networks that this machine is in now.
    """

    def __init__(
        self,
        resolve: Callable[[str], Awaitable[Resolution]],
        bound: Callable[[Dial, Endpoint], None],
        own: Callable[[], tuple[str, ...]],
    ) -> None:
        self._resolve = resolve
        self._bound = bound
        self._look = own
        self._own: tuple[str, ...] = ()
        self._looked = -math.inf
        self._busy: Counter[str] = Counter()

    async def serve(self, dial: Dial) -> Dialled:
        """Reach what a dial names.

        Raises:
            DialFailed: it cannot be, or may not.
        """
        source = "" if dial.source is None else dial.source[0]
        if self._busy[source] >= AT_ONCE_EACH or self._busy.total() >= _AT_ONCE:
            raise DialFailed("down")
        self._busy[source] += 1
        try:
            async with asyncio.timeout(BIND_WITHIN if dial.op == "bind" else CONNECT_WITHIN):
                return await self._serve(dial)
        except TimeoutError:
            raise DialFailed("timed_out") from None
        finally:
            self._busy[source] -= 1
            if not self._busy[source]:
                del self._busy[source]

    async def _serve(self, dial: Dial) -> Dialled:
        addresses = await self._addresses(dial)
        match dial.op, dial.protocol:
            case "dial", "tcp":
                sock = await connect(addresses, dial.port)
                return Dialled(sock, local=_endpoint(sock.getsockname()), peer=_endpoint(sock.getpeername()))
            case "dial", "udp":
                sock = _datagrams(addresses, dial.port)
                return Dialled(sock, local=_endpoint(sock.getsockname()), peer=_endpoint(sock.getpeername()))
            case "bind", "tcp":
                return await self._await_peer(dial, addresses)
        raise DialFailed("other")

    async def _addresses(self, dial: Dial) -> tuple[str, ...]:
        rules = Rules.of(dial.asked, self._own_networks())
        if _is_address(dial.host):
            return rules.sift(dial.host, (dial.host,), dial.port)
        if dial.op == "dial":
            rules.check_name(dial.host, dial.port)
        try:
            resolution = await self._resolve(dial.host)
        except Problem:
            raise DialFailed("unreachable") from None
        return rules.sift(dial.host, resolution.addresses, dial.port)

    def _own_networks(self) -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _LOOK_AFTER:
            self._own, self._looked = self._look(), now
        return self._own

    async def _await_peer(self, dial: Dial, addresses: Sequence[str]) -> Dialled:
        """Wait for one connection from one of the addresses; others that knock are hung up on."""
        try:
            listener = _listener(addresses[0])
        except OSError as error:
            raise DialFailed(cause_of(error)) from None
        expected = set(map(ip_address, addresses))
        with listener:
            self._bound(dial, _endpoint(listener.getsockname()))
            while True:
                try:
                    sock, peer = await asyncio.get_running_loop().sock_accept(listener)
                except OSError as error:
                    raise DialFailed(cause_of(error)) from None
                if ip_address(peer[0]) in expected:
                    return Dialled(sock, local=_endpoint(sock.getsockname()), peer=_endpoint(peer))
                sock.close()


def _datagrams(addresses: Sequence[str], port: int) -> socket.socket:
    """A UDP socket that sends to and hears from the first address that there is a route to."""
    cause = DialFailed("unreachable")
    for address in addresses:
        try:
            sock = socket.socket(_family(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
                sock.connect((address, port))
            except OSError:
                sock.close()
                raise
        except OSError as error:
            cause = DialFailed(cause_of(error))
        else:
            return sock
    raise cause


def _listener(peer: str) -> socket.socket:
    """A socket listening where `peer` would see us, on a port that the kernel chooses. Raises OSError."""
    with socket.socket(_family(peer), socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))  # sends nothing: asks the kernel for the route
        ours = probe.getsockname()[0]
    listener = socket.socket(_family(peer), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind((ours, 0))
        listener.listen(8)
    except OSError:
        listener.close()
        raise
    return listener


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _endpoint(name: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    return name[0], name[1]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
