"""Who may come in: prefixes, named lists, or anyone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekimori.model.address import IPNetwork
from sekimori.model.causes import Unreadable, cause
from sekimori.model.errors import Problem

__all__ = ["LAN", "LAN_PREFIXES", "WIDE", "Sources", "parse_prefix"]

LAN: Final = "lan"
"""The built-in list: addresses that do not come over the internet."""

LAN_PREFIXES: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",  # this machine
        "169.254.0.0/16",  # RFC 3927
        "fc00::/7",  # RFC 4193
        "fe80::/10",  # RFC 4291
        "::1/128",
    )
)

WIDE: Final = {4: 8, 6: 19}
"""Prefixes shorter than this hold so much of the internet that policy reads them as anyone.

IPv4 /8 was the largest block ever assigned to one holder; IPv6 /19 likewise (RIPE registry)."""

_EVERYTHING: Final = frozenset({ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")})
_LIST_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


def parse_prefix(text: str) -> IPNetwork:
    """An address or a prefix; host bits must be zero, so that a slip is not a wide opening.

    Raises:
        Unreadable: it is neither; its cause says why.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unreadable("not-a-source") from None
    address, slash, _ = text.partition("/")
    if slash and str(network.network_address) != str(ipaddress.ip_address(address)):
        raise Unreadable("host-bits", network=network, address=address)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


@dataclass(frozen=True, slots=True)
class Sources:
    """Who may come in. `anyone` stands alone; otherwise prefixes and names of lists add up."""

    anyone: bool = False
    prefixes: tuple[IPNetwork, ...] = ()
    lists: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Sources:
        """Read `198.51.100.0/24,office`, `lan` or `anyone`.

        Raises:
            Problem: `bad-source`.
        """
        prefixes: dict[IPNetwork, None] = {}
        lists: dict[str, None] = {}
        words = [word.strip().lower() for word in text.split(",") if word.strip()]
        if not words:
            raise Problem("bad-source", text=text, why=cause("nobody"))
        for word in words:
            if word == "anyone":
                continue
            if _LIST_NAME.fullmatch(word) and not _is_address(word):
                lists[word] = None
                continue
            try:
                prefixes[parse_prefix(word)] = None
            except Unreadable as error:
                raise Problem("bad-source", text=word, why=error.why) from None
        anyone = "anyone" in words or prefixes.keys() >= _EVERYTHING
        if anyone and (lists or prefixes.keys() - _EVERYTHING):
            raise Problem("bad-source", text=text, why=cause("anyone-and-more"))
        if anyone:
            return cls(anyone=True)
        return cls(prefixes=tuple(sorted(prefixes, key=_order)), lists=tuple(sorted(lists)))

    def resolve(self, named: Mapping[str, tuple[IPNetwork, ...]]) -> tuple[IPNetwork, ...] | None:
        """The prefixes meant, lists looked up; None is anyone. An unknown list admits nobody."""
        if self.anyone:
            return None
        found = dict.fromkeys(self.prefixes)
        for name in self.lists:
            found.update(dict.fromkeys(LAN_PREFIXES if name == LAN else named.get(name, ())))
        return tuple(found)

    def is_wide(self, named: Mapping[str, tuple[IPNetwork, ...]]) -> bool:
        """Whether this lets in so much of the internet that it is anyone in effect."""
        prefixes = self.resolve(named)
        if prefixes is None:
            return True
        # Joined first: a wide prefix written as its parts is still wide.
        four = [each for each in prefixes if isinstance(each, ipaddress.IPv4Network) and not _is_local(each)]
        six = [each for each in prefixes if isinstance(each, ipaddress.IPv6Network) and not _is_local(each)]
        joined: list[IPNetwork] = [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]
        return any(prefix.prefixlen < WIDE[prefix.version] for prefix in joined)

    @property
    def is_lan(self) -> bool:
        """Whether nobody may come in but from the local network, whatever the named lists hold."""
        return not self.anyone and set(self.lists) <= {LAN} and all(map(_is_local, self.prefixes))

    def __str__(self) -> str:
        if self.anyone:
            return "anyone"
        return ",".join([*map(str, self.prefixes), *self.lists])


def _is_local(prefix: IPNetwork) -> bool:
    """Whether a prefix holds no address of the internet, however wide it is (fc00::/7 is)."""
    if isinstance(prefix, ipaddress.IPv4Network):
        return any(prefix.subnet_of(lan) for lan in LAN_PREFIXES if isinstance(lan, ipaddress.IPv4Network))
    return any(prefix.subnet_of(lan) for lan in LAN_PREFIXES if isinstance(lan, ipaddress.IPv6Network))


def _is_address(word: str) -> bool:
    # 'fd00::1' begins with a letter too, and no list name holds a colon.
    return ":" in word


def _order(network: IPNetwork) -> tuple[int, int, int]:
    return (network.version, int(network.network_address), network.prefixlen)
