"""The server's end of the subsystem `sekimori`: datagrams, for clients that are Sekimori too.

What is said is in `wire.linkframes`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol

from asyncssh import ChannelOpenError
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from sekimori.doors.ssh.outward import Exchange, Outward
from sekimori.host.carrier import Dial, DialFailed, Dialled
from sekimori.host.sshdatagrams import MOST_UNSENT, DatagramPump, record_pair
from sekimori.host.sshline import Line as Wire
from sekimori.wire.errors import BadPacket
from sekimori.wire.linkframes import (
    Announced,
    Answer,
    DialUdp,
    ListenUdp,
    Opening,
    Records,
    TakePeer,
    pack_record,
    read_opening_untrusted,
)

__all__ = ["Desk", "Peers", "Visitor"]

_TAKEN_WITHIN: Final = 15.0
"""Seconds that a peer's datagrams wait for the client to open a channel for them."""
_MOST_WAITING: Final = 256


class Visitor(Protocol):
    """Whose channel it is."""

    @property
    def wire(self) -> Wire:
        """The connection."""
        ...

    @property
    def outward(self) -> Outward:
        """What it reaches."""
        ...

    @property
    def peers(self) -> Peers:
        """Those who sent to its ports, and wait."""
        ...

    def start(self, work: Any) -> None:
        """Have a coroutine run for as long as the connection stands."""
        ...

    async def listen_for_datagrams(self, host: str, port: int, desk: Desk) -> int | None:
        """Open a UDP port; which one, or None where it may not be."""
        ...

    async def unlisten_for_datagrams(self, desk: Desk) -> None:
        """Close it again."""
        ...


class Peers:
    """Those who sent datagrams to a session's ports, until the client takes them."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, tuple[socket.socket, Callable[[], None]]] = {}

    def come(self, dial: Dial, desk: Desk) -> Dialled:
        """Announce somebody at a desk, and keep what they send until they are taken.

        Raises:
            DialFailed: too many wait already, or the client does not read of those who came before.
        """
        if len(self._waiting) >= _MOST_WAITING or not desk.has_room:
            raise DialFailed("other")
        ours, theirs = record_pair()
        number = next(self._numbers)
        late = asyncio.get_running_loop().call_later(_TAKEN_WITHIN, self._forget, number)
        self._waiting[number] = ours, late.cancel
        desk.announce(Announced(number, dial.source or ("", 0)))
        return Dialled(theirs)

    def take(self, number: int) -> socket.socket | None:
        """Our end for somebody who waits; None where nobody does."""
        found = self._waiting.pop(number, None)
        if found is None:
            return None
        found[1]()
        return found[0]

    def close(self) -> None:
        """Nobody waits any more."""
        for number in [*self._waiting]:
            self._forget(number)

    def _forget(self, number: int) -> None:
        sock = self.take(number)
        if sock is not None:
            sock.close()


class Desk:
    """One channel of the subsystem."""

    def __init__(self, visitor: Visitor, chan: Any) -> None:
        self._visitor = visitor
        self._chan = chan
        self._records = Records()
        self._opening: Opening | None = None
        self._pump: DatagramPump | None = None
        self._early = bytearray()
        self._is_closed = False

    def feed(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._pump is not None:
            self._pump.feed(data)
            return
        if self._opening is not None:
            self._early += data
            if len(self._early) > _MOST_EARLY:
                self._early.clear()
                self._refuse("other")
            return
        record = next(self._records.feed_untrusted(data), None)
        if record is None:
            return
        try:
            self._opening = read_opening_untrusted(record)
        except BadPacket:
            self._refuse("other")
            return
        self._early += self._records.rest()
        self._visitor.start(self._open(self._opening))

    @property
    def has_room(self) -> bool:
        """Whether the client reads what it is told, by what waits to be sent."""
        return int(self._chan.get_write_buffer_size()) + self._visitor.wire.waiting <= MOST_UNSENT

    def announce(self, peer: Announced) -> None:
        """Tell the client that somebody sent to its port."""
        if not self._chan.is_closing():
            self._chan.write(pack_record(peer.to_bytes()))

    def closed(self) -> None:
        """The channel has ended."""
        self._is_closed = True
        if self._pump is not None:
            self._pump.close()
        if isinstance(self._opening, ListenUdp):
            self._visitor.start(self._visitor.unlisten_for_datagrams(self))

    async def _open(self, opening: Opening) -> None:
        match opening:
            case DialUdp():
                await self._dial(opening)
            case TakePeer():
                sock = self._visitor.peers.take(opening.peer)
                if sock is None:
                    self._refuse("refused")
                else:
                    self._take(sock)
            case ListenUdp():
                port = await self._visitor.listen_for_datagrams(opening.host, opening.port, self)
                if port is None:
                    self._refuse("prohibited")
                elif self._is_closed:  # it was not open yet when that was told
                    await self._visitor.unlisten_for_datagrams(self)
                else:
                    self._answer(Answer(port=port))

    async def _dial(self, opening: DialUdp) -> None:
        try:
            reached = await self._visitor.outward.reach_by_datagrams(opening.host, opening.port)
        except ChannelOpenError as error:
            self._refuse("prohibited" if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED else "unreachable")
            return
        self._carry(reached, lambda: reached.begin(self._chan, self._visitor.wire))

    def _take(self, sock: socket.socket) -> None:
        self._carry(sock, lambda: DatagramPump(sock, self._chan, self._visitor.wire, lambda: None))

    def _carry(self, found: socket.socket | Exchange, begin: Callable[[], DatagramPump]) -> None:
        if self._is_closed or self._chan.is_closing():
            found.close()
            return
        self._answer(Answer())
        self._pump = begin()
        early, self._early = bytes(self._early), bytearray()
        self._pump.feed(early)

    def _answer(self, answer: Answer) -> None:
        self._chan.write(pack_record(answer.to_bytes()))

    def _refuse(self, why: str) -> None:
        if not self._is_closed and not self._chan.is_closing():
            self._answer(Answer(failed=why))
            self._chan.close()


_MOST_EARLY: Final = 1 << 18
"""Bytes that a client may send before it is answered."""
