"""From which MAC address a datagram really came: the frames of an interface, seen beside its UDP socket.

A UDP socket tells the source address that the packet claims. Anyone on the link can claim any address of
it, but who sends from another's MAC address as well must take it over from a switch that looks on.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

import structlog

from sekimori.host.bpf import Instruction, attach, drop_from
from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket

__all__ = ["FrameSources", "read_frame_untrusted", "watch_frames"]

_ETH_P_ALL: Final = 0x0003
_ETH_P_IP: Final = 0x0800
_ETH_P_IPV6: Final = 0x86DD
_ARPHRD_ETHER: Final = 1  # linux/if_arp.h; Wi-Fi in managed mode shows as the same
_SIOCGIFHWADDR: Final = 0x8927
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23  # Linux 4.20
_SNAP: Final = 2048
_BUFFER: Final = 1 << 20
"""Bytes: more than the UDP socket beside it holds, so that it is not this one that loses first."""
_MOST: Final = 2048
"""Datagrams whose frames are remembered."""
_KEPT: Final = 2.0
"""Seconds that a frame waits for its datagram, which is in the socket beside it already, or was lost."""
_SAME: Final = 8
"""Frames that are remembered of datagrams which are alike in sender and bytes."""
_AT_ONCE: Final = 4096
"""Frames that are read for one datagram; the socket holds no more of the smallest."""
_IP4_HEAD: Final = 20
_IP6_HEAD: Final = 40
_UDP_HEAD: Final = 8

_Key = tuple[IPAddress, int, bytes]
_log = structlog.get_logger("framesource")


class FrameSources:
    """The MAC addresses of the datagrams that just came in by an interface to a UDP port.

    The socket is of the packet family (packet(7)), which needs CAP_NET_RAW, and sees every frame of the
    interface; a filter in the kernel leaves those to the port. Its tap gets a frame before IP does, so what
    can be read from a UDP socket has been seen here. Fragments and packets with extension headers are not
    seen: their datagrams have no MAC address.
    """

    def __init__(
        self, sock: socket.socket, port: int, heard: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._sock = sock
        self._port = port
        self._heard = heard
        self._clock = clock
        self._seen: OrderedDict[_Key, deque[tuple[float, str]]] = OrderedDict()

    @classmethod
    def open(
        cls,
        interface: str,
        port: int,
        heard: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> FrameSources:
        """Watch the datagrams to a port, in the network of this thread.

        Args:
            interface: its name.
            port: the UDP port.
            heard: is called with the MAC address of every frame that is read, also of those whose datagrams
                are lost: this is where a flood shows.
            clock: seconds of a clock that only goes on.

        Raises:
            OSError: there is no such interface, or this process may not.
        """
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        # Protocol 0 at first: nothing is to come before the filter is there.
        sock = socket.socket(socket.AF_PACKET, kind, 0)
        try:
            attach(sock, _for_port(port))
            # What this machine sends is copied for every tap, and nothing of it is wanted.
            sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            # All protocols, not IP alone: taps of one protocol get a frame after that protocol itself.
            sock.bind((interface, _ETH_P_ALL))
        except BaseException:
            sock.close()
            raise
        return cls(sock, port, heard, clock)

    def mac_of(self, source: IPAddress, port: int, data: bytes) -> str | None:
        """The MAC address (lower case, colons) from which a datagram came, once: the next one with the same
        source and bytes has a frame of its own.

        Returns:
            None where no frame was seen with it.
        """
        now = self._clock()
        key = (source, port, _digest(data))
        # Frames come in the order of their datagrams: nothing is read beyond the one that is looked for.
        for _ in range(_AT_ONCE):
            if key in self._seen or not self._read_one(now):
                break
        self._forget(now)
        waiting = self._seen.get(key)
        if waiting is None:
            return None
        _, mac = waiting.popleft()
        if not waiting:
            del self._seen[key]
        return mac

    def shun(self, macs: Iterable[str]) -> None:
        """See nothing from these MAC addresses, and from no others than these, from now on."""
        attach(self._sock, [*drop_from(macs), *_for_port(self._port)])

    def close(self) -> None:
        """Watch no longer."""
        self._sock.close()

    def _read_one(self, now: float) -> bool:
        """Read the next frame; False when there is none now."""
        try:
            packet, (_name, _protocol, _kind, _link, address) = self._sock.recvfrom(_SNAP)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # the interface was switched off or is gone: so is its UDP socket
            _log.debug("no_frames", why=str(error))
            return False
        mac = address.hex(":")
        self._heard(mac)
        try:
            source, port, data = read_frame_untrusted(packet)
        except BadPacket as error:
            _log.debug("bad_frame", why=str(error))
            return True
        key = (source, port, _digest(data))
        self._seen.setdefault(key, deque(maxlen=_SAME)).append((now, mac))
        return True

    def _forget(self, now: float) -> None:
        """Let go of what is too old, and of the oldest where there is too much."""
        while self._seen:
            key, waiting = next(iter(self._seen.items()))
            while waiting and waiting[0][0] < now - _KEPT:
                waiting.popleft()
            if waiting and len(self._seen) <= _MOST:
                break
            del self._seen[key]


def watch_frames(interface: str, port: int, heard: Callable[[str], None]) -> FrameSources | None:
    """`FrameSources.open`, where it is of use and allowed; why not is said in the log.

    Returns:
        None where links have no MAC addresses (PPP, tunnels), and without CAP_NET_RAW.
    """
    try:
        if not _has_macs(interface):
            _log.info("no_mac_addresses", interface=interface, means="senders are known by IP address only")
            return None
        return FrameSources.open(interface, port, heard)
    except OSError as error:
        _log.warning("frames_not_watched", interface=interface, why=str(error), needs="CAP_NET_RAW")
        return None


def read_frame_untrusted(packet: bytes) -> tuple[IPAddress, int, bytes]:
    """Source address, source port and data of a UDP datagram that is one IP packet; the packet is as long as
    it says, or has bytes after it (Ethernet's padding).

    Raises:
        BadPacket: it is none: cut off, a fragment, or with headers between.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        source, start, end = _read_head4(packet)
    elif version == 6:
        source, start, end = _read_head6(packet)
    else:
        raise BadPacket("no IP packet")
    if end - start < _UDP_HEAD or end > len(packet):
        raise BadPacket("a UDP datagram that is cut off")
    port, _to, length, _sum = struct.unpack_from("!HHHH", packet, start)
    if not _UDP_HEAD <= length <= end - start:
        raise BadPacket("a UDP datagram with another length than its packet")
    return source, port, packet[start + _UDP_HEAD : start + length]


def _read_head4(packet: bytes) -> tuple[IPAddress, int, int]:
    if len(packet) < _IP4_HEAD:
        raise BadPacket("an IPv4 header that is cut off")
    start = (packet[0] & 0x0F) * 4
    total, _id, fragment = struct.unpack_from("!HHH", packet, 2)
    if start < _IP4_HEAD or packet[9] != socket.IPPROTO_UDP or fragment & 0x3FFF:
        raise BadPacket("not a whole UDP datagram")
    return ipaddress.IPv4Address(packet[12:16]), start, total


def _read_head6(packet: bytes) -> tuple[IPAddress, int, int]:
    if len(packet) < _IP6_HEAD:
        raise BadPacket("an IPv6 header that is cut off")
    if packet[6] != socket.IPPROTO_UDP:
        raise BadPacket("not UDP, or not at once")
    (length,) = struct.unpack_from("!H", packet, 4)
    return ipaddress.IPv6Address(packet[8:24]), _IP6_HEAD, _IP6_HEAD + length


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _has_macs(interface: str) -> bool:
    """Whether the links of an interface have Ethernet's addresses (netdevice(7), SIOCGIFHWADDR)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    (family,) = struct.unpack_from("=H", answer, 16)
    return bool(family == _ARPHRD_ETHER)


def _for_port(port: int) -> list[Instruction]:
    """Takes whole UDP datagrams to a port and nothing else. Packet offsets are from the IP header on, because
    the socket leaves the link's away.
    """
    protocol = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL
    return [
        (0x28, 0, 0, protocol),  # 0: ldh the Ethernet protocol
        (0x15, 0, 7, _ETH_P_IP),  # 1: jeq IPv4, else 9
        (0x30, 0, 0, 9),  # 2: ldb protocol
        (0x15, 0, 11, socket.IPPROTO_UDP),  # 3: jeq UDP, else drop (15)
        (0x28, 0, 0, 6),  # 4: ldh flags and fragment offset
        (0x45, 9, 0, 0x3FFF),  # 5: jset: a fragment, drop (15)
        (0xB1, 0, 0, 0),  # 6: ldxb 4 * ([0] & 0xf): the header's length
        (0x48, 0, 0, 2),  # 7: ldh [x + 2]: destination port
        (0x15, 5, 6, port),  # 8: jeq port: take (14), else drop (15)
        (0x15, 0, 5, _ETH_P_IPV6),  # 9: jeq IPv6, else drop (15)
        (0x30, 0, 0, 6),  # 10: ldb next header
        (0x15, 0, 3, socket.IPPROTO_UDP),  # 11: jeq UDP, else drop (15)
        (0x28, 0, 0, _IP6_HEAD + 2),  # 12: ldh destination port
        (0x15, 0, 1, port),  # 13: jeq port: take (14), else drop (15)
        (0x06, 0, 0, _SNAP),  # 14: take
        (0x06, 0, 0, 0),  # 15: drop
    ]
