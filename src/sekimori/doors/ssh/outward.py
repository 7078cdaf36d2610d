"""What a session reaches beyond the door: the destinations of `-L`, `-D` and `-J`, and of datagrams."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from asyncssh import ChannelOpenError
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from sekimori.doors.ssh.admission import Admitted
from sekimori.doors.ssh.reaching import Forbidden, connect
from sekimori.doors.ssh.words import Line, line, place_text
from sekimori.host.sshline import Line as Wire
from sekimori.host.sshpump import Pump
from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.causes import os_cause

__all__ = ["Outward", "Reacher"]

_RESET: Final = struct.pack("ii", 1, 0)


class Reacher(Protocol):
    """Whose destinations they are."""

    @property
    def wire(self) -> Wire:
        """The connection."""
        ...

    @property
    def admitted(self) -> Admitted:
        """Who it is, and what they may do now."""
        ...

    @property
    def own(self) -> tuple[IPNetwork, ...]:
        """The networks of this machine."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        ...

    def show(self, shown: Line) -> None:
        """Tell the user."""
        ...

    def note(self, refusal: Line) -> None:
        """Tell the user, also a terminal that opens soon after."""
        ...


class Outward:
    """Connections to destinations.

    Attributes:
        bytes_in: bytes from the client, of those that are over.
        bytes_out: bytes to the client, likewise.
    """

    def __init__(self, reacher: Reacher) -> None:
        self._reacher = reacher
        self._live: set[_Reached] = set()
        self.bytes_in = self.bytes_out = 0

    async def reach(self, host: str, port: int) -> Pump:
        """Connect to a place by TCP.

        Raises:
            ChannelOpenError: it may not be, or could not.
        """
        reached = _Reached(
            await self._connect(host, port, socket.SOCK_STREAM), self._reacher.wire, self._over
        )
        reached.host, reached.port = host, port
        self._live.add(reached)
        return reached

    async def reach_by_datagrams(self, host: str, port: int) -> socket.socket:
        """A UDP socket connected to a place.

        Raises:
            ChannelOpenError: it may not be, or could not.
        """
        return await self._connect(host, port, socket.SOCK_DGRAM)

    def judge_again(self) -> None:
        """Break off what may not be reached any more."""
        for reached in [*self._live]:
            if not self.may_reach(reached.host, reached.address, reached.port):
                reached.abort()

    def may_reach(self, host: str, address: IPAddress | None, port: int) -> bool:
        """What the key's options and the user's grant say, as they are now.

        A place that `permitopen` names in so many words may be reached, as with OpenSSH; `permitopen` with a
        host `*` only narrows what the grant has.
        """
        options, grant = self._reacher.admitted.options, self._reacher.admitted.grant
        if not options.allows_open(host, port):
            return False
        return options.names(host, port) or grant.destinations.allow(host, address, port, self._reacher.own)

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._live)

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes from the client and to it, of those that are over and those that live."""
        live_in = sum(each.bytes_in for each in self._live)
        live_out = sum(each.bytes_out for each in self._live)
        return self.bytes_in + live_in, self.bytes_out + live_out

    async def _connect(self, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
        place = place_text(host, port)
        try:
            sock = await connect(host, port, lambda address: self.may_reach(host, address, port), kind)
        except Forbidden:
            refusal = line("refused-reach", place=place)
            self._reacher.note(refusal)
            raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, refusal["en"]) from None
        except OSError as error:
            failure = line("failed-reach", place=place, why=os_cause(error))
            self._reacher.show(failure)
            raise ChannelOpenError(OPEN_CONNECT_FAILED, failure["en"]) from None
        if self._reacher.is_over:
            sock.close()
            raise ChannelOpenError(OPEN_CONNECT_FAILED, "the connection has ended")
        return sock

    def _over(self, reached: _Reached) -> None:
        self._live.discard(reached)
        self.bytes_in += reached.bytes_in
        self.bytes_out += reached.bytes_out


class _Reached(Pump):
    """A connection to a destination.

    Attributes:
        host, port: as the client asked.
        address: what that was.
    """

    host: str
    port: int

    def __init__(self, sock: socket.socket, wire: Wire, over: Callable[[_Reached], None]) -> None:
        self.address = ipaddress.ip_address(sock.getpeername()[0].partition("%")[0])

        def ended(broken: bool) -> None:
            if broken:  # a connection that was lost is not to look like one that ended in order
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            over(self)

        super().__init__(sock, wire, ended)
