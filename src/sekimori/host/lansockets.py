"""UDP sockets that belong to one LAN interface: they hear nothing else, and answer by it from where they were
asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog

from sekimori.host.bpf import TAKE_ALL, attach, drop_from
from sekimori.model.address import IPAddress

__all__ = ["Datagram", "LanSocket", "open_lan_socket", "serving"]

_IP_PKTINFO: Final = 8  # linux/in.h; Python 3.11 does not name it
_PKTINFO4: Final = struct.Struct("=i4s4s")  # struct in_pktinfo: index, local address, header's destination
_PKTINFO6: Final = struct.Struct("=16si")  # struct in6_pktinfo
_MREQN: Final = struct.Struct("=4s4si")  # struct ip_mreqn
_MREQ6: Final = struct.Struct("=16si")  # struct ipv6_mreq
_ANCILLARY: Final = 128
_LONGEST: Final = 2048
"""Bytes of a datagram that are read; no protocol that is served over these sockets has longer ones."""
_AT_ONCE: Final = 64
"""Datagrams that are read before others of the loop get their turn."""

_log = structlog.get_logger("lansockets")


@dataclass(frozen=True, slots=True)
class Datagram:
    """What came, from whom, and to which of our addresses.

    Attributes:
        source: without its zone; that of a link-local one is `scope`.
        port: the sender's.
        destination: the address in the IP header: one of ours, or a multicast group.
        index: of the interface it came in by.
        scope: the zone of a link-local IPv6 source, which is an interface's index; 0 otherwise.
    """

    data: bytes
    source: IPAddress
    port: int
    destination: IPAddress
    index: int
    scope: int = 0


class LanSocket:
    """A UDP socket of one interface and family; made by `open_lan_socket`.

    Attributes:
        interface: its name.
        index: its number when the socket was made. An interface that was made anew has another, and then
            nothing comes here any more.
        version: 4 or 6.
    """

    def __init__(self, sock: socket.socket, interface: str, index: int) -> None:
        self._sock = sock
        self.interface = interface
        self.index = index
        self.version = 4 if sock.family == socket.AF_INET else 6

    def fileno(self) -> int:
        """The descriptor that is readable when something came."""
        return self._sock.fileno()

    def receive(self) -> Datagram | None:
        """The next datagram that came in by the interface, at most 2,048 bytes of it; None when there is
        none now.

        Raises:
            OSError: the interface has gone.
        """
        while True:
            try:
                data, ancillary, _flags, sender = self._sock.recvmsg(_LONGEST, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return None
            except ConnectionRefusedError:  # an answer met nobody (ICMP); the next one may be something
                continue
            found = _read(data, ancillary, sender)
            if found is not None and found.index == self.index:
                return found

    def answer(self, asked: Datagram, data: bytes) -> None:
        """Send an answer back to where a datagram came from, from the address that it was sent to."""
        self.send(
            data, asked.source, asked.port, None if asked.destination.is_multicast else asked.destination
        )

    def send(self, data: bytes, to: IPAddress, port: int, source: IPAddress | None = None) -> None:
        """Send by the interface, from one of its addresses (None is the one that the kernel chooses).

        What cannot be sent is lost, as any datagram may be, and logged.
        """
        where = (str(to), port) if self.version == 4 else (str(to), port, 0, self.index)
        try:
            self._sock.sendmsg([data], [self._origin(source)], 0, where)
        except OSError as error:
            _log.debug("not_sent", interface=self.interface, to=str(to), port=port, why=str(error))

    def send_group(self, data: bytes, group: str, port: int, source: IPAddress | None = None) -> None:
        """Send to a multicast group on the interface's link. See `send`."""
        self.send(data, ipaddress.ip_address(group), port, source)

    def join(self, group: str) -> None:
        """Hear what is sent to a multicast group on the interface's link, from now on.

        Raises:
            OSError: the interface cannot.
        """
        packed = ipaddress.ip_address(group).packed
        if self.version == 4:
            request = _MREQN.pack(packed, bytes(4), self.index)
            self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = _MREQ6.pack(packed, self.index)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def shun(self, macs: Iterable[str]) -> None:
        """Have the kernel drop what comes from these MAC addresses, and from no others than these, from now
        on; so a flood costs nothing here, and leaves room for others.

        Only for a link that has MAC addresses.
        """
        attach(self._sock, [*drop_from(macs), TAKE_ALL])

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def _origin(self, source: IPAddress | None) -> tuple[int, int, bytes]:
        """The control message that has the kernel send by the interface, from an address."""
        packed = bytes(4 if self.version == 4 else 16) if source is None else source.packed
        if self.version == 4:
            return socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(self.index, packed, bytes(4))
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(packed, self.index)


def open_lan_socket(
    interface: str,
    version: int,
    port: int,
    *,
    groups: Iterable[str] = (),
    hops: int = 1,
    loop_back: bool = False,
    shared: bool = False,
) -> LanSocket:
    """A socket on a port of an interface, in the network of this thread.

    It is bound to the device (SO_BINDTODEVICE) and to no address, so that it serves every address that the
    interface has or gets, and hears multicast. Other interfaces may have one on the same port.

    Args:
        interface: its name.
        version: 4 or 6.
        port: 0 lets the kernel choose.
        groups: multicast groups to join.
        hops: how far multicast that is sent goes (TTL).
        loop_back: whether programs of this machine hear what is sent to a group.
        shared: whether other programs may have the port as well (SO_REUSEADDR), as SSDP wants.

    Raises:
        OSError: there is no such interface, it cannot join a group, or another program has the port.
    """
    index = socket.if_nametoindex(interface)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _aim(sock, index, hops, loop_back)
        sock.bind(("0.0.0.0", port) if version == 4 else ("::", port))
        made = LanSocket(sock, interface, index)
        for group in groups:
            made.join(group)
    except BaseException:
        sock.close()
        raise
    return made


@contextlib.contextmanager
def serving(
    sock: LanSocket, take: Callable[[Datagram], None], lost: Callable[[OSError], None]
) -> Iterator[None]:
    """Call `take` with everything that comes, for the length of the block, and `lost` once when nothing can
    come any more.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            for _ in range(_AT_ONCE):
                datagram = sock.receive()
                if datagram is None:
                    return
                take(datagram)
        except OSError as error:
            loop.remove_reader(sock.fileno())
            lost(error)

    loop.add_reader(sock.fileno(), read)
    try:
        yield
    finally:
        loop.remove_reader(sock.fileno())


def _aim(sock: socket.socket, index: int, hops: int, loop_back: bool) -> None:
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _MREQN.pack(bytes(4), bytes(4), index))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, int(loop_back))
        return
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, int(loop_back))


def _read(data: bytes, ancillary: list[tuple[int, int, bytes]], sender: tuple[Any, ...]) -> Datagram | None:
    source = ipaddress.ip_address(str(sender[0]).partition("%")[0])
    scope = sender[3] if source.version == 6 else 0
    for level, kind, body in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            index, _local, packed = _PKTINFO4.unpack_from(body)
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            packed, index = _PKTINFO6.unpack_from(body)
        else:
            continue
        return Datagram(data, source, sender[1], ipaddress.ip_address(packed), index, scope)
    return None
