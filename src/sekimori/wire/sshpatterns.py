"""The patterns of OpenSSH: wildcards, lists of addresses, and `host:port` (ssh_config(5) PATTERNS).

They match as match.c, addrmatch.c and channels.c of OpenSSH 9.2 do, with the differences that are named here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sekimori.model.address import HIGHEST_PORT, IPAddress, IPNetwork

__all__ = ["AddressPatterns", "Place", "matches_pattern"]

_LONGEST_HOST: Final = 1024
"""Below NI_MAXHOST."""


def matches_pattern(text: str, pattern: str) -> bool:
    """Whether the whole text fits: `*` is any characters, `?` is one, case matters."""
    return _compile(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    shortest = re.sub(r"\*+", "*", pattern)  # runs of stars would make the search take for ever
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(each) or re.escape(each) for each in shortest), re.DOTALL)


@dataclass(frozen=True, slots=True)
class AddressPatterns:
    """The value of `from`: addresses, prefixes and wildcards, commas between them, `!` before what is not.

    Names of hosts are allowed in it and fit nobody: nothing is looked up, as with OpenSSH's `UseDNS no`.
    """

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> AddressPatterns:
        """Read a list.

        Raises:
            ValueError: an empty word, or a prefix with bits beyond its length; of such a list OpenSSH admits
                nobody.
        """
        words = tuple(text.split(","))
        for word in words:
            plain = word.removeprefix("!")
            if not plain:
                raise ValueError("an empty pattern")
            if "/" in plain:
                _read_prefix(plain)
        return cls(words)

    def admit(self, address: IPAddress) -> bool:
        """Whether some word fits an address and no negated one does."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        fits = [word for word in self.words if _fits(word.removeprefix("!"), address)]
        return bool(fits) and not any(word.startswith("!") for word in fits)

    def __str__(self) -> str:
        return ",".join(self.words)


def _fits(word: str, address: IPAddress) -> bool:
    network = _network(word)
    if network is not None:
        return network.version == address.version and address in network
    return matches_pattern(str(address), word.lower())


@lru_cache(maxsize=1024)
def _network(word: str) -> IPNetwork | None:
    try:
        return _read_prefix(word)
    except ValueError:  # a name or a wildcard
        return None


def _read_prefix(word: str) -> IPNetwork:
    """An address or `ADDRESS/LENGTH`.

    Raises:
        ValueError: it is neither.
    """
    _, slash, length = word.partition("/")
    if slash and not (length.isascii() and length.isdigit()):  # OpenSSH knows no netmasks
        raise ValueError(f"not a length of a prefix: {length!r}")
    return ipaddress.ip_network(word)


@dataclass(frozen=True, slots=True)
class Place:
    """The value of `permitopen` or `permitlisten`: a host, and a port or None for any.

    Attributes:
        host: as it was written, without the brackets of an IPv6 address.
    """

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str, *, may_be_port: bool = False) -> Place:
        """Read `host:port`, `[v6]:port`, `host:*`, and with `may_be_port` a port alone, which is on any host.

        Ports by names of services, which OpenSSH takes, are not taken: another file says which they are.

        Raises:
            ValueError: it is none of these.
        """
        host, port = _split(f"*:{text}" if may_be_port and ":" not in text else text)
        if len(host) > _LONGEST_HOST:
            raise ValueError("the host is too long")
        if port == "*":
            return cls(host, None)
        if not (port.isascii() and port.isdigit()) or not 0 < int(port) <= HIGHEST_PORT:
            raise ValueError(f"not a port: {port!r}")
        return cls(host, int(port))

    def is_opened_by(self, host: str, port: int) -> bool:
        """Whether `permitopen` means a destination: the same text, nothing looked up; the host `*` is any."""
        return self.port in (None, port) and self.host in ("*", host)

    def is_listened_by(self, host: str, port: int) -> bool:
        """Whether `permitlisten` means an address to listen on, as the client wrote it.

        The host is a pattern for what the client wrote, in lower case. ssh(1) writes `localhost` where its
        user wrote nothing, and nothing where the user wrote `*`. Port 0 is meant only by `*`.
        """
        return self.port in (None, port) and matches_pattern(host.lower(), self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{'*' if self.port is None else self.port}"


def _split(text: str) -> tuple[str, str]:
    """Cut a host from a port as hpdelim2() of OpenSSH does; `/` cuts as `:` does."""
    bracket = re.fullmatch(r"\[([^\]]*)\][:/](.*)", text, re.DOTALL)
    plain = bracket or re.fullmatch(r"([^\[:/][^:/]*|)[:/](.*)", text, re.DOTALL)
    if plain is None:
        raise ValueError("not a host and a port")
    return plain[1], plain[2]
