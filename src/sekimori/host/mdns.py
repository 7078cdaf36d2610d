"""Asks the LAN's devices for the addresses of a name (mDNS, RFC 6762)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import structlog

from sekimori.model.address import IPAddress
from sekimori.model.device import Announced
from sekimori.model.network import Lan
from sekimori.wire.errors import BadPacket
from sekimori.wire.mdns import GROUP4, GROUP6, PORT, answers_untrusted, question

__all__ = ["ask"]

_DEADLINE: Final = 1.0
"""Seconds: a device that answers does so within 120 ms (§6), unless it sleeps between beacons of the WLAN."""
_AGAIN: Final = 0.3
"""Seconds after which the question is sent once more, for multicast is lost easily on a WLAN."""
_HOPS: Final = 255  # §11: proof that it has passed no router
_MOST: Final = 64
"""Answers of one look-up; more than any device has addresses."""
_log = structlog.get_logger("mdns")


async def ask(name: str, lans: Iterable[Lan], deadline: float = _DEADLINE) -> tuple[Announced, ...]:
    """What the devices of these LANs answer to the question for `NAME.local` within `deadline` seconds.

    Only answers from an address on the link they came in by count (§11). Where nothing can be sent (no such
    interface any more, no multicast there), nobody answers.

    Raises:
        ValueError: no name of DNS.
    """
    number = secrets.randbelow(1 << 16)
    packet = question(name, number)
    found: list[Announced] = []

    def take(data: bytes) -> None:
        try:
            found.extend(answers_untrusted(data, name, number)[: _MOST - len(found)])
        except BadPacket as error:
            _log.debug("bad_answer", name=name, why=str(error))

    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        asked = [(each, where) for lan in lans for each, where in _sockets(lan, stack)]
        transports = []
        for sock, where in asked:
            heard = await loop.create_datagram_endpoint(_hearing(take, where.on_link), sock=sock)
            transports.append((heard[0], where))
        try:
            for wait in (min(_AGAIN, deadline), max(deadline - _AGAIN, 0)):
                for transport, where in transports:
                    transport.sendto(packet, where.group)
                if transports:
                    await asyncio.sleep(wait)
        finally:
            for transport, _ in transports:
                transport.close()
    return tuple(dict.fromkeys(found))


class _Where:
    """One LAN in one family: where to ask, and who is on its link."""

    def __init__(self, lan: Lan, family: socket.AddressFamily, index: int) -> None:
        four = family == socket.AF_INET
        self.family = family
        self.group: tuple[Any, ...] = (GROUP4, PORT) if four else (GROUP6, PORT, 0, index)
        self._lan = lan
        self._index = index

    def on_link(self, source: tuple[Any, ...]) -> bool:
        """Whether a datagram from this socket address comes from the link."""
        address = ipaddress.ip_address(str(source[0]).partition("%")[0])
        if address.is_link_local:
            return address.version == 4 or source[3] == self._index
        return _is_among(address, self._lan)


class _Hearing(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None], on_link: Callable[[tuple[Any, ...]], bool]) -> None:
        self._take = take
        self._on_link = on_link

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._on_link(addr):
            self._take(data)

    def error_received(self, exc: Exception) -> None:
        _log.debug("not_sent", why=str(exc))


def _hearing(
    take: Callable[[bytes], None], on_link: Callable[[tuple[Any, ...]], bool]
) -> Callable[[], _Hearing]:
    return lambda: _Hearing(take, on_link)


def _sockets(lan: Lan, stack: contextlib.ExitStack) -> Iterator[tuple[socket.socket, _Where]]:
    """A socket for each family that the interface has an address of."""
    try:
        index = socket.if_nametoindex(lan.interface)
    except OSError as error:
        _log.debug("no_interface", interface=lan.interface, why=str(error))
        return
    families = [socket.AF_INET] if any(each.version == 4 for each in lan.addresses) else []
    for family in (*families, socket.AF_INET6):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        stack.callback(sock.close)
        try:
            _aim(sock, lan, index)
        except OSError as error:  # no IPv6 there, or the interface has just gone
            _log.debug("cannot_ask", interface=lan.interface, why=str(error))
            continue
        yield sock, _Where(lan, family, index)


def _aim(sock: socket.socket, lan: Lan, index: int) -> None:
    """Send by the interface only, and receive by no other where the kernel allows to say so."""
    with contextlib.suppress(
        PermissionError
    ):  # before Linux 5.7 without CAP_NET_RAW: the source is held to the prefix
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, lan.interface.encode())
    if sock.family == socket.AF_INET:
        here = next(each for each in lan.addresses if each.version == 4)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here.packed)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)
        sock.bind((str(here), 0))
        return
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
    sock.bind(("::", 0))


def _is_among(address: IPAddress, lan: Lan) -> bool:
    return any(address.version == prefix.version and address in prefix for prefix in lan.prefixes)
