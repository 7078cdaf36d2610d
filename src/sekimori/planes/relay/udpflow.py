"""One peer of a datagram listener: its own socket to the target, its own fate.

A peer's ICMP errors and full buffers touch nobody else. Batches reach it from
`datagrams`, and its listener (`udp`) makes it and forgets it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import select
import socket
import struct
from _socket import socket as Socket  # noqa: N812 - the C type: half the cost of its Python subclass
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from sekimori.planes.relay.admission import plain
from sekimori.planes.relay.datagrams import FULL
from sekimori.planes.relay.dial import failure_of
from sekimori.planes.relay.flows import Flow, SourceRow
from sekimori.planes.relay.mmsg import BIGGEST
from sekimori.wire import proxyproto

if TYPE_CHECKING:
    from sekimori.planes.relay.udp import UdpListener

__all__ = [
    "ICMP",
    "IDLE",
    "PEER_BUFFER",
    "UdpFlow",
    "accept_trains",
    "client_of",
    "count_lost",
    "dial",
    "prepare",
]

IDLE: Final = 120.0
"""Seconds of silence that end a peer, unless the entry says otherwise (RFC 4787 REQ-5)."""
ICMP: Final = frozenset(
    (
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENOPROTOOPT,
        errno.EPROTO,
        errno.EACCES,
    )
)
"""What the kernel makes of ICMP errors on a connected socket (icmp(7), icmp_err_convert)."""

PEER_BUFFER: Final = 512 << 10
"""Bytes asked for on each side of a peer's socket."""
_MOVE_PAUSE: Final = 1.0
"""Seconds between tries once every target of a flow has refused."""
_BULK_WITHIN: Final = 0.032
"""Seconds: a peer with 1,000 answers a second is worth a dearer call that takes many."""
_UDP_GRO: Final = 104
_CONTROL_AT: Final = 32
"""Where in a peer's memory the control message follows the name; cmsghdr is aligned to 8."""


def dial(target: str, port: int) -> Socket:
    """A datagram socket that sends to and hears from the target only.

    Raises:
        OSError: no descriptor, or no route.
    """
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    sock = Socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        prepare(sock, PEER_BUFFER)
        sock.connect((target, port))
    except OSError:
        sock.close()
        raise
    return sock


def prepare(sock: Socket, size: int) -> None:
    """Ask for buffers of `size` bytes; the kernel grants at most net.core.{r,w}mem_max."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def count_lost(dropped: Counter[str], error: int, count: int = 1) -> None:
    """Count datagrams lost to an errno (see `udp.Drop`)."""
    if error in FULL:
        dropped["full"] += count
    elif error == errno.EMSGSIZE:
        dropped["too_big"] += count
    else:
        dropped["unreachable" if error in ICMP else "other"] += count


def accept_trains(sock: Socket) -> None:
    """Let the kernel hand over several datagrams at once, where it can (Linux 5.0)."""
    with contextlib.suppress(OSError):  # an older kernel: they come one by one
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)


class UdpFlow(Flow):
    """One peer and its socket to the target."""

    trains: ClassVar[bool] = True
    """Whether sockets take trains; False is for measuring what they save."""

    __slots__ = (
        "_key",
        "_moved",
        "_paced",
        "_reply",
        "_sock",
        "_told",
        "_tried",
        "answered",
        "client",
        "control",
        "control_at",
        "fd",
        "header",
        "listener",
        "name_at",
        "name_size",
        "recv_into",
        "segment_limit",
        "send",
        "take",
    )

    def __init__(
        self, listener: UdpListener, key: Hashable, name: bytes, control: bytes, row: SourceRow, target: str
    ) -> None:
        """Raises OSError when there is no descriptor, or no route to the target."""
        self.client = client_of(name)
        idle = listener.service.entry.idle or IDLE
        source = (plain(self.client[0]), self.client[1])
        super().__init__(row, source, listener.listen, target, listener.loop.now, idle)
        self.listener = listener
        self.control = control
        self._reply = ctypes.create_string_buffer(name.ljust(_CONTROL_AT, b"\0") + control)
        self.name_at = ctypes.addressof(self._reply)
        self.control_at = self.name_at + _CONTROL_AT
        self.name_size = len(name)
        self.answered = False
        self.segment_limit = BIGGEST
        self._key = key
        self._tried = 1
        self._told = False
        self._moved = self._paced = self.started
        self.header = b""
        if listener.service.entry.proxy_protocol == 2:
            local = listener.local_address(control)
            self.header = proxyproto.encode(2, "udp", source, (plain(local[0]), local[1]))
        self._begin()

    def _begin(self) -> None:
        self._connect(dial(self.target, self.listen.target_port))

    def _connect(self, sock: Socket) -> None:
        self._sock = sock
        self.send = sock.send
        self.recv_into = sock.recv_into
        self.take = self.listener.gear.outbox.take
        self.fd = sock.fileno()
        try:
            self.listener.loop.register(self.fd, select.EPOLLIN, self)
        except OSError:  # ENOSPC: fs.epoll.max_user_watches
            sock.close()
            self.fd = -1
            raise

    def on_event(self, _events: int) -> None:
        """Pass the target's answers on, or take note of its host's error."""
        got = self.take(self)
        if got > 0:
            self.last = self.listener.loop.now
            self.answered = True
        elif -got not in FULL and not self.icmp(-got):
            self.listener.drop(-got)

    def look_at_pace(self) -> None:
        """Another `BULK_EACH` answers have come: if that was quick, take many at a time from now on."""
        now, gear = self.listener.loop.now, self.listener.gear
        if now - self._paced < _BULK_WITHIN:
            gear.outbox.flush()  # what was taken singly leaves first
            self.take = gear.bulk.take
            if self.trains:
                accept_trains(self._sock)
        self._paced = now

    def carry(self, order: Sequence[int] | None, sizes: list[int], segments: list[int] | None) -> None:
        """Send what lies in these slots of the inbox to the target (see `Inbox.carry`)."""
        self.last = self.listener.loop.now
        inbox = self.listener.gear.inbox
        if self.header:
            inbox.carry_singly(self, range(len(sizes)) if order is None else order, sizes, segments)
        else:
            inbox.carry(self, order, sizes, segments)

    def carry_one(self, datagram: memoryview) -> None:
        """Send one datagram to the target: cheaper than a batch of one."""
        failed = self.forward(datagram)
        if failed:
            self.carry_again(datagram, failed)
        else:
            self.bytes_in += len(datagram)
            self.packets_in += 1

    def carry_again(self, datagram: memoryview, error: int) -> None:
        """Send was refused: once more, as the error may be an earlier datagram's, else drop it."""
        if error not in FULL:
            self.icmp(error)
            error = self.forward(datagram)
        if error:
            self.listener.drop(error)
        else:
            self.bytes_in += len(datagram)
            self.packets_in += 1

    def forward(self, datagram: memoryview) -> int:
        """Send one datagram to the target; 0 or the errno. The first one takes the header along."""
        try:
            if self.header:
                self._sock.sendmsg((self.header, datagram))
                self.header = b""
            else:
                self.send(datagram)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def icmp(self, error: int) -> bool:
        """Take note of an error that the target's host sent; False when `error` is no such thing.

        It is about an earlier datagram and this peer only. A flow that was never answered
        tries the next target.
        """
        if error not in ICMP:
            return False
        self.listener.drop(error)
        if not self.answered:
            if not self._told:
                self._told = True
                self.listener.service.fail(failure_of(error))
            self._move()
        return True

    def _move(self) -> None:
        targets = self.listener.service.entry.targets
        now = self.listener.loop.now
        if len(targets) < 2 or self.fd < 0:
            return
        if self._tried >= len(targets) and now - self._moved < _MOVE_PAUSE:
            return
        self._moved = now
        self._tried += 1
        after = targets.index(self.target) + 1 if self.target in targets else 0
        target = targets[after % len(targets)]
        try:
            sock = dial(target, self.listen.target_port)
        except OSError as error:
            self.listener.service.fail(failure_of(error.errno or 0))
            return
        self._disconnect()
        self.target = target
        self._told = False
        self._connect(sock)

    def _disconnect(self) -> None:
        self.listener.loop.forget(self.fd)
        self._sock.close()
        self.fd = -1

    def cut(self) -> None:
        """End the peer's flow; what is under way to it is dropped."""
        if self.fd >= 0:
            self._disconnect()
            self.listener.peers.pop(self._key, None)
            self.listener.service.ended(self)


def client_of(name: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
    """A raw sockaddr_in or sockaddr_in6 as the address that `socket` functions take."""
    port = struct.unpack_from("!H", name, 2)[0]
    if len(name) == 16:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    scope = struct.unpack_from("@I", name, 24)[0]
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, 0, scope
