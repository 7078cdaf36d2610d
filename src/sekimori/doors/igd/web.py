"""The web server of one interface: who may connect, and who it is that did."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Final

import structlog

from sekimori.doors.igd.asking import Asking
from sekimori.doors.igd.desk import Desk
from sekimori.doors.igd.guests import Guests
from sekimori.doors.igd.near import is_here, is_near
from sekimori.doors.igd.talk import converse
from sekimori.gate.devices import Inside
from sekimori.host.lanlisteners import read_endpoint
from sekimori.model.address import IPAddress
from sekimori.model.lease import Asker

__all__ = ["Web"]

_PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO}
)
_AGAIN: Final = 0.1
_log = structlog.get_logger("igd")


class Web:
    """Accepts connections and hands requests to the desk.

    Args:
        interface: where.
        inside: what is known.
        guests: counts the connections of all interfaces.
        desk: answers requests.
        server: what we call ourselves.
    """

    def __init__(self, interface: str, inside: Inside, guests: Guests, desk: Desk, server: str) -> None:
        self._interface = interface
        self._inside = inside
        self._guests = guests
        self._desk = desk
        self._always = (("Server", server),)

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled; connections end with it.

        Raises:
            OSError: nobody can connect any more.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    sock, _ = await loop.sock_accept(listener)
                except OSError as error:
                    if error.errno not in _PASSING:
                        raise
                    _log.warning("not_accepted", interface=self._interface, why=str(error))
                    await asyncio.sleep(_AGAIN)
                    continue
                tasks.create_task(self._serve(sock))
                # A connection that waits is accepted without a turn of the loop: those that were accepted
                # are looked at first, or a flood would take every place before it is known whose it is.
                await asyncio.sleep(0)

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                sock.setblocking(False)
                source, here = read_endpoint(sock.getpeername()), read_endpoint(sock.getsockname())
            except OSError:  # it has gone already
                return
            network = self._inside.network()
            if not (is_near(network, self._interface, source) and is_here(network, self._interface, here)):
                _log.debug("not_from_the_link", interface=self._interface, source=str(source))
                return
            try:
                await self._welcome(sock, source, here)
            except Exception:  # one connection must not end the door for everybody
                _log.exception("connection_broke", interface=self._interface, source=str(source))

    async def _welcome(self, sock: socket.socket, source: IPAddress, here: IPAddress) -> None:
        with self._guests.seat(source) as admitted:
            if not admitted:
                return
            device = await self._inside.identify(source, self._interface)
            if device is None:
                _log.debug("unknown_device", interface=self._interface, source=str(source))
                return
            # By its MAC address: a host may have any number of IPv6 addresses.
            with self._guests.seat(device, more=False) as known:
                if known:
                    who = Asking(device, Asker(source, self._interface), here)
                    answer = self._desk.answer_untrusted
                    await converse(sock, lambda request: answer(who, request), self._always)
