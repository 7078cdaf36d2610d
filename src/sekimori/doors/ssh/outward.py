"""What a session reaches beyond the door: the destinations of `-L`, `-D` and `-J`, and of datagrams."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from asyncssh import ChannelOpenError, SSHServerChannel
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from sekimori.doors.ssh.admission import Admitted
from sekimori.doors.ssh.reaching import Forbidden, connect
from sekimori.doors.ssh.words import Line, line, place_text, quota_line
from sekimori.host.sshdatagrams import DatagramPump
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
    def is_used_up(self) -> bool:
        """Whether they have used up their quota."""
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


class _Live(Protocol):
    """A flow to a destination: where the client asked to be led, and what address that was."""

    host: str
    port: int
    address: IPAddress

    @property
    def bytes_in(self) -> int:
        """Bytes from the client."""
        ...

    @property
    def bytes_out(self) -> int:
        """Bytes to it."""
        ...

    def abort(self) -> None:
        """Break it off."""
        ...


class Outward:
    """Connections to destinations.

    Attributes:
        bytes_in: bytes from the client, of those that are over.
        bytes_out: bytes to the client, likewise.
    """

    def __init__(self, reacher: Reacher) -> None:
        self._reacher = reacher
        self._live: set[_Live] = set()
        self.bytes_in = self.bytes_out = 0

    async def reach(self, host: str, port: int) -> Pump:
        """Connect to a place by TCP.

        Raises:
            ChannelOpenError: it may not be, or could not.
        """
        sock, address = await self._connect(host, port, socket.SOCK_STREAM)
        reached = _Reached(sock, self._reacher.wire, self.over)
        reached.host, reached.port, reached.address = host, port, address
        self.follow(reached)
        return reached

    async def reach_by_datagrams(self, host: str, port: int) -> Exchange:
        """Have a UDP socket connected to a place; what comes of it waits for its channel.

        Raises:
            ChannelOpenError: it may not be, or could not.
        """
        return Exchange(self, host, port, *await self._connect(host, port, socket.SOCK_DGRAM))

    def follow(self, live: _Live) -> None:
        """Count a flow, and break it off once it may not be any more."""
        self._live.add(live)

    def over(self, live: _Live) -> None:
        """A flow has ended."""
        self._live.discard(live)
        self.bytes_in += live.bytes_in
        self.bytes_out += live.bytes_out

    def judge_again(self) -> None:
        """Break off what may not be reached any more."""
        for reached in [*self._live]:
            is_allowed = self.may_reach(reached.host, reached.address, reached.port)
            if self._reacher.is_used_up or not is_allowed:
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

    async def _connect(
        self, host: str, port: int, kind: socket.SocketKind
    ) -> tuple[socket.socket, IPAddress]:
        place = place_text(host, port)
        self._refuse_used_up(place)
        try:
            sock, address = await connect(host, port, lambda found: self.may_reach(host, found, port), kind)
        except Forbidden:
            raise self._forbidden(place) from None
        except OSError as error:
            failure = line("failed-reach", place=place, why=os_cause(error))
            self._reacher.show(failure)
            raise ChannelOpenError(OPEN_CONNECT_FAILED, failure["en"]) from None
        if self._reacher.is_over:
            sock.close()
            raise ChannelOpenError(OPEN_CONNECT_FAILED, "the connection has ended")
        try:
            self._refuse_used_up(place)
            if not self.may_reach(host, address, port):  # the grant was narrowed meanwhile
                raise self._forbidden(place)
        except ChannelOpenError:
            sock.close()
            raise
        return sock, address

    def _refuse_used_up(self, place: str) -> None:
        if self._reacher.is_used_up:
            refusal = quota_line("refused-quota", self._reacher.admitted.grant, place=place)
            self._reacher.show(refusal)  # and a terminal that opens later is told of the quota itself
            raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, refusal["en"])

    def _forbidden(self, place: str) -> ChannelOpenError:
        refusal = line("refused-reach", place=place)
        self._reacher.note(refusal)
        return ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, refusal["en"])


class _Reached(Pump):
    """A connection to a destination.

    Attributes:
        host, port: as the client asked.
        address: what that was.
    """

    host: str
    port: int
    address: IPAddress

    def __init__(self, sock: socket.socket, wire: Wire, over: Callable[[_Reached], None]) -> None:
        def ended(broken: bool) -> None:
            if broken:  # a connection that was lost is not to look like one that ended in order
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            over(self)

        super().__init__(sock, wire, ended)


class Exchange:
    """Datagrams to a destination and back.

    Attributes:
        host, port: as the client asked.
        address: what that was.
    """

    def __init__(
        self, outward: Outward, host: str, port: int, sock: socket.socket, address: IPAddress
    ) -> None:
        self.host, self.port, self.address = host, port, address
        self._outward = outward
        self._sock = sock
        self._pump: DatagramPump | None = None

    @property
    def bytes_in(self) -> int:
        """Bytes from the client."""
        return 0 if self._pump is None else self._pump.bytes_in

    @property
    def bytes_out(self) -> int:
        """Bytes to it."""
        return 0 if self._pump is None else self._pump.bytes_out

    def begin(self, chan: SSHServerChannel[bytes], wire: Wire) -> DatagramPump:
        """Carry them on a channel."""
        self._pump = DatagramPump(self._sock, chan, wire, lambda: self._outward.over(self))
        self._outward.follow(self)
        return self._pump

    def abort(self) -> None:
        """Break it off, and close the channel."""
        if self._pump is not None:
            self._pump.close()

    def close(self) -> None:
        """There is no channel for it any more."""
        self._sock.close()
