"""Events of the kernel's ruleset, without waiting for them.

A socket belongs to the network namespace of the thread that makes it, and may be used by any.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from sekimori.host.nfsocket import (
    RECEIVE,
    RECEIVE_BUFFER,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
    NfSocket,
    enlarge,
    open_netfilter,
)
from sekimori.wire.nfnetlink import NFT_EVENTS
from sekimori.wire.nftevents import ELEMENT_KINDS, Generation, TableGone, TableMade, parse_events_untrusted

__all__ = ["Event", "Monitor", "Overrun", "batch_unheard"]

# linux/netlink.h, asm-generic/socket.h
_ADD_MEMBERSHIP: Final = 1
_DROP_MEMBERSHIP: Final = 2
_SO_ATTACH_FILTER: Final = 26

_READ_AT_ONCE: Final = 256
"""Datagrams that `Monitor.read` takes, so that a storm of events leaves the event loop its turn."""


class Overrun:
    """Events were lost: whatever they told has to be read anew."""

    def __repr__(self) -> str:
        return "Overrun()"


Event = Generation | TableMade | TableGone | Overrun


class Monitor:
    """Tells of changes of the ruleset, by whomever. It does not block; wait for `fileno`.

    Datagrams that begin with an element are dropped in the kernel, so a transaction of 60,000
    elements wakes nobody and fills no buffer. (The kernel still writes them for whoever
    listens: see `batch_unheard`.) Every transaction ends with its `Generation` in
    a datagram of its own, so none of those is missed; a table that was made or deleted in the
    same transaction behind elements may be.

    Raises:
        OSError: no such socket can be had, or this process may not listen (CAP_NET_ADMIN).
    """

    def __init__(self) -> None:
        self._sock = open_netfilter()
        try:
            self._sock.setblocking(False)
            _drop_kinds(self._sock, ELEMENT_KINDS)
            enlarge(self._sock, SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self.listen()
        except OSError:
            self._sock.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it. It may be closed already."""
        self._sock.close()

    def listen(self) -> None:
        """Hear events (again). A new monitor does."""
        self._sock.setsockopt(SOL_NETLINK, _ADD_MEMBERSHIP, NFT_EVENTS)

    def ignore(self) -> None:
        """Hear no more events, until `listen`. What was heard before can still be read."""
        self._sock.setsockopt(SOL_NETLINK, _DROP_MEMBERSHIP, NFT_EVENTS)

    def fileno(self) -> int:
        """The descriptor that is readable when there are events."""
        return self._sock.fileno()

    def read(self) -> list[Event]:
        """The events since the last call, oldest first; empty when there are none.

        It may leave some behind, with the descriptor still readable.
        """
        events: list[Event] = []
        for _ in range(_READ_AT_ONCE):
            try:
                events += parse_events_untrusted(self._sock.recv(RECEIVE))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                events.append(Overrun())
        return events


def batch_unheard(sock: NfSocket, monitor: Monitor, messages: Sequence[bytes]) -> bool:
    """`NfSocket.batch`, with the monitor not listening: whether nothing else changed meanwhile.

    While anybody listens, the kernel holds an event of a page and more for every element until
    it commits: 180,000 elements took 1.2 GB for a moment and 0.8 to 4.6 s, unheard 50 MB and
    0.6 s (Linux 6.18). So a large transaction is sent like this. It does not help while another
    program listens, in whichever namespace: the kernel keeps one record of listeners for all.

    The transaction's own `Generation` is not told. After False, read whatever matters anew.

    Raises:
        NetfilterError: the transaction was refused; the monitor listens again.
    """
    before = sock.generation()
    monitor.ignore()
    try:
        sock.batch(messages)
    finally:
        monitor.listen()
    # 0 is left out when the number wraps (the kernel's nf_tables_commit).
    return sock.generation() == ((before + 1) & 0xFFFFFFFF or 1)


def _drop_kinds(sock: socket.socket, kinds: Sequence[int]) -> None:
    """Have the kernel drop datagrams whose first message is of these kinds (a filter of classic BPF)."""
    drop = len(kinds)
    # Loads are in network order, nlmsg_type (at byte 4) is in host order: compare with it swapped.
    program = [(0x28, 0, 0, 4)]  # ldh [4]
    program += [(0x15, drop - at, 0, socket.htons(kind)) for at, kind in enumerate(kinds)]  # jeq kind, drop
    program += [(0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # ret all; drop: ret 0
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBL", *line) for line in program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code))
    )
