"""What an address tells of the line it is on: only the kind of prefix it is from."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from sekimori.model.address import IPAddress, IPNetwork

__all__ = ["AddressKind", "kind_of"]


class AddressKind(StrEnum):
    """The prefix an address is from (IANA's special-purpose registries, RFC 6890)."""

    PUBLIC = "public"
    PRIVATE = "private"
    """RFC 1918."""
    SHARED = "shared"
    """100.64.0.0/10 (RFC 6598), for the network between carriers' NATs and their customers.

    `ipaddress` calls it neither private nor global."""
    DS_LITE = "ds-lite"
    """192.0.0.0/29 (RFC 6333 §5.7, RFC 7335): the inside of a tunnel whose NAT is the carrier's."""
    LINK_LOCAL = "link-local"
    UNIQUE_LOCAL = "unique-local"
    """RFC 4193."""
    DOCUMENTATION = "documentation"
    """RFC 5737 and RFC 3849. In laboratories they stand for public ones, and are judged as such."""
    RESERVED = "reserved"
    """Anything else that is no host's on the internet: loopback, multicast, benchmarks, class E."""
    NONE = "none"

    @property
    def is_public(self) -> bool:
        """Whether nothing about the address speaks for a NAT above."""
        return self in (AddressKind.PUBLIC, AddressKind.DOCUMENTATION)


_PREFIXES: Final[tuple[tuple[IPNetwork, AddressKind], ...]] = (
    *((IPv4Network(each), AddressKind.PRIVATE) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    (IPv4Network("100.64.0.0/10"), AddressKind.SHARED),
    (IPv4Network("192.0.0.0/29"), AddressKind.DS_LITE),
    (IPv4Network("169.254.0.0/16"), AddressKind.LINK_LOCAL),
    *(
        (IPv4Network(each), AddressKind.DOCUMENTATION)
        for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    ),
    *(
        (IPv4Network(each), AddressKind.RESERVED)
        for each in (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
        )
    ),
    (IPv4Network("0.0.0.0/0"), AddressKind.PUBLIC),
    (IPv6Network("fe80::/10"), AddressKind.LINK_LOCAL),
    (IPv6Network("fc00::/7"), AddressKind.UNIQUE_LOCAL),
    *((IPv6Network(each), AddressKind.DOCUMENTATION) for each in ("2001:db8::/32", "3fff::/20")),
    *((IPv6Network(each), AddressKind.RESERVED) for each in ("2001::/23", "2002::/16")),
    (IPv6Network("2000::/3"), AddressKind.PUBLIC),
    (IPv6Network("::/0"), AddressKind.RESERVED),
)
"""The first that an address is in counts."""


@lru_cache(maxsize=256)  # asked about few, and with every decision
def kind_of(address: IPAddress | None) -> AddressKind:
    """The kind of an address; `NONE` where there is none."""
    if address is None:
        return AddressKind.NONE
    return next(kind for prefix, kind in _PREFIXES if prefix.version == address.version and address in prefix)
