"""One LAN interface as the door listens on it: a socket for each family, and the frames beside them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog

from sekimori.host.framesource import FrameSources, watch_frames
from sekimori.host.lansockets import Datagram, LanSocket, open_lan_socket, serving
from sekimori.wire import pcp

__all__ = ["Link"]

_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_GROUPS: Final = {4: pcp.ANNOUNCE_GROUP4, 6: pcp.ANNOUNCE_GROUP6}
_SHUNNED: Final = 2.0
"""Seconds for which the kernel drops what a host sends that asks too much."""
_MOST_SHUNNED: Final = 64
_log = structlog.get_logger("portmap")


class Link:
    """What listens on an interface, until `close`.

    Args:
        interface: its name.
        port: the UDP port.
        take: is called with every datagram and the socket it came by.
        heard: is called with the MAC address of every frame, where frames are watched.
        lost: is called when nothing can come any more.

    Attributes:
        index: the interface's number when this was made.
        watched: whether frames are seen, so that `mac_of` has an answer for every honest datagram.

    Raises:
        OSError: there is no such interface, or another program has the port.
    """

    def __init__(
        self,
        interface: str,
        port: int,
        take: Callable[[Link, LanSocket, Datagram], None],
        heard: Callable[[Link, str], None],
        lost: Callable[[OSError], None],
    ) -> None:
        self.interface = interface
        self._take = take
        self._heard = heard
        self._sockets: dict[int, LanSocket] = {}
        self._frames: FrameSources | None = None
        self._shunned: dict[str, asyncio.TimerHandle] = {}
        with ExitStack() as stack:
            self._open(port, lost, stack)
            self._stack = stack.pop_all()
        self.index = self._sockets[4].index

    @property
    def watched(self) -> bool:
        """Whether frames are seen here."""
        return self._frames is not None

    def mac_of(self, datagram: Datagram) -> str | None:
        """The MAC address that a datagram was sent from, once; None where that was not seen."""
        if self._frames is None:
            return None
        return self._frames.mac_of(datagram.source, datagram.port, datagram.data)

    def announce(self, data: bytes, version: int, port: int) -> None:
        """Send to all nodes of the link, in one family (RFC 6887 §14.1.1)."""
        sock = self._sockets.get(version)
        if sock is not None:
            sock.send_group(data, _GROUPS[version], port)

    def shun(self, mac: str) -> None:
        """Hear nothing from a MAC address for a moment. What it has sent until now may still come."""
        if self._frames is None or mac in self._shunned or len(self._shunned) >= _MOST_SHUNNED:
            return
        loop = asyncio.get_running_loop()
        self._shunned[mac] = loop.call_later(_SHUNNED, self._hear_again, mac)
        self._shun()

    def close(self) -> None:
        """Listen no longer."""
        for handle in self._shunned.values():
            handle.cancel()
        self._stack.close()

    def _hear_again(self, mac: str) -> None:
        del self._shunned[mac]
        self._shun()

    def _shun(self) -> None:
        for each in (self._frames, *self._sockets.values()):
            if each is not None:
                each.shun(self._shunned)

    def _open(self, port: int, lost: Callable[[OSError], None], stack: ExitStack) -> None:
        # Before the sockets: what comes to them is to have been seen.
        self._frames = watch_frames(self.interface, port, lambda mac: self._heard(self, mac))
        if self._frames is not None:
            stack.callback(self._frames.close)
        for version in (4, 6):
            try:
                sock = open_lan_socket(self.interface, version, port)
            except OSError as error:
                if version == 4 or error.errno not in _NO_IPV6:
                    raise
                _log.info("no_ipv6", interface=self.interface, why=str(error))
                continue
            stack.callback(sock.close)
            self._sockets[version] = sock
            stack.enter_context(serving(sock, self._taker(sock), lost))

    def _taker(self, sock: LanSocket) -> Callable[[Datagram], None]:
        return lambda datagram: self._take(self, sock, datagram)
