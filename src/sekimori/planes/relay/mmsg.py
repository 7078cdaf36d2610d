"""Many datagrams per system call: recvmmsg(2), sendmmsg(2), UDP segmentation both ways.

A datagram's payload is never made into a Python object. It lies in a slot of one
anonymous memory map, where the kernel writes it and from where the kernel sends it
on; Python only moves lengths and addresses between header arrays, and those a
whole batch at a time, through strided memoryviews.

Runs of equal datagrams to one address leave as one segmented send (UDP_SEGMENT,
udp(7), Linux 4.18): the network stack is crossed once for the run, and the receiver
still gets each datagram by itself. The other way (UDP_GRO, Linux 5.0) the kernel may
hand over a *train*: several equal datagrams in one slot, with the size of each.
Measured on loopback, 1,400 bytes: 950 ns per datagram sent by sendmmsg, 310 ns as a
segmented send, 100 ns when it arrives as a train too.

The layout of a header is in `libc`.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from array import array
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, Literal

from sekimori.planes.relay.libc import DONTWAIT, HEADER, Calls

__all__ = [
    "BIGGEST",
    "SEGMENTS",
    "SLOTS",
    "Receiver",
    "Sender",
    "Slots",
    "address_of",
    "column",
    "trains",
]

SLOTS: Final = 64
"""Datagrams per call: beyond 64 the price of one no longer falls measurably."""
BIGGEST: Final = 65_507
"""Payload bytes of the largest datagram over IPv4 (65,535 less IP and UDP headers)."""
SEGMENTS: Final = 64
"""Most datagrams in one segmented send (UDP_MAX_SEGMENTS of every kernel that has it)."""

_NAME: Final = 32
"""Bytes kept per socket address: sockaddr_in6 is 28, the rest stays zero."""
_CONTROL: Final = 64
"""Bytes of control messages per slot: a segment size (24) and a packet info (32 or 40)."""
_SLOT: Final = 65_536 + 4_096 + 192
"""Bytes from slot to slot. Not a power of two: slots that far apart would all fall into
the same few cache sets, and 64 small datagrams would evict one another."""
_SEGMENT_SPACE: Final = 24
_SEGMENT: Final = struct.pack("@QiiHxxxxxx", 18, 17, 103, 0)
"""Control message SOL_UDP/UDP_SEGMENT with its padding; the size is the u16 at 16."""


def address_of(memory: bytearray | mmap.mmap) -> int:
    """Where `memory` is. It can no longer be resized while anything holds the address."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def column(memory: bytearray, code: Literal["I", "Q"], offset: int, stride: int) -> memoryview:
    """Every `stride` bytes the number at `offset`, as a one-dimensional view."""
    width = 4 if code == "I" else 8
    return memoryview(memory).cast(code)[offset // width :: stride // width]


class Slots:
    """Payload memory for `SLOTS` datagrams of any size. Pages cost nothing until used."""

    __slots__ = ("addresses", "memory", "views")

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SLOTS * _SLOT)
        start = address_of(self.memory)
        self.addresses = [start + index * _SLOT for index in range(SLOTS)]
        whole = memoryview(self.memory)
        self.views = [whole[i * _SLOT : i * _SLOT + 65_536] for i in range(SLOTS)]

    def datagrams(self, slot: int, size: int, segment: int) -> list[memoryview]:
        """The datagrams in a slot: one of `size` bytes, or a train cut at each `segment`."""
        view = self.views[slot]
        if not segment:
            return [view[:size]]
        return [view[at : min(at + segment, size)] for at in range(0, size, segment)]


class Receiver:
    """Headers to receive with. One serves all sockets of the same kind, one after another.

    Args:
        slots: where payloads go.
        calls: the system calls.
        family: of the names to keep: 4, 6, or 0 on connected sockets (no names).
        local: also keep the local address that each datagram was sent to (the socket
            must have IP_PKTINFO or IPV6_RECVPKTINFO on).
    """

    __slots__ = (
        "_call",
        "_control",
        "_control_lens",
        "_family",
        "_full",
        "_headers",
        "_iovs",
        "_key_columns",
        "_local",
        "_name_start",
        "_names",
        "_plain",
        "_start",
        "lengths",
        "slots",
    )

    def __init__(self, slots: Slots, calls: Calls, family: Literal[0, 4, 6] = 0, local: bool = False) -> None:
        self.slots = slots
        self._call = calls.receive
        self._family = family
        self._local = local
        self._plain = 0 if not local else 32 if family == 4 else 40
        self._names = bytearray(SLOTS * _NAME)
        self._name_start = address_of(self._names)
        self._control = bytearray(SLOTS * _CONTROL)
        self._iovs = bytearray(SLOTS * 16)
        self._headers = bytearray(SLOTS * HEADER)
        self._start = address_of(self._headers)
        self.lengths = column(self._headers, "I", 56, HEADER)
        self._control_lens = column(self._headers, "Q", 40, HEADER)
        self._full = array("Q", [_CONTROL] * SLOTS)
        self._key_columns = self._columns()
        self._fill()

    def _fill(self) -> None:
        names = self._name_start
        controls, iovs = map(address_of, (self._control, self._iovs))
        name_size = {0: 0, 4: 16, 6: 28}[self._family]
        for i, address in enumerate(self.slots.addresses):
            struct.pack_into("@QQ", self._iovs, i * 16, address, 65_536)
            name = names + i * _NAME if name_size else 0
            header = (name, name_size, iovs + i * 16, 1, controls + i * _CONTROL, _CONTROL)
            struct.pack_into("@QIxxxxQQQQ", self._headers, i * HEADER, *header)

    def _columns(self) -> list[memoryview]:
        """The numbers that tell peers apart, one view each (see `keys`)."""
        words = 1 if self._family == 4 else 4  # sockaddr_in is 8 bytes and 8 of zero
        columns = [column(self._names, "Q", 8 * word, _NAME) for word in range(words)]
        if self._local and self._family == 4:
            columns.append(column(self._control, "I", 20, _CONTROL))  # ipi_spec_dst
        elif self._local:
            columns += [column(self._control, "Q", offset, _CONTROL) for offset in (16, 24)]
        return columns

    def receive(self, fd: int, first: int = 0) -> int:
        """Receive into slots `first` and up, without waiting.

        Returns:
            How many slots were filled (at least 1), or minus the errno.
        """
        got = self._call(fd, self._start + first * HEADER, SLOTS - first, DONTWAIT, None)
        return got if got > 0 else -ctypes.get_errno()

    def segments(self, first: int, count: int) -> list[int] | None:
        """Datagram sizes of trains, by slot (0: a single datagram); None: no train at all.

        To be called once after each `receive`: it makes the headers ready for the next,
        and moves the local addresses to where `keys` and `local` expect them.
        """
        plain = self._plain
        if count == 1:
            lens = [self._control_lens[first]]
            self._control_lens[first] = _CONTROL
        else:
            lens = self._control_lens[first : first + count].tolist()
            self._control_lens[first : first + count] = self._full[:count]
        if lens.count(plain) == count:
            return None
        return [self._unpack(first + i) if n > plain else 0 for i, n in enumerate(lens)]

    def _unpack(self, index: int) -> int:
        """Read slot `index`'s train size, and move what follows it to the front."""
        start = index * _CONTROL
        level, kind, size = struct.unpack_from("@iii", self._control, start + 8)
        if (level, kind) != (17, 104):  # SOL_UDP, UDP_GRO: the kernel puts it first
            return 0
        rest = start + _SEGMENT_SPACE
        self._control[start : start + 40] = self._control[rest : rest + 40]
        return int(size)

    def keys(self, count: int) -> Sequence[Hashable]:
        """One value per slot from 0: equal values, same sender (and same local address)."""
        columns = self._key_columns
        if len(columns) == 1:
            numbers: list[int] = columns[0][:count].tolist()
            return numbers
        return list(zip(*[column[:count].tolist() for column in columns], strict=True))

    def name(self, index: int) -> bytes:
        """The raw socket address that slot `index` came from."""
        size = 16 if self._family == 4 else 28
        return bytes(self._names[index * _NAME : index * _NAME + size])

    def name_address(self, index: int) -> int:
        """Where in memory that name is, for `Sender.add`, until the next `receive`."""
        return self._name_start + index * _NAME

    def reply_control(self, index: int) -> bytes:
        """The control message that makes an answer leave from where slot `index` went to.

        The interface is left open (0), so that routing stays the host's own choice.
        Empty when local addresses are not kept, or for multicast, which nothing can
        be sent from.
        """
        if not self._local:
            return b""
        start = index * _CONTROL + 16
        if self._family == 4:
            source = bytes(self._control[start + 4 : start + 8])  # ipi_spec_dst
            return struct.pack("@QiiI4s4s4x", 28, 0, 8, 0, source, b"")  # IPPROTO_IP, IP_PKTINFO
        source = bytes(self._control[start : start + 16])
        if source[0] == 0xFF:
            return b""
        return struct.pack("@Qii16sI4x", 36, 41, 50, source, 0)  # IPPROTO_IPV6, IPV6_PKTINFO


def trains(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int, int]]:
    """Cut a row of datagrams into runs that may leave as one segmented send each.

    A run is equal sizes, of which only the last may be smaller; empty datagrams and
    those above `limit` bytes go alone. Yields (first, count, bytes).
    """
    first, end = 0, len(sizes)
    while first < end:
        size = total = sizes[first]
        after = first + 1
        most = min(end, first + SEGMENTS) if 0 < size <= limit else after
        while after < most and 0 < sizes[after] <= size and total + sizes[after] <= BIGGEST:
            total += sizes[after]
            after += 1
            if sizes[after - 1] < size:
                break
        yield first, after - first, total
        first = after


class Sender:
    """Messages to send, in order. Payloads stay in the slots until `send` has returned.

    Use: `load` which slots lie at which positions, `add` messages over positions, `send`
    them (again, from where it stopped, after a refused one), then `clear`.
    """

    __slots__ = (
        "_bases",
        "_call",
        "_control",
        "_control_start",
        "_headers",
        "_iov_start",
        "_iovs",
        "_moved",
        "_start",
        "count",
        "lengths",
        "slots",
    )

    def __init__(self, slots: Slots, calls: Calls) -> None:
        self.slots = slots
        self.count = 0
        self._call = calls.send
        self._control = bytearray(_SEGMENT + bytes(_CONTROL - _SEGMENT_SPACE)) * SLOTS
        self._iovs = bytearray(SLOTS * 16)
        self._headers = bytearray(SLOTS * HEADER)
        self._start, self._iov_start, self._control_start = map(
            address_of, (self._headers, self._iovs, self._control)
        )
        self._bases = column(self._iovs, "Q", 0, 16)
        self.lengths = column(self._iovs, "I", 8, 16)  # the upper half of size_t stays zero
        self._moved = True
        self.place(None)

    def place(self, order: Sequence[int] | None) -> None:
        """Let position p stand for slot `order[p]` (None: slot p, as received)."""
        if order is not None:
            addresses = self.slots.addresses
            self._bases[: len(order)] = array("Q", [addresses[slot] for slot in order])
            self._moved = True
        elif self._moved:
            self._bases[:] = array("Q", self.slots.addresses)
            self._moved = False

    def add(
        self, first: int, count: int, segment: int, name: int = 0, name_size: int = 0, control: bytes = b""
    ) -> None:
        """Append one message of positions `first` to `first + count`.

        Args:
            first: its first position.
            count: positions joined to one payload.
            segment: cut the payload into datagrams of this many bytes; 0: do not.
            name: memory address of the destination's socket address; 0: connected.
            name_size: bytes of it.
            control: a further control message (see `Receiver.reply_control`).
        """
        slot = self.count * _CONTROL
        at, size = self._control_start + slot, len(control)
        if control:
            rest = slot + _SEGMENT_SPACE
            self._control[rest : rest + size] = control
        if segment:
            struct.pack_into("@H", self._control, slot + 16, segment)
            size += _SEGMENT_SPACE
        else:
            at += _SEGMENT_SPACE
        header = (name, name_size, self._iov_start + first * 16, count, at, size)
        struct.pack_into("@QIxxxxQQQQ", self._headers, self.count * HEADER, *header)
        self.count += 1

    def send(self, fd: int, done: int = 0) -> int:
        """Send the messages after the first `done`, without waiting.

        Returns:
            How many were sent (at least 1), or minus the errno of the first of them.
        """
        sent = self._call(fd, self._start + done * HEADER, self.count - done, DONTWAIT)
        return sent if sent >= 0 else -ctypes.get_errno()

    def clear(self) -> None:
        """Forget the messages (not the payloads)."""
        self.count = 0
