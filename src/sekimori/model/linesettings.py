"""`[line]` of the config file: what its owner knows of the line, and whom we may ask about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sekimori.model.address import HIGHEST_PORT, parse_address
from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.model.mapset import MapRule, PortSet

__all__ = ["Firewall6", "LineSettings", "StunServer", "parse_firewall6", "parse_servers"]

_STUN_PORT: Final = 3478
_MOST_SERVERS: Final = 8
_NAME: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9][a-z0-9-]{0,62})*", re.IGNORECASE
)


class Firewall6(StrEnum):
    """Whether packets from outside reach IPv6 addresses of this line that did not ask for them."""

    UNKNOWN = "unknown"
    OPEN = "open"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class StunServer:
    """A STUN server: a name or an address, and a UDP port."""

    host: str
    port: int = _STUN_PORT

    @classmethod
    def parse(cls, text: str) -> StunServer:
        """Read `stun.example.net`, `stun.example.net:3478`, `192.0.2.1:3478`, `[2001:db8::1]:3478`.

        Raises:
            Unreadable: it is none of these.
        """
        word = text.strip()
        if word.startswith("["):
            host, bracket, rest = word[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise Unreadable("line-not-a-server", text=text)
            port = rest[1:] if rest else None
        elif word.count(":") > 1:
            host, port = word, None
        else:
            host, colon, after = word.partition(":")
            port = after if colon else None
        return cls(_host(host, text), _STUN_PORT if port is None else _port(port, text))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LineSettings:
    """`[line]`.

    Attributes:
        stun: the servers that are asked how the line looks from outside. None is asked unless named here.
        every: seconds between looks.
        map_rules: the provider's MAP rules; which is ours follows from the line's IPv6 prefix.
        ports: the ports we have of a shared address, where it is known without a rule.
        ds_lite: the line's IPv4 goes through the carrier's NAT at the other end of a tunnel (RFC 6333).
        inbound6: what is known of the line, or of the router above.
    """

    stun: tuple[StunServer, ...] = ()
    every: int = 1800
    map_rules: tuple[MapRule, ...] = ()
    ports: PortSet | None = None
    ds_lite: bool = False
    inbound6: Firewall6 = Firewall6.UNKNOWN


def parse_servers(value: object) -> tuple[StunServer, ...]:
    """Read `["stun.example.net:3478"]`, at most 8, each once.

    Raises:
        Unreadable: with the cause.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Unreadable("line-not-servers")
    servers = tuple(dict.fromkeys(map(StunServer.parse, value)))
    if len(servers) > _MOST_SERVERS:
        raise Unreadable("line-many-servers", most=_MOST_SERVERS)
    return servers


def parse_firewall6(value: object) -> Firewall6:
    """Read `"unknown"`, `"open"` or `"filtered"`.

    Raises:
        Unreadable: it is none of these.
    """
    try:
        return Firewall6(str(value))
    except ValueError:
        raise Unreadable("line-not-inbound", words=", ".join(Firewall6)) from None


def _host(host: str, text: str) -> str:
    if ":" in host or host.replace(".", "").isdecimal():
        try:
            return str(parse_address(host))
        except Problem:
            raise Unreadable("line-not-a-server", text=text) from None
    if not _NAME.fullmatch(host):
        raise Unreadable("line-not-a-server", text=text)
    return host.lower()


def _port(word: str, text: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= 5 and 0 < int(word) <= HIGHEST_PORT):
        raise Unreadable("line-not-a-server", text=text)
    return int(word)
