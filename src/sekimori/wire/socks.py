"""SOCKS 4, 4a and 5 from the server's side (RFC 1928, RFC 1929; SOCKS4.protocol, SOCKS4A.protocol).

Bytes in, what is asked and bytes out; no sockets. `wire.negotiation` tells the protocols apart.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sekimori.wire.asked import UNSAID, Asked, Command, Failure, LogIn, Refused, Wants, packed_v4
from sekimori.wire.asked import read_host_untrusted as _host
from sekimori.wire.errors import BadPacket

__all__ = ["UDP_OVERHEAD", "Socks4", "Socks5", "decode_datagram_untrusted", "encode_datagram"]

UDP_OVERHEAD: Final = 4 + 255 + 2 + 1
"""Most bytes that a datagram's header takes."""

_LONGEST: Final = 255
_NO_METHOD: Final = 0xFF
_METHOD_NONE: Final = 0
_METHOD_PASSWORD: Final = 2

_COMMANDS: Final[dict[int, Command]] = {1: "connect", 2: "bind", 3: "udp"}
_NO_SUCH_COMMAND: Final = 7
_NO_SUCH_ADDRESS: Final = 8
_REPLIES: Final[dict[Failure, int]] = {
    "refused": 5,
    "timed_out": 6,  # "TTL expired": the nearest that there is to say
    "unreachable": 4,
    "prohibited": 2,
    "unsupported": _NO_SUCH_COMMAND,
}
"""RFC 1928 §6. What is not in it is a general failure."""

_GRANTED_4: Final = 90
_FAILED_4: Final = 91


class Socks4:
    """Versions 4 and 4a. It knows no passwords: where they are asked for, it is refused."""

    def __init__(self, must_log_in: bool) -> None:
        self.out = bytearray()
        self._must_log_in = must_log_in

    def read_untrusted(self, data: bytearray) -> Asked | None:
        """Read the one request that there is.

        Raises:
            BadPacket: it is none.
        """
        if len(data) < 9:
            return None
        command, port, address = _COMMANDS.get(data[1]), int.from_bytes(data[2:4]), bytes(data[4:8])
        end = _string_end(data, 8)
        named = address[:3] == bytes(3) and address[3] != 0  # 4a: an address that cannot be one
        host, last = str(IPv4Address(address)), end
        if named and end is not None:
            last = _string_end(data, end + 1)
            if last is not None:
                host = _host(bytes(data[end + 1 : last]))
        if last is None:
            return None
        del data[: last + 1]
        if command not in ("connect", "bind"):
            return self._refuse("SOCKS 4 knows CONNECT and BIND only")
        if self._must_log_in:
            return self._refuse("SOCKS 4 has no passwords")
        if not port and command == "connect":
            raise BadPacket("a destination without a port")
        return Wants(command, host, port)

    def logged_in(self, ok: bool) -> None:
        """Never asked for: there is no login."""
        raise AssertionError("SOCKS 4 has no login")

    def succeeded(self, host: str, port: int) -> None:
        """Answer that the destination is reached."""
        self._answer(_GRANTED_4, host, port)

    def failed(self, cause: Failure) -> None:
        """Answer that it is not; version 4 has one word for every cause."""
        self._answer(_FAILED_4, *UNSAID)

    def _refuse(self, why: str) -> Refused:
        self._answer(_FAILED_4, *UNSAID)
        return Refused(why)

    def _answer(self, code: int, host: str, port: int) -> None:
        self.out += struct.pack("!BBH4s", 0, code, port, packed_v4(host))


class Socks5:
    """Version 5: methods, perhaps a password, and a request."""

    def __init__(self, must_log_in: bool) -> None:
        self.out = bytearray()
        self._must_log_in = must_log_in
        self._read = self._methods

    def read_untrusted(self, data: bytearray) -> Asked | None:
        """Read on from where it stands.

        Raises:
            BadPacket: it is no SOCKS 5.
        """
        before = None
        asked = None
        while asked is None and before != (len(data), self._read):
            before = len(data), self._read
            asked = self._read(data)
        return asked

    def logged_in(self, ok: bool) -> None:
        """Answer how the login ended (RFC 1929 §2); when it failed, hang up."""
        self.out += bytes((1, 0 if ok else 1))

    def succeeded(self, host: str, port: int) -> None:
        """Answer that the destination is reached."""
        self._answer(0, host, port)

    def failed(self, cause: Failure) -> None:
        """Answer why the destination is not reached."""
        self._answer(_REPLIES.get(cause, 1), *UNSAID)

    def _methods(self, data: bytearray) -> Asked | None:
        if len(data) < 2 or len(data) < 2 + data[1]:
            return None
        offered = bytes(data[2 : 2 + data[1]])
        del data[: 2 + len(offered)]
        if _METHOD_NONE in offered and not self._must_log_in:
            self.out += bytes((5, _METHOD_NONE))
            self._read = self._request
        elif _METHOD_PASSWORD in offered:  # a client that insists on a login has it, whether asked or not
            self.out += bytes((5, _METHOD_PASSWORD))
            self._read = self._password
        else:
            self.out += bytes((5, _NO_METHOD))
            return Refused("none of the methods offered is one that serves here")
        return None

    def _password(self, data: bytearray) -> Asked | None:
        if data and data[0] != 1:
            raise BadPacket("a login of an unknown version")
        if len(data) < 2 or len(data) < 3 + data[1]:
            return None
        name_end = 2 + data[1]
        end = name_end + 1 + data[name_end]
        if len(data) < end:
            return None
        name, password = bytes(data[2:name_end]), bytes(data[name_end + 1 : end])
        del data[:end]
        self._read = self._request
        return LogIn(name.decode(errors="replace"), password)

    def _request(self, data: bytearray) -> Asked | None:
        if data and data[0] != 5:
            raise BadPacket("a request of another version")
        if len(data) < 5:
            return None
        if data[3] not in (1, 3, 4):
            self._answer(_NO_SUCH_ADDRESS, *UNSAID)
            return Refused("an address of an unknown kind")
        end = _address_end(data, 3)
        if len(data) < end:
            return None
        host, port = _address(data, 3, end)
        command = _COMMANDS.get(data[1])
        del data[:end]
        if command is None:
            self._answer(_NO_SUCH_COMMAND, *UNSAID)
            return Refused("a command that there is not")
        if not port and command == "connect":
            raise BadPacket("a destination without a port")
        return Wants(command, host, port)

    def _answer(self, code: int, host: str, port: int) -> None:
        self.out += bytes((5, code, 0)) + _packed(host, port)


def encode_datagram(host: str, port: int) -> bytes:
    """The header before a datagram to a client (RFC 1928 §7). `host` is a numeric address or a name."""
    return bytes(3) + _packed(host, port)


def decode_datagram_untrusted(data: bytes | memoryview) -> tuple[str, int, int]:
    """Read the header of a client's datagram.

    Returns:
        Host, port, and where the payload begins.

    Raises:
        BadPacket: it is none, or a fragment ("optional; drop it", RFC 1928 §7).
    """
    if len(data) < 5 or data[2]:
        raise BadPacket("a datagram without a header, or a fragment")
    if data[3] not in (1, 3, 4):
        raise BadPacket("an address of an unknown kind")
    end = _address_end(data, 3)
    if len(data) < end:
        raise BadPacket("a header that is cut short")
    host, port = _address(data, 3, end)
    if not port:
        raise BadPacket("a destination without a port")
    return host, port, end


def _string_end(data: bytearray, start: int) -> int | None:
    """Where the NUL of a string is; None when it has not come yet."""
    end = data.find(0, start, start + _LONGEST + 1)
    if end < 0 and len(data) > start + _LONGEST:
        raise BadPacket("a string without an end")
    return None if end < 0 else end


def _address_end(data: bytearray | bytes | memoryview, at: int) -> int:
    """Where an address and its port end, given the byte of its kind and the one after it."""
    return at + {1: 1 + 4, 3: 2 + data[at + 1], 4: 1 + 16}[data[at]] + 2


def _address(data: bytearray | bytes | memoryview, at: int, end: int) -> tuple[str, int]:
    kind, port = data[at], int.from_bytes(data[end - 2 : end])
    if kind == 1:
        return str(IPv4Address(bytes(data[at + 1 : end - 2]))), port
    if kind == 4:
        return str(IPv6Address(bytes(data[at + 1 : end - 2]))), port
    return _host(bytes(data[at + 2 : end - 2])), port


def _packed(host: str, port: int) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:  # a name
        name = host.encode("ascii")
        return bytes((3, len(name))) + name + port.to_bytes(2)
    return bytes((1 if address.version == 4 else 4,)) + address.packed + port.to_bytes(2)
