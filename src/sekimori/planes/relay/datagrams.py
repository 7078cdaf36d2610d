"""Batches of datagrams on their way in: each peer's share leaves through its own socket.

Nothing is queued: what a full socket does not take is dropped and counted, as UDP
has it. The way out is in `outbox`.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sekimori.planes.relay.mmsg import Sender, Slots, trains

if TYPE_CHECKING:
    from sekimori.planes.relay.udpflow import UdpFlow

__all__ = ["FULL", "NO_SEGMENTS", "Inbox", "Share", "number_of"]

FULL: Final = frozenset((errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM))
"""The socket takes no more for now."""
NO_SEGMENTS: Final = frozenset((errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP))
"""What a segmented send meets on a path whose MTU or device cannot have it."""

Share = tuple["UdpFlow", Sequence[int], list[int], int]
"""One message: its peer, its slots, their sizes, and the datagram size if it is a train (else 0)."""


def number_of(sizes: Sequence[int], segments: Sequence[int] | None) -> int:
    """Datagrams in slots of these sizes, trains taken apart."""
    if segments is None:
        return len(sizes)
    return sum(-(-size // step) if step else 1 for size, step in zip(sizes, segments, strict=True))


class Inbox:
    """Sends one peer's share of a received batch on to its target."""

    __slots__ = ("_cut", "_cut_sizes", "_sender", "_shares", "slots")

    def __init__(self, slots: Slots, sender: Sender) -> None:
        self.slots = slots
        self._sender = sender
        self._shares: list[Share] = []
        self._cut: list[memoryview] = []
        self._cut_sizes: list[int] = []

    def cut(self, sizes: list[int]) -> list[memoryview]:
        """The slots from 0 on, each cut to its datagram. Cheap when sizes come again."""
        if sizes != self._cut_sizes:
            self._cut_sizes = sizes
            self._cut = [view[:size] for view, size in zip(self.slots.views, sizes, strict=False)]
        return self._cut

    def carry(
        self, peer: UdpFlow, order: Sequence[int] | None, sizes: list[int], segments: list[int] | None
    ) -> None:
        """Send datagrams to the peer's target.

        Args:
            peer: whose they are.
            order: the slots, in order; None: from slot 0 on.
            sizes: bytes in each.
            segments: datagram size of each that is a train (0: not one); None: none is.
        """
        sender = self._sender
        sender.place(order)
        sender.lengths[: len(sizes)] = array("I", sizes)
        slots = range(len(sizes)) if order is None else order
        peer.bytes_in += sum(sizes)
        peer.packets_in += number_of(sizes, segments)
        if segments is None:
            for first, count, _ in trains(sizes, peer.segment_limit):
                end = first + count
                sender.add(first, count, sizes[first] if count > 1 else 0)
                self._shares.append((peer, slots[first:end], sizes[first:end], 0))
        else:
            for at, segment in enumerate(segments):
                sender.add(at, 1, segment)
                self._shares.append((peer, slots[at : at + 1], sizes[at : at + 1], segment))
        self._send(peer)

    def carry_singly(
        self, peer: UdpFlow, slots: Sequence[int], sizes: list[int], segments: list[int] | None
    ) -> None:
        """Like `carry`, one call per datagram: for the first of a flow that begins with a header."""
        for at, size in enumerate(sizes):
            segment = segments[at] if segments is not None else 0
            peer.bytes_in += size
            peer.packets_in += number_of([size], [segment])
            self._one_by_one((peer, slots[at : at + 1], [size], segment))

    def _send(self, peer: UdpFlow) -> None:
        sender, done, retried = self._sender, 0, -1
        while done < sender.count:
            sent = sender.send(peer.fd, done)
            if sent < 0:
                if retried != done and -sent not in FULL:
                    # An error that was waiting on the socket belongs to an earlier datagram
                    # (ICMP, which has "too big" too): having told it, it may take this one.
                    retried = done
                    peer.icmp(-sent)
                    continue
                sent = self._refused(done, -sent)
            done += sent
        sender.clear()
        self._shares.clear()

    def _refused(self, index: int, error: int) -> int:
        """Deal with a message that was not taken; how many messages are done with by that."""
        share = self._shares[index]
        peer, _, sizes, segment = share
        if error in FULL:
            rest = self._shares[index:]
            for other in rest:
                self._lose(other, error)
            return len(rest)
        if error in NO_SEGMENTS and (segment or len(sizes) > 1):
            peer.segment_limit = min(peer.segment_limit, (segment or sizes[0]) - 1)
            self._one_by_one(share)
        else:
            self._lose(share, error)
        return 1

    def _one_by_one(self, share: Share) -> None:
        peer, slots, sizes, segment = share
        for slot, size in zip(slots, sizes, strict=True):
            for datagram in self.slots.datagrams(slot, size, segment):
                error = peer.forward(datagram)
                if error and error not in FULL:
                    peer.icmp(error)
                    error = peer.forward(datagram)
                if error:
                    self._lose((peer, (slot,), [len(datagram)], 0), error)

    @staticmethod
    def _lose(share: Share, error: int) -> None:
        peer, _, sizes, segment = share
        lost = number_of(sizes, [segment] * len(sizes))
        peer.bytes_in -= sum(sizes)
        peer.packets_in -= lost
        peer.listener.drop(error, lost)
