"""What all PCP messages are made of: result codes, addresses, and the error that says how to answer."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket

__all__ = ["BadRequest", "Result", "pack_address", "unpack_address"]

_MAPPED: Final = 0xFFFF << 32
_LONG: Final = 1800
_SHORT: Final = 30


class Result(IntEnum):
    """Result codes, RFC 6887 §7.4, with the names of its registry."""

    retry_after: int
    """Seconds for which an error stands: the lifetime that its response carries (§7.4)."""

    def __new__(cls, number: int, retry_after: int) -> Result:
        """A member with its lifetime at hand."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.retry_after = retry_after
        return member

    SUCCESS = 0, 0
    UNSUPP_VERSION = 1, _LONG
    NOT_AUTHORIZED = 2, _LONG
    MALFORMED_REQUEST = 3, _LONG
    UNSUPP_OPCODE = 4, _LONG
    UNSUPP_OPTION = 5, _LONG
    MALFORMED_OPTION = 6, _LONG
    NETWORK_FAILURE = 7, _SHORT
    NO_RESOURCES = 8, _SHORT
    UNSUPP_PROTOCOL = 9, _LONG
    USER_EX_QUOTA = 10, _SHORT
    CANNOT_PROVIDE_EXTERNAL = 11, _SHORT
    ADDRESS_MISMATCH = 12, _LONG
    EXCESSIVE_REMOTE_PEERS = 13, _SHORT


class BadRequest(BadPacket):
    """A request that is not carried out.

    `result` is what `encode_error` answers it with, or None where a server says nothing (RFC 6887 §8.2):
    to a response, to fewer than 2 bytes, and to fewer than 24 of a version that it speaks.
    """

    def __init__(self, why: str, result: Result | None) -> None:
        super().__init__(why)
        self.result = result


def pack_address(address: IPAddress) -> bytes:
    """16 bytes; an IPv4 address in its IPv4-mapped form (RFC 6887 §5)."""
    if isinstance(address, IPv4Address):
        return (_MAPPED | int(address)).to_bytes(16, "big")
    return address.packed


def unpack_address(data: bytes) -> IPAddress:
    """The address in 16 bytes. `::` is any of IPv6; `::ffff:0:0`, so `0.0.0.0`, is any of IPv4."""
    address = IPv6Address(data)
    return address.ipv4_mapped or address
