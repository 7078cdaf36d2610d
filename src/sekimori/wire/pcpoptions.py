"""Options of PCP: RFC 6887 §7.3 and §13, and PORT_SET (RFC 7753 §4).

An option is its code, a reserved byte, the length of its data, the data, and zeroes up to a multiple of 4.
Codes below 128 are mandatory: a server that cannot do what they say refuses the request.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.wire.pcpfields import BadRequest, Result, pack_address, unpack_address

__all__ = [
    "Filter",
    "Option",
    "OptionCode",
    "PortSet",
    "PreferFailure",
    "ThirdParty",
    "decode_options_untrusted",
    "encode_options",
    "filters_after",
]

_HEAD: Final = struct.Struct("!BxH")
_FILTER: Final = struct.Struct("!xBH16s")
_PORT_SET: Final = struct.Struct("!HHB")
_OPTIONAL: Final = 0x80
_PARITY: Final = 0x80
_V4_BITS: Final = 96
"""Bits before the IPv4 address in its IPv4-mapped form."""


class OptionCode(IntEnum):
    """The codes that are understood here."""

    THIRD_PARTY = 1
    PREFER_FAILURE = 2
    FILTER = 3
    PORT_SET = 130


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """The mapping is for another host than the one that asks (§13.1)."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class PreferFailure:
    """Rather no mapping than one with another outside address or port (§13.2)."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Who may come in: the peers of one prefix, from one port or, with port 0, from all (§13.3).

    `prefix_length` is as it stands in the message: 96 to 128 with an IPv4 address, whatever the address
    with 0.
    """

    address: IPAddress
    prefix_length: int
    port: int

    @classmethod
    def of(cls, network: IPNetwork, port: int = 0) -> Filter:
        """The filter that lets a prefix in.

        Raises:
            ValueError: `::/0`, whose prefix length of 0 would clear instead.
        """
        bits = network.prefixlen + (_V4_BITS if network.version == 4 else 0)
        if bits == 0:
            raise ValueError("a filter of prefix length 0 clears")
        return cls(network.network_address, bits, port)

    @property
    def clears(self) -> bool:
        """Whether it lifts all filters before it instead of being one."""
        return self.prefix_length == 0

    @property
    def network(self) -> IPNetwork:
        """The peers' prefix, in their own family; bits after it in the address say nothing.

        Raises:
            ValueError: this filter only clears.
        """
        if self.clears:
            raise ValueError("a filter of prefix length 0 names no peers")
        if isinstance(self.address, IPv4Address):
            return IPv4Network((self.address, self.prefix_length - _V4_BITS), strict=False)
        return IPv6Network((self.address, self.prefix_length), strict=False)


@dataclass(frozen=True, slots=True)
class PortSet:
    """Several ports in a row in one mapping (RFC 7753 §4.1).

    In a request `first_inside_port` is the request's inside port; in a response it is the first of those
    that were mapped. `parity` asks that even ports stay even.
    """

    size: int
    first_inside_port: int
    parity: bool


Option = ThirdParty | PreferFailure | Filter | PortSet


def decode_options_untrusted(
    data: bytes, valid: Iterable[OptionCode], *, in_response: bool = False
) -> tuple[Option, ...]:
    """Read the options of a message in their order, which is that in which a server processes them.

    Optional ones that are unknown or not `valid` are passed over, and in a response mandatory ones too: a
    client may. What breaks the structure is found before anything is said about single options (§7.3).

    Args:
        data: all that follows the opcode's own fields.
        valid: the options that the opcode may have.
        in_response: whether it is the server's message.

    Raises:
        BadRequest: MALFORMED_OPTION (lengths that run over the end or are not the option's own, values it
            cannot have, a second one where only one may be) or UNSUPP_OPTION (mandatory, and not valid).
    """
    found: list[Option] = []
    seen: set[int] = set()
    allowed = frozenset(valid)
    for code, body in tuple(_split(data)):
        if code not in allowed:
            if code & _OPTIONAL or in_response:
                continue
            raise BadRequest(f"option {code} is mandatory and not understood", Result.UNSUPP_OPTION)
        if code in seen and code != OptionCode.FILTER:
            raise _malformed(f"option {code} stands there twice")
        seen.add(code)
        found.append(_read(OptionCode(code), body))
    return tuple(found)


def encode_options(options: Iterable[Option]) -> bytes:
    """The bytes of options, each padded to a multiple of 4.

    Raises:
        struct.error: a number that does not fit its field.
    """
    return b"".join(_encode(each) for each in options)


def filters_after(before: Iterable[Filter], options: Iterable[Option]) -> tuple[Filter, ...]:
    """The filters of a mapping after a request: its own join those before, and one that clears lifts all
    that stood until then (§13.3). Without any, anyone may come in.
    """
    filters = list(before)
    for option in options:
        if isinstance(option, Filter):
            if option.clears:
                filters.clear()
            else:
                filters.append(option)
    return tuple(dict.fromkeys(filters))


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        if len(data) - place < _HEAD.size:
            raise _malformed("an option without the end of its head")
        code, length = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        place = start + length + -length % 4
        if place > len(data):
            raise _malformed(f"option {code} is longer than the message")
        yield code, data[start : start + length]


def _read(code: OptionCode, body: bytes) -> Option:
    wanted = {
        OptionCode.THIRD_PARTY: 16,
        OptionCode.PREFER_FAILURE: 0,
        OptionCode.FILTER: _FILTER.size,
        OptionCode.PORT_SET: _PORT_SET.size,
    }[code]
    if len(body) != wanted:
        raise _malformed(f"{code.name} has {len(body)} bytes, not {wanted}")
    match code:
        case OptionCode.THIRD_PARTY:
            return ThirdParty(unpack_address(body))
        case OptionCode.PREFER_FAILURE:
            return PreferFailure()
        case OptionCode.FILTER:
            return _read_filter(body)
        case OptionCode.PORT_SET:
            size, first, flags = _PORT_SET.unpack(body)
            if size == 0:
                raise _malformed("a PORT_SET of no ports")  # RFC 7753 §4.3
            return PortSet(size, first, bool(flags & _PARITY))


def _read_filter(body: bytes) -> Filter:
    prefix_length, port, packed = _FILTER.unpack(body)
    address = unpack_address(packed)
    if prefix_length > 128:
        raise _malformed(f"FILTER with a prefix of {prefix_length} bits")
    # A shorter prefix of a mapped address would hold IPv6 addresses too, which is nobody's wish.
    if isinstance(address, IPv4Address) and 0 < prefix_length < _V4_BITS:
        raise _malformed(f"FILTER with {prefix_length} bits of an IPv4-mapped address")
    return Filter(address, prefix_length, port)


def _encode(option: Option) -> bytes:
    match option:
        case ThirdParty():
            code, body = OptionCode.THIRD_PARTY, pack_address(option.address)
        case PreferFailure():
            code, body = OptionCode.PREFER_FAILURE, b""
        case Filter():
            packed = pack_address(option.address)
            code, body = OptionCode.FILTER, _FILTER.pack(option.prefix_length, option.port, packed)
        case PortSet():
            flags = _PARITY if option.parity else 0
            code, body = OptionCode.PORT_SET, _PORT_SET.pack(option.size, option.first_inside_port, flags)
    return _HEAD.pack(code, len(body)) + body + bytes(-len(body) % 4)


def _malformed(why: str) -> BadRequest:
    return BadRequest(why, Result.MALFORMED_OPTION)
