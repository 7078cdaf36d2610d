"""Where a client that names its destination may go, and what is guarded unless it is named."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sekimori.model.address import HIGHEST_PORT, IPAddress, IPNetwork, PortRange
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = ["ANYWHERE", "NOWHERE", "Destination", "Destinations", "is_guarded"]

_ALL_PORTS: Final = PortRange(1, HIGHEST_PORT)
_HOST: Final = re.compile(r"[a-z0-9_*?](?:[a-z0-9_.*?-]{0,251}[a-z0-9_*?])?")

_GUARDED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # RFC 6890: this host
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of clouds at 169.254.169.254
        "100.100.100.200/32",  # the metadata service of Alibaba Cloud
        "192.0.0.192/32",  # of Oracle Cloud
        "224.0.0.0/4",
        "255.255.255.255/32",
        "::/127",  # unspecified and loopback
        "fe80::/10",
        "fd00:ec2::254/128",  # the metadata service of EC2
        "fd20:ce::254/128",  # of Google Cloud
        "ff00::/8",
    )
)


def is_guarded(address: IPAddress, own: Iterable[IPNetwork] = ()) -> bool:
    """Whether nobody gets to an address unless a destination names it.

    Guarded are loopback, link-local, metadata services, multicast, and `own`, the networks of this machine.

    So is an IPv6 address that holds the IPv4 address of such a place (v4-mapped, 6to4, NAT64 and others).
    """
    faces = {address, _embedded(address)}
    return any(each.version == net.version and each in net for net in (*_GUARDED, *own) for each in faces)


def _embedded(address: IPAddress) -> IPAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in net for net in _ENDING_IN_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


_ENDING_IN_IPV4: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "64:ff9b::/96",  # NAT64, RFC 6052 §2.1
        "64:ff9b:1::/48",  # of local use, RFC 8215
        "::/96",  # IPv4-compatible, RFC 4291 §2.5.5.1
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765 §2.1
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Destination:
    """One place or several: a host, a prefix or a pattern of names, with its ports.

    Attributes:
        host: a name in lower case (with `*` and `?` as in ssh_config(5)), a prefix, or `*` for any host that
            is not guarded.
        ports: those that may be reached there.
    """

    host: str
    ports: PortRange = _ALL_PORTS

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read `db.example:5432`, `10.0.0.0/8`, `10.0.0.5:80-90`, `[2001:db8::5]:443`, `*:443`, `*`.

        Raises:
            Problem: `bad-destination`.
        """
        word = text.strip().lower()
        host, _, port = _split(word)
        try:
            ports = PortRange.parse(port) if port and port != "*" else _ALL_PORTS
        except Unreadable as error:
            raise Problem("bad-destination", text=text, why=error.why) from None
        network = _network(host)
        if network is not None:
            return cls(str(network), ports)
        if re.fullmatch(r"[\d./:]+", host) or not _HOST.fullmatch(host):
            raise Problem("bad-destination", text=text, why=cause("not-a-host"))
        return cls(host.rstrip("."), ports)

    def names(self, host: str, address: IPAddress | None, port: int) -> bool:
        """Whether it says this place in so many words: by its prefix, or by the whole of its name.

        `0.0.0.0/0` and `::/0` name nothing: who writes them means the internet, not what is guarded.
        `host` is what was asked for, `address` what that is, where it is known.
        """
        if self._is_pattern or port not in self.ports:
            return False
        network = _network(self.host)
        if network is not None:
            return network.prefixlen > 0 and address is not None and address in network
        return _bare(host) == self.host

    def covers(self, host: str, port: int, address: IPAddress | None = None) -> bool:
        """Whether it is a pattern that this host falls under, or all addresses of one family.

        That does not name what the host turns out to be: whoever writes the names under a pattern chooses
        their addresses.
        """
        if port not in self.ports:
            return False
        network = _network(self.host)
        if network is not None:
            return network.prefixlen == 0 and address is not None and address in network
        return self._is_pattern and _pattern(self.host).fullmatch(_bare(host)) is not None

    @property
    def _is_pattern(self) -> bool:
        return "*" in self.host or "?" in self.host

    def __str__(self) -> str:
        host = self.host
        network = _network(host)
        if network is not None and network.num_addresses == 1:
            host = str(network.network_address)
        if self.ports == _ALL_PORTS:
            return host
        return f"[{host}]:{self.ports}" if ":" in host else f"{host}:{self.ports}"


@dataclass(frozen=True, slots=True)
class Destinations:
    """All that a client may reach. None of them is nowhere."""

    places: tuple[Destination, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Destinations:
        """Read destinations with commas between them; `none` is nowhere, `anywhere` is `*`.

        Raises:
            Problem: `bad-destination`.
        """
        word = text.strip().lower()
        if word in ("", "none"):
            return NOWHERE
        parts = ("*" if part.strip() == "anywhere" else part for part in word.split(","))
        return cls(tuple(sorted(dict.fromkeys(map(Destination.parse, parts)))))

    def allow(self, host: str, address: IPAddress | None, port: int, own: Iterable[IPNetwork] = ()) -> bool:
        """Whether a place may be reached. A guarded one must be named; for others a pattern is enough.

        Ask once with the address None before a name is looked up, and once with each address it has: a name
        is let through by the first only where some address could still be, by the second where this one is.
        """
        if any(place.names(host, address, port) for place in self.places):
            return True
        covered = any(place.covers(host, port, address) for place in self.places)
        if address is None:
            return covered or any(
                _network(place.host) is not None and port in place.ports for place in self.places
            )
        return covered and not is_guarded(address, own)

    def __bool__(self) -> bool:
        return bool(self.places)

    def __str__(self) -> str:
        return ",".join(map(str, self.places)) or "none"


NOWHERE: Final = Destinations()
ANYWHERE: Final = Destinations((Destination("*"),))


def _split(word: str) -> tuple[str, str, str]:
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        return (host if bracket and ":" in host else word), ":", rest.removeprefix(":")
    if word.count(":") > 1:  # an IPv6 address or prefix without a port
        return word, "", ""
    return word.partition(":")


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


@lru_cache(maxsize=4096)
def _network(host: str) -> IPNetwork | None:
    try:
        return ipaddress.ip_network(host)
    except ValueError:  # a name or a pattern: the caller looks further
        return None


@lru_cache(maxsize=1024)
def _pattern(host: str) -> re.Pattern[str]:
    return re.compile(
        "".join(".*" if each == "*" else "." if each == "?" else re.escape(each) for each in host)
    )
