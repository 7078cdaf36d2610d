"""Packets of protocols that this machine's kernel has no sockets for, made and read by hand."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

from sekimori.testing.netlab import Host
from sekimori.testing.peers import DEADLINE

__all__ = [
    "AH",
    "ESP",
    "GRE",
    "SCTP",
    "SIX_IN_FOUR",
    "Raw",
    "Received",
    "Sctp",
    "gre",
    "pings",
    "pptp_gre",
    "sctp_chunk",
]

SIX_IN_FOUR: Final = 41
GRE: Final = 47
ESP: Final = 50
AH: Final = 51
SCTP: Final = 132

_CASTAGNOLI: Final = 0x82F63B78  # RFC 9260 §A, reflected


class Received(NamedTuple):
    """One packet: who it says it is from, and what is after its IP header."""

    source: str
    payload: bytes


class Raw:
    """Sends and receives one IP protocol's packets on a host (raw(7))."""

    def __init__(self, host: Host, address: str, protocol: int) -> None:
        self._is_four = ":" not in address
        family = socket.AF_INET if self._is_four else socket.AF_INET6
        self._sock = host.call(lambda: socket.socket(family, socket.SOCK_RAW, protocol))
        self._sock.bind((address, 0))
        self._sock.setblocking(False)

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def send(self, address: str, payload: bytes) -> None:
        """Send one packet; the kernel writes the IP header."""
        self._sock.sendto(payload, (address, 0))

    def waiting(self) -> list[Received]:
        """What has come and was not read yet."""
        found = []
        while select.select([self._sock], [], [], 0)[0]:
            data, address = self._sock.recvfrom(1 << 16)
            header = (data[0] & 0xF) * 4 if self._is_four else 0  # a raw socket of IPv6 gives none
            found.append(Received(address[0], data[header:]))
        return found

    def receive(self, wanted: Callable[[Received], bool] = lambda _: True) -> Received:
        """The first packet that is wanted; others are passed over.

        Raises:
            TimeoutError: it did not come.
        """
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            select.select([self._sock], [], [], 0.5)
            for each in self.waiting():
                if wanted(each):
                    return each
        raise TimeoutError(f"no such packet within {DEADLINE:g} s")


def pings(host: Host, source: str, address: str) -> bool:
    """Whether an address answers an echo request (RFC 792, RFC 4443 §4.1) of a host."""
    protocol, request, answer = (1, 8, 0) if ":" not in address else (58, 128, 129)
    head = struct.pack("!BBHHH", request, 0, 0, 77, 1)
    if protocol == 1:  # for ICMPv6 the kernel does this
        head = struct.pack("!BBHHH", request, 0, _internet_checksum(head), 77, 1)
    with Raw(host, source, protocol) as sock:
        sock.send(address, head)
        try:
            sock.receive(lambda it: (it.source, it.payload[0], it.payload[4:]) == (address, answer, head[4:]))
        except TimeoutError:
            return False
    return True


def _internet_checksum(data: bytes) -> int:
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def gre(payload: bytes) -> bytes:
    """A GRE packet without options (RFC 2784 §2) that carries IPv4."""
    return struct.pack("!HH", 0, 0x0800) + payload


def pptp_gre(call: int, payload: bytes) -> bytes:
    """An enhanced GRE packet of PPTP (RFC 2637 §4.1) to the end that has given a call this number."""
    return struct.pack("!HHHHL", 0x3001, 0x880B, len(payload), call, 0) + payload


class Sctp(NamedTuple):
    """The common header of SCTP (RFC 9260 §3.1), and the chunks after it."""

    source: int
    destination: int
    tag: int
    chunks: bytes

    def encode(self) -> bytes:
        """The packet, with its checksum."""
        head = struct.pack("!HHL", self.source, self.destination, self.tag)
        # The checksum's bytes stand in the order of the reflected CRC (RFC 9260 §A).
        checksum = struct.pack("<L", _crc32c(head + bytes(4) + self.chunks))
        return head + checksum + self.chunks

    @classmethod
    def decode(cls, packet: bytes) -> Sctp:
        """Read a packet; its checksum must be right."""
        source, destination, tag = struct.unpack_from("!HHL", packet)
        said = cls(source, destination, tag, packet[12:])
        assert said.encode() == packet, f"a wrong checksum: {packet.hex()}"
        return said


def sctp_chunk(kind: int, tag: int) -> bytes:
    """INIT (1) or INIT ACK (2) without parameters (RFC 9260 §3.3.2)."""
    return struct.pack("!BBHLLHHL", kind, 0, 20, tag, 1 << 16, 1, 1, 1)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
