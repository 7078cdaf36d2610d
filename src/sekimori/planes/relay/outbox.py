"""Answers on their way out: collected over one turn of the loop, sent in one call.

All answers of a listener leave through its one socket, whatever sockets they came in
by. Peers with a few answers a second share an `Outbox`, where an answer costs one
receive and two stores; those with many take the `BulkOutbox`, which asks the kernel
for all that is there. Neither keeps anything past the turn.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from array import array
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary

from sekimori.planes.relay.datagrams import FULL, NO_SEGMENTS, Inbox, Share, number_of
from sekimori.planes.relay.libc import DONTWAIT, HEADER, Calls, open_calls
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.mmsg import (
    SLOTS,
    Receiver,
    Sender,
    Slots,
    address_of,
    column,
    trains,
)

if TYPE_CHECKING:
    from sekimori.planes.relay.udp import UdpListener
    from sekimori.planes.relay.udpflow import UdpFlow

__all__ = ["BULK_EACH", "BulkOutbox", "Gear", "Outbox", "gear_of"]

BULK_EACH: Final = 32
"""After this many answers a peer's pace is looked at (a power of two)."""


class Outbox:
    """Single answers, one slot each."""

    __slots__ = (
        "_call",
        "_control_sizes",
        "_controls",
        "_filled",
        "_headers",
        "_iovs",
        "_local",
        "_name_sizes",
        "_names",
        "_outlet",
        "_peers",
        "_sizes",
        "_slots",
        "_start",
        "_views",
    )

    def __init__(self, slots: Slots, calls: Calls) -> None:
        self._call = calls.send
        self._slots = slots
        self._views = slots.views
        self._iovs = bytearray(SLOTS * 16)
        self._headers = bytearray(SLOTS * HEADER)
        self._start = address_of(self._headers)
        self._names = column(self._headers, "Q", 0, HEADER)
        self._name_sizes = column(self._headers, "I", 8, HEADER)
        self._controls = column(self._headers, "Q", 32, HEADER)
        self._control_sizes = column(self._headers, "Q", 40, HEADER)
        self._sizes = column(self._iovs, "I", 8, 16)
        iovs = address_of(self._iovs)
        for i, address in enumerate(slots.addresses):
            struct.pack_into("@Q", self._iovs, i * 16, address)
            struct.pack_into("@QQ", self._headers, i * HEADER + 16, iovs + i * 16, 1)
        self._outlet: UdpListener | None = None
        self._local = False
        self._peers: list[UdpFlow] = []
        self._filled = 0

    def take(self, peer: UdpFlow) -> int:
        """Take one answer that has come for `peer`: 1, or -errno."""
        outlet = peer.listener
        if self._outlet is not outlet:
            self._turn_to(outlet)
        at = self._filled
        try:
            size = peer.recv_into(self._views[at])
        except OSError as error:
            return -(error.errno or errno.EIO)
        self._names[at] = peer.name_at
        self._sizes[at] = size
        if self._local:
            self._controls[at] = peer.control_at
            self._control_sizes[at] = len(peer.control)
        self._peers.append(peer)
        self._filled = at + 1
        peer.bytes_out += size
        peer.packets_out += 1
        if at == 0:
            outlet.loop.soon(self.flush)
        elif at == SLOTS - 1:
            self.flush()
        if not peer.packets_out % BULK_EACH:
            peer.look_at_pace()
        return 1

    def _turn_to(self, outlet: UdpListener) -> None:
        self.flush()
        self._outlet = outlet
        if self._name_sizes[0] != outlet.name_size:
            self._name_sizes[:] = array("I", [outlet.name_size] * SLOTS)
        if self._local != outlet.anywhere:
            self._local = outlet.anywhere
            self._controls[:] = self._control_sizes[:] = array("Q", [0] * SLOTS)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to leave."""
        return not self._filled

    def flush(self) -> None:
        """Send all that was taken. A listener that was closed meanwhile takes nothing."""
        outlet, done, filled = self._outlet, 0, self._filled
        if outlet is not None and not outlet.closed:
            while done < filled:
                sent = self._call(outlet.fd, self._start + done * HEADER, filled - done, DONTWAIT)
                done += sent if sent > 0 else self._refused(outlet, done, ctypes.get_errno())
        self._filled = 0
        self._peers.clear()

    def _refused(self, outlet: UdpListener, index: int, error: int) -> int:
        count = self._filled - index if error in FULL else 1
        for at in range(index, index + count):
            peer = self._peers[at]
            peer.bytes_out -= self._sizes[at]
            peer.packets_out -= 1
        outlet.drop(error, count)
        return count


class BulkOutbox:
    """Answers of peers that have many at a time: received and sent in runs and trains."""

    __slots__ = ("_filled", "_outlet", "_receiver", "_sender", "_shares")

    def __init__(self, receiver: Receiver, sender: Sender) -> None:
        self._receiver = receiver
        self._sender = sender
        self._outlet: UdpListener | None = None
        self._shares: list[Share] = []
        self._filled = 0

    def take(self, peer: UdpFlow) -> int:
        """Take what has come for `peer`: how many slots it filled (at least 1), or -errno."""
        outlet = peer.listener
        if self._outlet is not outlet:
            self.flush()
            self._outlet = outlet
        receiver, first = self._receiver, self._filled
        count = receiver.receive(peer.fd, first)
        if count < 0:
            return count
        segments = receiver.segments(first, count)
        end = first + count
        self._sender.lengths[first:end] = receiver.lengths[first:end]
        self._add(peer, first, receiver.lengths[first:end].tolist(), segments)
        self._filled = end
        if end == SLOTS:
            self.flush()
        elif first == 0:
            outlet.loop.soon(self.flush)
        return count

    def _add(self, peer: UdpFlow, slot: int, sizes: list[int], segments: list[int] | None) -> None:
        peer.bytes_out += sum(sizes)
        peer.packets_out += number_of(sizes, segments)
        add, to = self._sender.add, (peer.name_at, peer.name_size, peer.control)
        if segments is None:
            for at, count, _ in trains(sizes, peer.segment_limit):
                first, end = slot + at, slot + at + count
                add(first, count, sizes[at] if count > 1 else 0, *to)
                self._shares.append((peer, range(first, end), sizes[at : at + count], 0))
        else:
            for at, segment in enumerate(segments):
                add(slot + at, 1, segment, *to)
                self._shares.append((peer, (slot + at,), [sizes[at]], segment))

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to leave."""
        return not self._filled

    def flush(self) -> None:
        """Send all that was taken. A listener that was closed meanwhile takes nothing."""
        outlet, sender, done = self._outlet, self._sender, 0
        if outlet is not None and not outlet.closed:
            while done < sender.count:
                sent = sender.send(outlet.fd, done)
                done += sent if sent > 0 else self._refused(outlet, done, -sent)
        self._outlet = None
        self._filled = 0
        sender.clear()
        self._shares.clear()

    def _refused(self, outlet: UdpListener, index: int, error: int) -> int:
        share = self._shares[index]
        peer, slots, sizes, segment = share
        if error in FULL:
            rest = self._shares[index:]
            for other in rest:
                self._lose(outlet, other, error)
            return len(rest)
        if error not in NO_SEGMENTS or not (segment or len(sizes) > 1):
            self._lose(outlet, share, error)
            return 1
        peer.segment_limit = min(peer.segment_limit, (segment or sizes[0]) - 1)
        for slot, size in zip(slots, sizes, strict=True):
            for datagram in self._sender.slots.datagrams(slot, size, segment):
                failed = outlet.answer(peer, datagram)
                if failed:
                    self._lose(outlet, (peer, (slot,), [len(datagram)], 0), failed)
        return 1

    @staticmethod
    def _lose(outlet: UdpListener, share: Share, error: int) -> None:
        peer, _, sizes, segment = share
        lost = number_of(sizes, [segment] * len(sizes))
        peer.bytes_out -= sum(sizes)
        peer.packets_out -= lost
        outlet.drop(error, lost)


class Gear:
    """What all listeners of one loop share, so that 10,000 of them cost no buffers."""

    __slots__ = ("_calls", "_receivers", "bulk", "inbox", "outbox")

    def __init__(self) -> None:
        self._calls = open_calls()
        inward, outward, bulk = Slots(), Slots(), Slots()
        self.inbox = Inbox(inward, Sender(inward, self._calls))
        self.outbox = Outbox(outward, self._calls)
        self.bulk = BulkOutbox(Receiver(bulk, self._calls), Sender(bulk, self._calls))
        self._receivers: dict[tuple[Literal[4, 6], bool], Receiver] = {}

    def receiver(self, family: Literal[4, 6], local: bool) -> Receiver:
        """The receiver for listeners of this kind (see `Receiver`), into the inbox's slots."""
        found = self._receivers.get((family, local))
        if found is None:
            found = Receiver(self.inbox.slots, self._calls, family, local)
            self._receivers[family, local] = found
        return found


_gears: WeakKeyDictionary[Loop, Gear] = WeakKeyDictionary()


def gear_of(loop: Loop) -> Gear:
    """The loop's gear, made when its first datagram listener comes."""
    gear = _gears.get(loop)
    if gear is None:
        gear = _gears[loop] = Gear()
    return gear
