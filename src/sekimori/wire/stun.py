"""STUN messages: binding requests and their answers (RFC 8489), and what RFC 5780 adds to test NATs."""

from __future__ import annotations

import ipaddress
import struct
from binascii import crc32
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sekimori.model.behaviour import Endpoint
from sekimori.wire.errors import BadPacket

__all__ = [
    "LONGEST",
    "PORT",
    "TRANSACTION_BYTES",
    "UNKNOWN_ATTRIBUTE",
    "Answer",
    "Refusal",
    "Request",
    "decode_answer_untrusted",
    "decode_request_untrusted",
    "encode_answer",
    "encode_refusal",
    "encode_request",
]

PORT: Final = 3478
TRANSACTION_BYTES: Final = 12
LONGEST: Final = 1500
"""Bytes of the longest message that is read; a server's should stay below the path's MTU (§6.1)."""
UNKNOWN_ATTRIBUTE: Final = 420
"""The error code that says which attributes a server does not know (§14.8)."""

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_COOKIE: Final = 0x2112A442
_FINGERPRINT_XOR: Final = 0x5354554E  # "STUN" (§14.7)
_MOST_TEXT: Final = 763  # bytes of a reason phrase or of SOFTWARE (§14.8, §14.14)

_REQUEST: Final = 0x0001  # method Binding with the bits of each class (§5)
_SUCCESS: Final = 0x0101
_ERROR: Final = 0x0111

_MAPPED_ADDRESS: Final = 0x0001
_CHANGE_REQUEST: Final = 0x0003  # RFC 5780 §7.2
_SOURCE_ADDRESS: Final = 0x0004  # RFC 3489 §11.2: what RESPONSE-ORIGIN is now
_CHANGED_ADDRESS: Final = 0x0005  # RFC 3489 §11.2: what OTHER-ADDRESS is now
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_SOFTWARE: Final = 0x8022
_ALTERNATE_SERVER: Final = 0x8023
_FINGERPRINT: Final = 0x8028
_RESPONSE_ORIGIN: Final = 0x802B  # RFC 5780 §7.3
_OTHER_ADDRESS: Final = 0x802C  # RFC 5780 §7.4

_OPTIONAL: Final = 0x8000
"""Attributes from here on may be passed over by who does not know them (§14)."""
_HARMLESS: Final = frozenset(
    {
        _MAPPED_ADDRESS,
        _SOURCE_ADDRESS,
        _CHANGED_ADDRESS,
        _ERROR_CODE,
        _UNKNOWN_ATTRIBUTES,
        _XOR_MAPPED_ADDRESS,
        0x0008,  # MESSAGE-INTEGRITY and
        0x001C,  # MESSAGE-INTEGRITY-SHA256: no secret is shared, so nothing can be checked (§9)
        0x0014,  # REALM
        0x0015,  # NONCE, which come with a refusal (§9.2)
    }
)
"""Those below `_OPTIONAL` that an answer may have."""

_CHANGE_ADDRESS_BIT: Final = 0x4
_CHANGE_PORT_BIT: Final = 0x2
_FAMILIES: Final = {1: 4, 2: 16}
"""The family byte of an address to the bytes of the address (§14.1)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A binding request.

    Attributes:
        transaction: 12 bytes that nobody can guess.
        change_address: to be answered from the server's other address (RFC 5780 §7.2),
        change_port: and from its other port.
        unknown: attributes that must be understood and are not known here; the answer to these is 420.
    """

    transaction: bytes
    change_address: bool = False
    change_port: bool = False
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server saw.

    Attributes:
        mapped: where the request came from, as seen by the server.
        other: the server's other address and port, both different from those asked (RFC 5780 §7.4).
        origin: where it says to have answered from (§7.3). It is only its word.
    """

    transaction: bytes
    mapped: Endpoint
    other: Endpoint | None = None
    origin: Endpoint | None = None
    software: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer.

    Attributes:
        code: 300 to 699 (§14.8).
        unknown: with 420, the attributes that the server does not know.
        alternate: with 300, the server to ask instead (§14.15).
    """

    transaction: bytes
    code: int
    reason: str = ""
    unknown: tuple[int, ...] = ()
    alternate: Endpoint | None = None


def encode_request(request: Request, *, fingerprint: bool = False) -> bytes:
    """The bytes of a binding request. Without changes it has no attributes, which every server can read.

    Raises:
        ValueError: the transaction has not 12 bytes.
    """
    bits = request.change_address * _CHANGE_ADDRESS_BIT | request.change_port * _CHANGE_PORT_BIT
    attributes = [(_CHANGE_REQUEST, struct.pack("!I", bits))] if bits else []
    return _message(_REQUEST, request.transaction, attributes, fingerprint)


def decode_request_untrusted(data: bytes) -> Request:
    """Read a binding request.

    Raises:
        BadPacket: it is none.
    """
    kind, transaction, attributes = _parse(data)
    if kind != _REQUEST:
        raise BadPacket("not a binding request")
    bits = 0
    unknown = [kind for kind, _ in attributes if kind < _OPTIONAL and kind != _CHANGE_REQUEST]
    value = _first(attributes, _CHANGE_REQUEST)
    if value is not None:
        if len(value) != 4:
            raise BadPacket("CHANGE-REQUEST is not 4 bytes long")
        bits = int.from_bytes(value)
    change_address, change_port = bool(bits & _CHANGE_ADDRESS_BIT), bool(bits & _CHANGE_PORT_BIT)
    return Request(transaction, change_address, change_port, tuple(dict.fromkeys(unknown)))


def encode_answer(answer: Answer, *, fingerprint: bool = False) -> bytes:
    """The bytes of a success answer, with the address in both forms as servers send it (§14.1).

    Raises:
        ValueError: the transaction has not 12 bytes.
    """
    attributes = [
        (_XOR_MAPPED_ADDRESS, _pack_address(answer.mapped, answer.transaction)),
        (_MAPPED_ADDRESS, _pack_address(answer.mapped)),
    ]
    for kind, endpoint in ((_RESPONSE_ORIGIN, answer.origin), (_OTHER_ADDRESS, answer.other)):
        if endpoint is not None:
            attributes.append((kind, _pack_address(endpoint)))
    if answer.software:
        attributes.append((_SOFTWARE, answer.software.encode()[:_MOST_TEXT]))
    return _message(_SUCCESS, answer.transaction, attributes, fingerprint)


def encode_refusal(refusal: Refusal, *, fingerprint: bool = False) -> bytes:
    """The bytes of an error answer.

    Raises:
        ValueError: the transaction has not 12 bytes, or there is no such code.
    """
    if not 300 <= refusal.code < 700:
        raise ValueError(f"no error code {refusal.code}")
    code = struct.pack("!HBB", 0, *divmod(refusal.code, 100))
    attributes = [(_ERROR_CODE, code + refusal.reason.encode()[:_MOST_TEXT])]
    if refusal.unknown:
        unknown = struct.pack(f"!{len(refusal.unknown)}H", *refusal.unknown)
        attributes.append((_UNKNOWN_ATTRIBUTES, unknown))
    if refusal.alternate is not None:
        attributes.append((_ALTERNATE_SERVER, _pack_address(refusal.alternate)))
    return _message(_ERROR, refusal.transaction, attributes, fingerprint)


def decode_answer_untrusted(data: bytes, transaction: bytes) -> Answer | Refusal:
    """Read the answer to the request with this transaction.

    XOR-MAPPED-ADDRESS counts before MAPPED-ADDRESS, which some NATs rewrite on the way (§14.2).

    Raises:
        BadPacket: it is no answer to that request, or one that must be thrown away (§6.3.3, §6.3.4).
    """
    kind, found, attributes = _parse(data)
    if found != transaction:
        raise BadPacket("an answer to another request")
    if kind not in (_SUCCESS, _ERROR):
        raise BadPacket("not an answer to a binding request")
    strange = next((each for each, _ in attributes if each < _OPTIONAL and each not in _HARMLESS), None)
    if strange is not None:
        raise BadPacket(f"attribute 0x{strange:04x} must be understood and is not")
    if kind == _ERROR:
        return _refusal(found, attributes)
    mapped = _address(attributes, _XOR_MAPPED_ADDRESS, found) or _address(attributes, _MAPPED_ADDRESS)
    if mapped is None:
        raise BadPacket("an answer without an address")
    return Answer(
        found,
        mapped,
        other=_told(attributes, _OTHER_ADDRESS, _CHANGED_ADDRESS),
        origin=_told(attributes, _RESPONSE_ORIGIN, _SOURCE_ADDRESS),
        software=_text(_first(attributes, _SOFTWARE) or b""),
    )


_Attributes = list[tuple[int, bytes]]


def _refusal(transaction: bytes, attributes: _Attributes) -> Refusal:
    value = _first(attributes, _ERROR_CODE)
    if value is None or len(value) < 4:
        raise BadPacket("an error answer without a code")
    hundreds, rest = value[2] & 0x7, value[3]
    if not 3 <= hundreds <= 6 or rest > 99:
        raise BadPacket("an error answer with a code that is none")
    unknown = _first(attributes, _UNKNOWN_ATTRIBUTES) or b""
    if len(unknown) % 2:
        raise BadPacket("half an unknown attribute")
    return Refusal(
        transaction,
        hundreds * 100 + rest,
        _text(value[4:]),
        struct.unpack(f"!{len(unknown) // 2}H", unknown),
        _told(attributes, _ALTERNATE_SERVER),
    )


def _message(
    kind: int, transaction: bytes, attributes: Iterable[tuple[int, bytes]], fingerprint: bool
) -> bytes:
    if len(transaction) != TRANSACTION_BYTES:
        raise ValueError(f"a transaction has {TRANSACTION_BYTES} bytes")
    body = b"".join(
        _ATTRIBUTE.pack(each, len(value)) + value + bytes(-len(value) % 4) for each, value in attributes
    )
    if not fingerprint:
        return _HEADER.pack(kind, len(body), _COOKIE, transaction) + body
    message = _HEADER.pack(kind, len(body) + 8, _COOKIE, transaction) + body
    return message + _ATTRIBUTE.pack(_FINGERPRINT, 4) + _fingerprint(message)


def _fingerprint(before: bytes) -> bytes:
    return (crc32(before) ^ _FINGERPRINT_XOR).to_bytes(4)


def _parse(data: bytes) -> tuple[int, bytes, _Attributes]:
    """Type, transaction and attributes of a message, the padding taken away (§5, §14)."""
    if not _HEADER.size <= len(data) <= LONGEST:
        raise BadPacket("too short or too long for STUN")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != _COOKIE:
        raise BadPacket("not STUN")
    if length % 4 or length != len(data) - _HEADER.size:
        raise BadPacket("the length does not fit")
    attributes: _Attributes = []
    at = _HEADER.size
    while at < len(data):
        each, size = _ATTRIBUTE.unpack_from(data, at)  # what is left is a multiple of 4
        begin = at + _ATTRIBUTE.size
        if begin + size > len(data):
            raise BadPacket("an attribute runs over the end")
        value = data[begin : begin + size]
        if each == _FINGERPRINT and (begin + size != len(data) or value != _fingerprint(data[:at])):
            raise BadPacket("the fingerprint does not fit, or is not the last attribute")
        attributes.append((each, value))
        at = begin + size + -size % 4
    return kind, transaction, attributes


def _first(attributes: _Attributes, kind: int) -> bytes | None:
    """Only the first of several counts (§14)."""
    return next((value for each, value in attributes if each == kind), None)


def _address(attributes: _Attributes, kind: int, transaction: bytes | None = None) -> Endpoint | None:
    """An address; one that is XORed where `transaction` is given (§14.2)."""
    value = _first(attributes, kind)
    if value is None:
        return None
    if len(value) < 4 or _FAMILIES.get(value[1]) != len(value) - 4:
        raise BadPacket("an address of an unknown family or a wrong length")
    port, packed = int.from_bytes(value[2:4]), value[4:]
    if transaction is not None:
        port, packed = port ^ _COOKIE >> 16, _xor(packed, transaction)
    if not port:
        raise BadPacket("an address with port 0")
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return Endpoint(mapped or address, port)


def _told(attributes: _Attributes, *kinds: int) -> Endpoint | None:
    """The first address of these kinds that is one: servers that have none to tell send zeroes."""
    for kind in kinds:
        try:
            found = _address(attributes, kind)
        except BadPacket:
            continue
        if found is not None:
            return found
    return None


def _pack_address(endpoint: Endpoint, transaction: bytes | None = None) -> bytes:
    port, packed = endpoint.port, endpoint.address.packed
    if transaction is not None:
        port, packed = port ^ _COOKIE >> 16, _xor(packed, transaction)
    return struct.pack("!BBH", 0, 1 if endpoint.address.version == 4 else 2, port) + packed


def _xor(packed: bytes, transaction: bytes) -> bytes:
    key = _COOKIE.to_bytes(4) + transaction
    return bytes(one ^ other for one, other in zip(packed, key, strict=False))


def _text(value: bytes) -> str:
    """What a stranger wrote, fit for a log: no control characters."""
    text = value[:_MOST_TEXT].decode(errors="replace")
    return "".join(each for each in text if each.isprintable())
