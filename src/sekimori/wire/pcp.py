"""PCP version 2, both sides of it (RFC 6887), and which protocol a datagram of its port speaks.

PCP and NAT-PMP share port 5351; the first byte tells them apart (RFC 6887 Appendix A). A server that has
lost its mappings sends the response to an ANNOUNCE, unasked, to port 5350 of 224.0.0.1 and ff02::1 (§14.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket
from sekimori.wire.pcpfields import BadRequest, Result, pack_address, unpack_address
from sekimori.wire.pcpoptions import (
    Option,
    OptionCode,
    ThirdParty,
    decode_options_untrusted,
    encode_options,
)

__all__ = [
    "ANNOUNCE_GROUP4",
    "ANNOUNCE_GROUP6",
    "ANNOUNCE_PORT",
    "LONGEST",
    "PORT",
    "VERSION",
    "Announce",
    "BadRequest",
    "Body",
    "Dialect",
    "ErrorResponse",
    "Map",
    "Opcode",
    "OtherVersion",
    "Peer",
    "Request",
    "Response",
    "Result",
    "decode_request_untrusted",
    "decode_response_untrusted",
    "dialect_untrusted",
    "encode_error",
    "encode_request",
    "encode_response",
]

PORT: Final = 5351
ANNOUNCE_PORT: Final = 5350
ANNOUNCE_GROUP4: Final = "224.0.0.1"
ANNOUNCE_GROUP6: Final = "ff02::1"
VERSION: Final = 2
LONGEST: Final = 1100
"""Bytes of the longest message (§7)."""

_RESPONSE: Final = 0x80
_NONCE: Final = 12
_HEAD: Final = 24
_REQUEST: Final = struct.Struct("!BBxxI16s")
_RESPONSE_HEAD: Final = struct.Struct("!BBxBII12x")
_MAP: Final = struct.Struct("!12sB3xHH16s")
_PEER: Final = struct.Struct("!Hxx16s")
_NATPMP_HEAD: Final = 8


class Dialect(StrEnum):
    """The protocols of port 5351."""

    NATPMP = "nat-pmp"
    PCP = "pcp"


class Opcode(IntEnum):
    """What a request asks for (§19.3)."""

    ANNOUNCE = 0
    MAP = 1
    PEER = 2


@dataclass(frozen=True, slots=True)
class Announce:
    """Is the server there, and has it kept its state? (§14.1)"""


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping for whoever may come in (§11.1).

    The outside is what is wished in a request (port 0: any; `::` or `0.0.0.0`: any of that family) and what
    was assigned in a response. Protocol 0 is all protocols; `inside_port` 0 is all ports.
    """

    nonce: bytes
    protocol: int
    inside_port: int
    outside_port: int
    outside_address: IPAddress


@dataclass(frozen=True, slots=True)
class Peer:
    """A mapping, new or there by itself, towards one peer (§12.1); its fields as those of `Map`."""

    nonce: bytes
    protocol: int
    inside_port: int
    outside_port: int
    outside_address: IPAddress
    peer_port: int
    peer_address: IPAddress


Body = Announce | Map | Peer


@dataclass(frozen=True, slots=True)
class Request:
    """A request, valid as far as its bytes tell.

    Attributes:
        lifetime: seconds that are wished; 0 closes.
        client: the address that the client believes it asks from. If the datagram came from another one,
            there is a NAT between, and the answer is ADDRESS_MISMATCH (§8.2).
        body: what is asked.
        options: in the order in which they are to be processed.
    """

    lifetime: int
    client: IPAddress
    body: Body
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """A request was carried out.

    Attributes:
        lifetime: seconds granted; 0 after closing.
        epoch: seconds since the server's state was last lost.
        body: the request's, with the outside that was assigned.
        options: those that were processed.
    """

    lifetime: int
    epoch: int
    body: Body
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A request was refused.

    Attributes:
        opcode: the request's number.
        result: a `Result` other than SUCCESS, or a number that this program has no name for.
        lifetime: seconds for which the same request would be refused again.
        epoch: seconds since the server's state was last lost.
        body: the request's, to know it by; None where the server sent no whole one back.
    """

    opcode: int
    result: int
    lifetime: int
    epoch: int
    body: Body | None


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """The server does not speak version 2, and says which is nearest (§9). Version 0 is NAT-PMP."""

    version: int


_OPTIONS: Final[dict[Opcode, frozenset[OptionCode]]] = {
    Opcode.ANNOUNCE: frozenset(),
    Opcode.MAP: frozenset(OptionCode),
    Opcode.PEER: frozenset({OptionCode.THIRD_PARTY}),
}
_SIZES: Final = {Opcode.ANNOUNCE: 0, Opcode.MAP: _MAP.size, Opcode.PEER: _MAP.size + _PEER.size}
_OPCODES: Final[dict[type[Body], Opcode]] = {
    Announce: Opcode.ANNOUNCE,
    Map: Opcode.MAP,
    Peer: Opcode.PEER,
}


def dialect_untrusted(data: bytes) -> Dialect:
    """Which protocol's decoder a datagram of port 5351 or 5350 is for, request or response.

    Versions that nobody speaks are PCP's: it answers them with the one that it does.

    Raises:
        BadPacket: too short for either.
    """
    if len(data) < 2:
        raise BadPacket("too short for NAT-PMP and PCP")
    return Dialect.NATPMP if data[0] == 0 else Dialect.PCP


def decode_request_untrusted(data: bytes) -> Request:
    """Read a datagram that came to port 5351, by the steps of §8.2 that need its bytes only.

    Raises:
        BadRequest: it is none that can be carried out; its `result` says how to answer.
    """
    opcode = _opcode_of_request(data)
    _version, _code, lifetime, client_packed = _REQUEST.unpack_from(data)
    client = unpack_address(client_packed)
    end = _HEAD + _SIZES[opcode]
    if len(data) < end:
        raise BadRequest(f"too short for {opcode.name}", Result.MALFORMED_REQUEST)
    body = _read_body(opcode, data[_HEAD:end])
    if isinstance(body, Map | Peer) and body.protocol == 0 and body.inside_port != 0:
        raise BadRequest("a port of all protocols", Result.MALFORMED_REQUEST)  # §11.1
    options = decode_options_untrusted(data[end:], _OPTIONS[opcode])
    if ThirdParty(client) in options:  # §13.1
        raise BadRequest("THIRD_PARTY names the client itself", Result.MALFORMED_REQUEST)
    return Request(lifetime, client, body, options)


def encode_request(request: Request) -> bytes:
    """The request's bytes.

    Raises:
        struct.error: a number that does not fit its field.
        ValueError: a nonce that is not 12 bytes, or more options than a message holds.
    """
    head = _REQUEST.pack(
        VERSION, _OPCODES[type(request.body)], request.lifetime, pack_address(request.client)
    )
    return _whole(head, request.body, request.options)


def decode_response_untrusted(data: bytes) -> Response | ErrorResponse | OtherVersion:
    """Read an answer from port 5351, or an announcement from port 5350 (§8.3).

    A server of NAT-PMP only answers a PCP request in version 0, result 1: that is `OtherVersion(0)`.

    Raises:
        BadPacket: it is no response of PCP.
    """
    if len(data) >= _NATPMP_HEAD and data[0] != VERSION and data[1] & _RESPONSE:
        # NAT-PMP's result is in the bytes 2 and 3, PCP's in byte 3 after a reserved one.
        result = data[3] if data[0] else int.from_bytes(data[2:4], "big")
        if result == Result.UNSUPP_VERSION:
            return OtherVersion(data[0])
        raise BadPacket(f"a response of version {data[0]}")
    if not _HEAD <= len(data) <= LONGEST or len(data) % 4:
        raise BadPacket(f"a PCP response of {len(data)} bytes")
    version, code, result, lifetime, epoch = _RESPONSE_HEAD.unpack_from(data)
    if version != VERSION or not code & _RESPONSE:
        raise BadPacket("not a PCP response")
    number = code & ~_RESPONSE
    opcode = Opcode(number) if number in _SIZES else None
    end = _HEAD + _SIZES[opcode] if opcode is not None else len(data)
    body = _read_body(opcode, data[_HEAD:end]) if opcode is not None and len(data) >= end else None
    if result != Result.SUCCESS:
        return ErrorResponse(number, result, lifetime, epoch, body)
    if opcode is None or body is None:
        raise BadPacket(f"a response to opcode {number} of {len(data)} bytes")
    return Response(lifetime, epoch, body, _options_of_response(opcode, data[end:]))


def encode_response(response: Response) -> bytes:
    """The bytes of a success. Refusals are made of their request: see `encode_error`.

    Raises:
        struct.error: a number that does not fit its field.
        ValueError: a nonce that is not 12 bytes, or more options than a message holds.
    """
    code = _OPCODES[type(response.body)] | _RESPONSE
    head = _RESPONSE_HEAD.pack(VERSION, code, Result.SUCCESS, response.lifetime, response.epoch)
    return _whole(head, response.body, response.options)


def encode_error(data: bytes, result: Result, lifetime: int, epoch: int) -> bytes | None:
    """Refuse the request in `data`, which may be one that could not be read: its own bytes come back, so
    that the client knows it again, with a response's head (§8.2).

    Args:
        data: the datagram as it came, of any version.
        result: why.
        lifetime: seconds for which it stands; `result.retry_after` where nothing better is known.
        epoch: seconds since the server's state was last lost.

    Returns:
        The response, in version 2 whatever was asked; None where a server says nothing: to a response, to
        fewer than 2 bytes, and to fewer than 24 of version 2.

    Raises:
        ValueError: the result SUCCESS.
    """
    if result == Result.SUCCESS:
        raise ValueError("SUCCESS refuses nothing")
    if _is_passed_over(data):
        return None
    head = _RESPONSE_HEAD.pack(VERSION, data[1] | _RESPONSE, result, lifetime, epoch)
    rest = data[_HEAD:LONGEST]
    return head + rest + bytes(-len(rest) % 4)


def _is_passed_over(data: bytes) -> bool:
    return len(data) < 2 or bool(data[1] & _RESPONSE) or (data[0] == VERSION and len(data) < _HEAD)


def _opcode_of_request(data: bytes) -> Opcode:
    if _is_passed_over(data):
        raise BadRequest("a response, or too short for a request", None)
    if data[0] != VERSION:
        raise BadRequest(f"PCP has version {VERSION} here, not {data[0]}", Result.UNSUPP_VERSION)
    if len(data) > LONGEST or len(data) % 4:
        raise BadRequest(f"a request of {len(data)} bytes", Result.MALFORMED_REQUEST)
    if data[1] not in _SIZES:
        raise BadRequest(f"no opcode {data[1]} here", Result.UNSUPP_OPCODE)
    return Opcode(data[1])


def _read_body(opcode: Opcode, data: bytes) -> Body:
    """`data` is as long as `_SIZES` says."""
    if opcode is Opcode.ANNOUNCE:
        return Announce()
    nonce, protocol, inside_port, outside_port, packed = _MAP.unpack_from(data)
    outside = unpack_address(packed)
    if opcode is Opcode.MAP:
        return Map(nonce, protocol, inside_port, outside_port, outside)
    peer_port, packed = _PEER.unpack_from(data, _MAP.size)
    return Peer(nonce, protocol, inside_port, outside_port, outside, peer_port, unpack_address(packed))


def _options_of_response(opcode: Opcode, data: bytes) -> tuple[Option, ...]:
    try:
        return decode_options_untrusted(data, _OPTIONS[opcode], in_response=True)
    except BadRequest as error:  # nobody is to be answered
        raise BadPacket(str(error)) from None


def _whole(head: bytes, body: Body, options: tuple[Option, ...]) -> bytes:
    data = head + _encode_body(body) + encode_options(options)
    if len(data) > LONGEST:
        raise ValueError(f"a PCP message of {len(data)} bytes; it holds {LONGEST}")
    return data


def _encode_body(body: Body) -> bytes:
    if isinstance(body, Announce):
        return b""
    if len(body.nonce) != _NONCE:
        raise ValueError(f"a nonce of {len(body.nonce)} bytes; it has {_NONCE}")
    outside = pack_address(body.outside_address)
    fixed = _MAP.pack(body.nonce, body.protocol, body.inside_port, body.outside_port, outside)
    return (
        fixed
        if isinstance(body, Map)
        else fixed + _PEER.pack(body.peer_port, pack_address(body.peer_address))
    )
