"""Asking STUN servers how the line looks from outside, from one of this machine's addresses."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from sekimori.model.address import IPAddress
from sekimori.model.behaviour import Behaviour, Endpoint
from sekimori.wire.errors import BadPacket
from sekimori.wire.natbehaviour import TIMING, Exam, Send, Timing
from sekimori.wire.stun import TRANSACTION_BYTES

__all__ = ["ask_servers"]

_log = structlog.get_logger("line")


async def ask_servers(
    local: IPAddress, interface: str, servers: Sequence[Endpoint], timing: Timing = TIMING
) -> Behaviour:
    """What these servers see of fresh sockets at an address of ours.

    Takes as long as the slowest server's answer; with the default timing at most half a minute, where tests
    of filtering end in silence.

    Args:
        local: the address to ask from.
        interface: the one to send by, whatever the routes say, where the kernel allows to say so.
        servers: of the same family as `local`.
        timing: when to ask again.

    Raises:
        OSError: nothing can be sent from there.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        sockets = tuple(_socket(local, interface, stack) for _ in range(2))
        here = Endpoint(local, sockets[0].getsockname()[1]), Endpoint(local, sockets[1].getsockname()[1])
        talk = _Talk(Exam(here, servers, lambda: secrets.token_bytes(TRANSACTION_BYTES), timing), loop)
        for by, sock in enumerate(sockets):
            transport, _ = await loop.create_datagram_endpoint(functools.partial(_Ear, talk, by), sock=sock)
            stack.callback(transport.close)
            talk.transports.append(transport)
        behaviour = await talk.run()
    if talk.error is not None and all(each.silent for each in behaviour.seen):
        raise talk.error
    return behaviour


class _Talk:
    """Carries out an exam. A datagram is dealt with where it comes in, so that a flood piles up nowhere."""

    def __init__(self, exam: Exam, loop: asyncio.AbstractEventLoop) -> None:
        self._exam = exam
        self._loop = loop
        self._moved = asyncio.Event()
        self.transports: list[asyncio.DatagramTransport] = []
        """By the number of the socket."""
        self.error: OSError | None = None
        """The last that kept a datagram from going out."""

    async def run(self) -> Behaviour:
        """Ask until everything is answered or given up."""
        self._send(self._exam.start(self._loop.time()))
        while (behaviour := self._exam.behaviour) is None:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):  # then something is to be sent again, or given up
                async with asyncio.timeout_at(self._exam.due):
                    await self._moved.wait()
            self._send(self._exam.wake(self._loop.time()))
        return behaviour

    def take(self, by: int, data: bytes, source: Endpoint) -> None:
        """Take what may be an answer."""
        try:
            sends = self._exam.receive_untrusted(by, data, source, self._loop.time())
        except BadPacket as error:
            _log.debug("bad_answer", source=str(source), why=str(error))
            return
        self._moved.set()
        self._send(sends)

    def _send(self, sends: Iterable[Send]) -> None:
        for each in sends:
            host, port = str(each.to.address), each.to.port
            where = (host, port) if each.to.address.version == 4 else (host, port, 0, 0)
            self.transports[each.by].sendto(each.data, where)


class _Ear(asyncio.DatagramProtocol):
    """One socket of a talk."""

    def __init__(self, talk: _Talk, by: int) -> None:
        self._talk = talk
        self._by = by

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Pass it on."""
        address = ipaddress.ip_address(str(addr[0]).partition("%")[0])
        if addr[1]:  # nobody answers from port 0
            self._talk.take(self._by, data, Endpoint(address, int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        """Note why something could not be sent."""
        if isinstance(exc, OSError):
            self._talk.error = exc


def _socket(local: IPAddress, interface: str, stack: contextlib.ExitStack) -> socket.socket:
    """A UDP socket at a port of the kernel's choice, which sends by this interface."""
    family = socket.AF_INET if local.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    stack.callback(sock.close)
    with contextlib.suppress(PermissionError):  # before Linux 5.7 without CAP_NET_RAW: routes decide
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sock.bind((str(local), 0))
    return sock
