"""PROXY protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt).

A header before the first byte (or in the first datagram) tells a target who the
client is. Version 1 is a line of text and knows TCP only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from sekimori.wire.errors import BadPacket

__all__ = ["LONGEST_V1", "SIGNATURE", "Header", "decode_untrusted", "encode", "encode_unknown"]

Endpoint = tuple[str, int]
Transport = Literal["tcp", "udp"]

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_V1: Final = 107
"""Bytes of the longest line of version 1, its CRLF included (§2.1)."""

_PREFIX: Final = struct.Struct("!12sBBH")
_ADDRESSES: Final = {4: struct.Struct("!4s4sHH"), 6: struct.Struct("!16s16sHH")}
_FAMILY: Final = {4: 0x10, 6: 0x20}
_TRANSPORT: Final[dict[Transport, int]] = {"tcp": 0x1, "udp": 0x2}
_UNIX: Final = 0x3
_UNIX_LENGTH: Final = 216


@dataclass(frozen=True, slots=True)
class Header:
    """What a PROXY header says.

    `source` and `destination` are None when it says nothing about them: version 1
    UNKNOWN, version 2 LOCAL, UNSPEC and unix sockets. `size` is the header's length.
    """

    version: Literal[1, 2]
    transport: Transport | None
    source: Endpoint | None
    destination: Endpoint | None
    size: int
    tlvs: bytes = b""


def encode(version: int, transport: Transport, source: Endpoint, destination: Endpoint) -> bytes:
    """The header for a proxied flow. Addresses of two families are both written as IPv6.

    Raises:
        ValueError: no such version, a version 1 header for UDP, or not an address.
    """
    ours, theirs = ip_address(source[0]), ip_address(destination[0])
    if ours.version != theirs.version:
        ours, theirs = _as_v6(ours), _as_v6(theirs)
    if version == 1:
        if transport != "tcp":
            raise ValueError("PROXY protocol version 1 knows TCP only")
        return f"PROXY TCP{ours.version} {ours} {theirs} {source[1]} {destination[1]}\r\n".encode("ascii")
    if version != 2:
        raise ValueError(f"no PROXY protocol version {version}")
    body = _ADDRESSES[ours.version].pack(ours.packed, theirs.packed, source[1], destination[1])
    return _PREFIX.pack(SIGNATURE, 0x21, _FAMILY[ours.version] | _TRANSPORT[transport], len(body)) + body


def encode_unknown(version: int) -> bytes:
    """The header for a flow whose ends have no addresses to tell: version 1 UNKNOWN, version 2 UNSPEC.

    Raises:
        ValueError: no such version.
    """
    if version == 1:
        return b"PROXY UNKNOWN\r\n"
    if version != 2:
        raise ValueError(f"no PROXY protocol version {version}")
    return _PREFIX.pack(SIGNATURE, 0x21, 0, 0)


def decode_untrusted(data: bytes) -> Header | None:
    """Read the header at the start of `data`; None while it is a beginning of one.

    Raises:
        BadPacket: no continuation of `data` begins with a header.
    """
    if data[:12] == SIGNATURE[: len(data)]:
        return _decode_v2(data) if len(data) >= _PREFIX.size else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _decode_v1(data)
    raise BadPacket("no PROXY header")


def _as_v6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if address.version == 6 else IPv6Address((0xFFFF << 32) | int(address))


def _decode_v1(data: bytes) -> Header | None:
    line, crlf, _rest = data[:LONGEST_V1].partition(b"\r\n")
    if not crlf:
        if len(data) >= LONGEST_V1:
            raise BadPacket("PROXY line without an end")
        if b"\n" in line:
            raise BadPacket("PROXY line ends without a carriage return")
        return None
    size = len(line) + 2
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(1, None, None, None, size)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadPacket("PROXY line is neither TCP4, TCP6 nor UNKNOWN")
    version = 4 if words[1] == b"TCP4" else 6
    source, destination = (_address(word, version) for word in words[2:4])
    return Header(1, "tcp", (source, _port(words[4])), (destination, _port(words[5])), size)


def _address(word: bytes, version: int) -> str:
    try:
        address = ip_address(word.decode("ascii"))
    except ValueError as error:
        raise BadPacket("PROXY line with an address that is none") from error
    if address.version != version or "%" in str(address):
        raise BadPacket("PROXY line with an address of the wrong family")
    return str(address)


def _port(word: bytes) -> int:
    # int() would take signs, spaces and underscores; §2.1 allows no leading zeroes.
    if not (word.isdigit() and len(word) <= 5 and (word == b"0" or word[0] != ord("0"))):
        raise BadPacket("PROXY line with a port that is none")
    port = int(word)
    if port > 65535:
        raise BadPacket("PROXY line with a port over 65535")
    return port


def _decode_v2(data: bytes) -> Header | None:
    _signature, command, family, length = _PREFIX.unpack_from(data)
    if command not in (0x20, 0x21):
        raise BadPacket("PROXY header of an unknown version or command")
    if family >> 4 > _UNIX or family & 0xF > 2:
        raise BadPacket("PROXY header of an unknown family or transport")
    least = _least_length(family)
    if command == 0x21 and length < least:
        raise BadPacket("PROXY header too short for its addresses")
    size = _PREFIX.size + length
    if len(data) < size:
        return None
    if command == 0x20 or not least or family >> 4 == _UNIX:
        return Header(2, None, None, None, size)
    version = 4 if family >> 4 == 1 else 6
    layout = _ADDRESSES[version]
    source, destination, source_port, destination_port = layout.unpack_from(data, _PREFIX.size)
    return Header(
        2,
        "tcp" if family & 0xF == 1 else "udp",
        (str(ip_address(source)), source_port),
        (str(ip_address(destination)), destination_port),
        size,
        data[_PREFIX.size + layout.size : size],
    )


def _least_length(family: int) -> int:
    """Bytes of addresses that this family byte promises; 0 for UNSPEC in either half."""
    if not family >> 4 or not family & 0xF:
        return 0
    return {1: _ADDRESSES[4].size, 2: _ADDRESSES[6].size, _UNIX: _UNIX_LENGTH}[family >> 4]
