"""What SSDP and GENA take from HTTP: header fields, and URLs that name their host by its address.

A URL with a host name is refused: to look the name up would be done on a stranger's behalf, and what it
leads to is the stranger's choice (DNS rebinding, CVE-2020-12695).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.wire.errors import BadPacket

__all__ = [
    "LONGEST_URL",
    "HttpUrl",
    "read_head_untrusted",
    "read_host_untrusted",
    "read_url_untrusted",
    "write_head",
]

LONGEST_URL: Final = 1024
_MOST_FIELDS: Final = 64
_LONGEST_LINE: Final = 2048
_HOST: Final = r"(?:(?P<v4>[0-9.]{7,15})|\[(?P<v6>[0-9A-Fa-f:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?"
_HOST_ONLY: Final = re.compile(_HOST)
_URL: Final = re.compile(rf"[Hh][Tt][Tt][Pp]://{_HOST}(?P<path>/[!#-;=?-\[\]^-~]*)?")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2 token
_NOT_IN_A_FIELD: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An http URL at an IP address. A v4-mapped address has become IPv4."""

    address: IPAddress
    port: int
    path: str
    """Begins with a slash; the query belongs to it."""

    @property
    def host(self) -> str:
        """As the Host field has it: `192.0.2.1:5000`, `[2001:db8::1]:80`."""
        bare = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{bare}:{self.port}"

    def __str__(self) -> str:
        return f"http://{self.host}{self.path}"


def read_url_untrusted(text: str) -> HttpUrl:
    """Read `http://ADDRESS[:PORT][/PATH]`. Zones, user names and fragments are not allowed.

    Raises:
        BadPacket: it is anything else, a host name or https included.
    """
    found = _URL.fullmatch(text) if len(text) <= LONGEST_URL else None
    if found is None:
        raise BadPacket("not an http URL with an IP address")
    address, port = _endpoint(found)
    return HttpUrl(address, port, found["path"].partition("#")[0] if found["path"] else "/")


def read_host_untrusted(text: str) -> tuple[IPAddress, int]:
    """Read a Host field; without a port it is 80.

    Raises:
        BadPacket: it names its host otherwise than by an address, as a rebound browser does.
    """
    found = _HOST_ONLY.fullmatch(text.strip(" \t"))
    if found is None:
        raise BadPacket("the Host field has no IP address")
    return _endpoint(found)


def read_head_untrusted(data: bytes, longest: int) -> tuple[str, dict[str, str]]:
    """Read a start line and header fields, up to an empty line or the end.

    Lines may end without a carriage return, and the last need not end at all, for some devices write so.

    Args:
        data: the whole message.
        longest: bytes; more are refused.

    Returns:
        The start line, and the fields by their names in lower case; the first of those with one name.

    Raises:
        BadPacket: it is too long, or a line is no field.
    """
    if len(data) > longest:
        raise BadPacket(f"longer than {longest} bytes")
    written = (line.removesuffix("\r") for line in data.decode("latin-1").split("\n"))
    lines = list(takewhile(bool, written))
    if not lines:
        raise BadPacket("no start line")
    if any(len(line) > _LONGEST_LINE or _NOT_IN_A_FIELD.search(line) for line in lines):
        raise BadPacket("a line that is too long, or with control characters")
    fields: dict[str, str] = {}
    for count, line in enumerate(lines[1:]):
        name, colon, value = line.partition(":")
        if count >= _MOST_FIELDS or not colon or not _FIELD_NAME.fullmatch(name.rstrip(" \t")):
            raise BadPacket("too many header fields, or a line that is none")
        fields.setdefault(name.rstrip(" \t").lower(), value.strip(" \t"))
    return lines[0], fields


def write_head(start: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A start line, header fields and the empty line after them.

    Raises:
        ValueError: a value would break out of its line, or is not Latin-1.
    """
    lines = [start, *(f"{name}: {value}" if value else f"{name}:" for name, value in fields)]
    if any(_NOT_IN_A_FIELD.search(line) for line in lines):
        raise ValueError("a header field cannot hold control characters")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _endpoint(found: re.Match[str]) -> tuple[IPAddress, int]:
    try:
        address = ipaddress.ip_address(found["v4"] or found["v6"])
    except ValueError:
        raise BadPacket("the host is no IP address") from None
    port = int(found["port"] or 80)
    if not 0 < port < 65536:
        raise BadPacket("no such port")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, port
