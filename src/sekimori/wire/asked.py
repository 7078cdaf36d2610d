"""What a client says that names its destination, whatever protocol it says it in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal, Protocol

from sekimori.wire.errors import BadPacket

__all__ = [
    "UNSAID",
    "Asked",
    "Command",
    "Dialect",
    "Failure",
    "LogIn",
    "Refused",
    "Wants",
    "read_host_untrusted",
    "read_port_untrusted",
]

Command = Literal["connect", "bind", "udp"]
Failure = Literal[
    "refused", "timed_out", "unreachable", "prohibited", "down", "descriptors", "other", "unsupported"
]
"""Why a destination was not reached, as the relay counts it; and `unsupported`, what cannot be done here."""

UNSAID: Final = ("0.0.0.0", 0)
"""An address that an answer must have and that nobody knows (RFC 1928 leaves it open)."""

_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_LONGEST_LABEL: Final = 63
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class LogIn:
    """A name and password to be judged."""

    name: str
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wants:
    """A destination. Of `bind` and `udp` it is whom the client expects; `0.0.0.0` and 0 leave that open."""

    command: Command
    host: str
    """A numeric address as `ipaddress` writes it, or a name in lower case without its last dot."""
    port: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The client asks for what is not done here: send the answer that is ready, then hang up."""

    why: str


Asked = LogIn | Wants | Refused


class Dialect(Protocol):
    """One protocol, from the server's side. What it wants sent is added to `out`."""

    out: bytearray

    def read_untrusted(self, data: bytearray) -> Asked | None:
        """Take what is whole off the front of `data`; None while something is missing.

        Raises:
            BadPacket: no continuation of `data` is this protocol.
        """

    def logged_in(self, ok: bool) -> None:
        """How the judging of the last `LogIn` ended."""

    def succeeded(self, host: str, port: int) -> None:
        """The destination is reached from this numeric address. Of `bind` it is said twice."""

    def failed(self, cause: Failure) -> None:
        """The destination is not reached."""


def read_host_untrusted(text: bytes) -> str:
    """A host name or a numeric address, in the one way of writing it.

    Raises:
        BadPacket: it is neither. What only inet_aton(3) takes for an address (`127.1`, `0x7f000001`) is none.
    """
    host = text.decode("latin-1")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        if "%" not in host:  # a scope is of this machine: nothing that a client could know
            return str(IPv6Address(host[1:-1]) if bracketed else ip_address(host))
    except ValueError:  # a name, then
        pass
    name = host.removesuffix(".").lower()
    labels = name.split(".")
    if not _HOST.fullmatch(name) or not all(map(_is_label, labels)) or _NUMBER.fullmatch(labels[-1]):
        raise BadPacket("a destination that is neither a name nor an address")
    return name


def _is_label(text: str) -> bool:
    """Whether it has a length that the DNS can carry (RFC 1035 §2.3.4)."""
    return 0 < len(text) <= _LONGEST_LABEL


def read_port_untrusted(text: bytes) -> int:
    """A port from 1 to 65535 in decimal digits.

    Raises:
        BadPacket: it is none.
    """
    if not (text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise BadPacket("a destination without a port")
    return int(text)


def packed_v4(host: str) -> bytes:
    """The four bytes of an IPv4 address; zeroes for an address that has no such."""
    address = ip_address(host)
    return address.packed if isinstance(address, IPv4Address) else bytes(4)
