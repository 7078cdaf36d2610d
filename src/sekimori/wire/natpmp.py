"""NAT-PMP, both sides of it (RFC 6886).

A server listens on port 5351 of its inside addresses. When its outside address changes or its mappings are
lost it sends the response to an address request, unasked, to 224.0.0.1 port 5350 (§3.2.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Final

from sekimori.model.address import IpProtocol
from sekimori.wire.errors import BadPacket

__all__ = [
    "ANNOUNCE_GROUP",
    "ANNOUNCE_PORT",
    "PORT",
    "AddressRequest",
    "AddressResponse",
    "BadRequest",
    "ErrorResponse",
    "MapRequest",
    "MapResponse",
    "Request",
    "Response",
    "Result",
    "decode_request_untrusted",
    "decode_response_untrusted",
    "encode_error",
    "encode_request",
    "encode_response",
]

PORT: Final = 5351
ANNOUNCE_PORT: Final = 5350
ANNOUNCE_GROUP: Final = "224.0.0.1"

_ADDRESS: Final = 0
_PROTOCOL: Final = {1: IpProtocol.UDP, 2: IpProtocol.TCP}
_OPCODE: Final = {protocol: opcode for opcode, protocol in _PROTOCOL.items()}
_RESPONSE: Final = 0x80
_MAP_REQUEST: Final = struct.Struct("!BBxxHHI")
_RESPONSE_HEAD: Final = struct.Struct("!BBHI")
_MAP_RESPONSE: Final = struct.Struct("!HHI")


class Result(IntEnum):
    """Result codes (§3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


class BadRequest(BadPacket):
    """A request that is not carried out.

    `result` is what `encode_error` answers it with, or None where a server says nothing: to a response,
    and to what is too short.
    """

    def __init__(self, why: str, result: Result | None) -> None:
        super().__init__(why)
        self.result = result


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """What is the outside address? (§3.2)"""


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Map an inside port of the asking host for `lifetime` seconds (§3.3).

    `outside_port` is a wish, 0 for none. With `lifetime` 0 the mapping of `inside_port` is closed and
    `outside_port` says nothing; with `inside_port` 0 as well, all of the host's in this protocol (§3.4).
    """

    protocol: IpProtocol
    inside_port: int
    outside_port: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class AddressResponse:
    """The outside address; `epoch` is in seconds since the server's mappings were last lost."""

    epoch: int
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class MapResponse:
    """What was mapped, for `lifetime` seconds. A mapping closed has `outside_port` and `lifetime` 0."""

    epoch: int
    protocol: IpProtocol
    inside_port: int
    outside_port: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A refusal.

    Attributes:
        epoch: seconds since the server's mappings were last lost.
        opcode: the request's: 0 for an address, 1 to map UDP, 2 to map TCP, or one that nobody knows.
        result: a `Result` other than SUCCESS, or a number that this program has no name for.
        inside_port: the map request's; 0 where it is not said.
    """

    epoch: int
    opcode: int
    result: int
    inside_port: int = 0


Request = AddressRequest | MapRequest
Response = AddressResponse | MapResponse | ErrorResponse


def decode_request_untrusted(data: bytes) -> Request:
    """Read a datagram that came to port 5351. Bytes after the request are passed over.

    Raises:
        BadRequest: it is none that can be carried out; its `result` says how to answer.
    """
    if len(data) < 2:
        raise BadRequest("too short for NAT-PMP", None)
    version, opcode = data[0], data[1]
    if opcode & _RESPONSE:
        raise BadRequest("a response, not a request", None)
    if version != 0:
        raise BadRequest(f"NAT-PMP has version 0, not {version}", Result.UNSUPPORTED_VERSION)
    if opcode == _ADDRESS:
        return AddressRequest()
    if opcode not in _PROTOCOL:
        raise BadRequest(f"NAT-PMP has no opcode {opcode}", Result.UNSUPPORTED_OPCODE)
    if len(data) < _MAP_REQUEST.size:
        raise BadRequest("too short for a map request", None)
    _version, _opcode, inside_port, outside_port, lifetime = _MAP_REQUEST.unpack_from(data)
    return MapRequest(_PROTOCOL[opcode], inside_port, outside_port, lifetime)


def encode_request(request: Request) -> bytes:
    """The request's bytes: 2 or 12.

    Raises:
        struct.error: a number that does not fit its field.
        ValueError: a protocol other than UDP and TCP.
    """
    match request:
        case AddressRequest():
            return bytes((0, _ADDRESS))
        case MapRequest(protocol, inside_port, outside_port, lifetime):
            return _MAP_REQUEST.pack(0, _opcode(protocol), inside_port, outside_port, lifetime)


def decode_response_untrusted(data: bytes) -> Response:
    """Read an answer from port 5351, or an announcement from port 5350. Bytes after it are passed over.

    A refusal may have its 8 first bytes only: that is how servers refuse a version or an opcode.

    Raises:
        BadPacket: it is no response of NAT-PMP.
    """
    if len(data) < _RESPONSE_HEAD.size:
        raise BadPacket("too short for a NAT-PMP response")
    version, code, result, epoch = _RESPONSE_HEAD.unpack_from(data)
    if version != 0:
        raise BadPacket(f"NAT-PMP has version 0, not {version}")
    if not code & _RESPONSE:
        raise BadPacket("a request, not a response")
    opcode, rest = code & ~_RESPONSE, data[_RESPONSE_HEAD.size :]
    if result != Result.SUCCESS:
        inside_port = int.from_bytes(rest[:2], "big") if opcode in _PROTOCOL and len(rest) >= 2 else 0
        return ErrorResponse(epoch, opcode, result, inside_port)
    if opcode == _ADDRESS and len(rest) >= 4:
        return AddressResponse(epoch, IPv4Address(rest[:4]))
    if opcode in _PROTOCOL and len(rest) >= _MAP_RESPONSE.size:
        return MapResponse(epoch, _PROTOCOL[opcode], *_MAP_RESPONSE.unpack_from(rest))
    raise BadPacket(f"a response to opcode {opcode} of {len(data)} bytes")


def encode_response(response: Response) -> bytes:
    """The response's bytes: 12 about the address and 16 about a mapping, refusals too (§3.2, §3.3); 8 where
    an opcode that nobody knows is refused. What a refusal does not say is 0.

    Raises:
        struct.error: a number that does not fit its field.
        ValueError: a protocol other than UDP and TCP, or a refusal with the result SUCCESS.
    """
    match response:
        case AddressResponse(epoch, address):
            return _head(_ADDRESS, Result.SUCCESS, epoch) + address.packed
        case MapResponse(epoch, protocol, inside_port, outside_port, lifetime):
            body = _MAP_RESPONSE.pack(inside_port, outside_port, lifetime)
            return _head(_opcode(protocol), Result.SUCCESS, epoch) + body
        case ErrorResponse(epoch, opcode, result, inside_port):
            if result == Result.SUCCESS:
                raise ValueError("SUCCESS refuses nothing")
            return _head(opcode, result, epoch) + _nothing(opcode, inside_port)


def encode_error(data: bytes, result: Result, epoch: int) -> bytes | None:
    """Refuse the request in `data`, which may be one that could not be read.

    Args:
        data: the datagram as it came.
        result: why. A request of another version is told that, whatever this says.
        epoch: seconds since the server's mappings were last lost.

    Returns:
        The response; None where a server says nothing: to a response, and to fewer than 2 bytes.

    Raises:
        ValueError: the result SUCCESS.
    """
    if result == Result.SUCCESS:
        raise ValueError("SUCCESS refuses nothing")
    if len(data) < 2 or data[1] & _RESPONSE:
        return None
    if data[0] != 0:
        # What an opcode means in that version is not known here, so there is nothing to say about it.
        return _head(data[1], Result.UNSUPPORTED_VERSION, epoch)
    inside_port = int.from_bytes(data[4:6], "big") if data[1] in _PROTOCOL and len(data) >= 6 else 0
    return encode_response(ErrorResponse(epoch, data[1], result, inside_port))


def _opcode(protocol: IpProtocol) -> int:
    if protocol not in _OPCODE:
        raise ValueError(f"NAT-PMP maps UDP and TCP, not {protocol}")
    return _OPCODE[protocol]


def _head(opcode: int, result: int, epoch: int) -> bytes:
    return _RESPONSE_HEAD.pack(0, opcode | _RESPONSE, result, epoch)


def _nothing(opcode: int, inside_port: int) -> bytes:
    if opcode == _ADDRESS:
        return bytes(4)
    return _MAP_RESPONSE.pack(inside_port, 0, 0) if opcode in _PROTOCOL else b""
