"""One LAN interface as the door answers on it: the web server, and what leads devices there."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import structlog

from sekimori.doors.igd.desk import Desk
from sekimori.doors.igd.discovery import Discovery, Sign, server_name
from sekimori.doors.igd.guests import Guests
from sekimori.doors.igd.web import Web
from sekimori.gate.devices import Inside
from sekimori.host.lanlisteners import open_lan_listener

__all__ = ["Post", "listen"]

_log = structlog.get_logger("igd")


class Post:
    """What answers on an interface.

    Args:
        interface: its name.
        inside: what is known.
        guests: counts connections.
        desk: answers requests.
        sign: what is told.
        clock: seconds of a clock that only goes on.
        ssdp_port: where searches come to.
    """

    def __init__(
        self,
        interface: str,
        inside: Inside,
        guests: Guests,
        desk: Desk,
        sign: Sign,
        clock: Callable[[], float],
        ssdp_port: int,
    ) -> None:
        self._interface = interface
        self._inside = inside
        self._sign = sign
        self._clock = clock
        self._ssdp_port = ssdp_port
        self._web = Web(interface, inside, guests, desk, server_name(sign, sign.versions[-1]))

    async def run(self, listener: socket.socket) -> None:
        """Answer until cancelled; then say goodbye.

        Args:
            listener: the web server's (`listen`); it is closed at the end.

        Raises:
            ExceptionGroup: of an OSError: nothing can be heard any more.
        """
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def lost(error: OSError) -> None:
            if not gone.done():
                gone.set_exception(error)

        async def until_gone() -> None:
            await gone

        with listener:
            port = listener.getsockname()[1]
            seen = Discovery(
                self._interface, port, self._inside, self._sign, lost, self._clock, self._ssdp_port
            )
            with seen:
                _log.info("answering", interface=self._interface, port=port)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._web.run(listener))
                    tasks.create_task(seen.announce())
                    tasks.create_task(until_gone())


def listen(interface: str, port: int) -> socket.socket:
    """The web server's listener: on the port that it had before, or else on any.

    Args:
        interface: its name.
        port: 0 where it had none.

    Raises:
        OSError: there is no such interface.
    """
    try:
        return open_lan_listener(interface, port)
    except OSError as error:
        if not port or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
    _log.info("another_port", interface=interface, had=port)
    return open_lan_listener(interface, 0)
