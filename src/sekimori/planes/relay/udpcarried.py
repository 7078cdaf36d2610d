"""One peer of a datagram listener whose target a carrier reaches.

Its datagrams leave through one end of a SOCK_SEQPACKET pair, one to a record. Nothing of the way for many
at a time applies there: no trains (they are UDP's own), no errors of ICMP.
"""

from __future__ import annotations

import errno
import select
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sekimori.planes.relay.carried import Order, Pending
from sekimori.planes.relay.flows import Failure
from sekimori.planes.relay.udpflow import PEER_BUFFER, UdpFlow, prepare

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["KEPT", "CarriedUdpFlow"]

KEPT: Final = 8
"""Datagrams that wait for the dial to be done; a client that needs more sends them again."""
_DIAL_PAUSE: Final = 1.0
"""Seconds after a failed dial in which datagrams are dropped, before one makes the carrier try again."""
_LAST_WORDS: Final = 64


class CarriedUdpFlow(UdpFlow):
    """One peer, and the end of a pair that the carrier gave for it."""

    __slots__ = ("_ended", "_kept", "_pause_until", "_tie")

    @property
    def state(self) -> str:
        """Open, or dialling as long as the carrier has given nothing."""
        return "open" if self.fd >= 0 else "dialling"

    def _begin(self) -> None:
        self.fd = -1
        self.send = self._keep
        self._kept: list[bytes] = []
        self._pause_until = 0.0
        self._ended = False
        self._ask()

    def _ask(self) -> None:
        listener, entry = self.listener, self.listener.service.entry
        assert listener.carriers is not None
        assert entry.carrier is not None
        self.carrier = entry.carrier
        order = Order(
            entry.id,
            "udp",
            self.target,
            self.listen.target_port,
            (self.source, self.source_port),
            listener.local_address(self.control),
        )
        self._tie: Pending | None = listener.carriers.named(entry.carrier).dial(order, self)

    # -- what the carrier says -----------------------------------------------------------

    def dialled(self, sock: Socket, _target: str, _events: int) -> None:
        """The pair's end is here: what was kept leaves by it."""
        prepare(sock, PEER_BUFFER)
        try:
            self._connect(sock)
        except OSError:  # ENOSPC: fs.epoll.max_user_watches
            self.send = self._keep
            self._give_up("descriptors")
            return
        kept, self._kept = self._kept, []
        for datagram in kept:
            error = self.forward(memoryview(datagram))
            if error:
                self._lose(datagram, error)

    def dial_failed(self, cause: Failure) -> None:
        """The carrier could not reach the target; the next datagram after a pause has it try again."""
        self._give_up(cause)

    def aborted(self) -> None:
        """The far side broke off; the client's next datagram makes a new peer."""
        self.cut()

    def _give_up(self, cause: Failure) -> None:
        if self._tie is not None:
            self._tie.abort()
            self._tie = None
        self.listener.service.fail(cause)
        self._pause_until = self.listener.loop.now + _DIAL_PAUSE
        self._lose_kept()

    # -- datagrams -----------------------------------------------------------------------

    def on_event(self, events: int) -> None:
        """Pass an answer on, or the last ones when the carrier has closed its end."""
        if events & (select.EPOLLHUP | select.EPOLLERR):
            self._pass_last_words()
            self.cut()
        else:
            UdpFlow.on_event(self, events)

    def _pass_last_words(self) -> None:
        # An empty record looks like the end here; who closes has nothing to say by one.
        buffer = bytearray(1 << 16)
        view = memoryview(buffer)
        for _ in range(_LAST_WORDS):
            try:
                size = self.recv_into(buffer)
            except OSError:  # reset: there is nothing more
                return
            if not size:
                return
            error = self.listener.answer(self, view[:size])
            if error:
                self.listener.drop(error)
            else:
                self.bytes_out += size
                self.packets_out += 1

    def look_at_pace(self) -> None:
        """Nothing: answers are taken singly at any pace."""

    def carry(self, order: Sequence[int] | None, sizes: list[int], segments: list[int] | None) -> None:
        """Send what lies in these slots of the inbox, each datagram as a record of its own."""
        self.last = self.listener.loop.now
        slots = range(len(sizes)) if order is None else order
        self.listener.gear.inbox.carry_singly(self, slots, sizes, segments)

    def carry_again(self, datagram: memoryview, error: int) -> None:
        """Send was refused: what the pair does not take now is dropped."""
        self.listener.drop(error)

    def forward(self, datagram: memoryview) -> int:
        """Send one datagram to the carrier; 0 or the errno. The first one takes the header along."""
        try:
            if self.header and self.fd >= 0:
                self.send(self.header + datagram)
                self.header = b""
            else:
                self.send(datagram)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def icmp(self, error: int) -> bool:
        """No error here is about an earlier datagram."""
        return False

    def _keep(self, datagram: ReadableBuffer, _flags: int = 0, /) -> int:
        """Stands in for `send` while there is nothing to send by. Raises OSError for what is dropped."""
        listener = self.listener
        if self._tie is None and listener.service.entry.carrier != self.carrier:
            listener.loop.soon(self.cut)  # the client's next datagram makes a peer by the terms of now
            raise OSError(errno.EHOSTUNREACH, "nothing leads through this carrier any more")
        if listener.loop.now < self._pause_until:
            raise OSError(errno.EHOSTUNREACH, "the carrier has not reached the target")
        if self._tie is None:
            self._ask()
        if len(self._kept) >= KEPT:
            raise BlockingIOError(errno.EAGAIN, "enough is kept")
        copy = bytes(datagram)
        self._kept.append(copy)
        return len(copy)

    def _lose_kept(self) -> None:
        kept, self._kept = self._kept, []
        for datagram in kept:
            self._lose(datagram, errno.EHOSTUNREACH)

    def _lose(self, datagram: bytes, error: int) -> None:
        """What was counted as sent when it was kept is lost after all."""
        self.bytes_in -= len(datagram)
        self.packets_in -= 1
        self.listener.drop(error)

    # -- ending --------------------------------------------------------------------------

    def cut(self) -> None:
        """End the peer's flow; what is under way to it is dropped."""
        if self._ended:
            return
        self._ended = True
        tie, self._tie = self._tie, None
        if self.fd >= 0:
            if tie is not None:
                tie.abort()
            self.listener.loop.unregister(self.fd)  # the carrier may still have a copy of it
            self._sock.close()
            self.fd = -1
        elif tie is not None:
            tie.cancel()
        self._lose_kept()
        self.send = self._keep
        self.listener.peers.pop(self._key, None)
        self.listener.service.ended(self)
