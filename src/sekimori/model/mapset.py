"""IPv4 addresses that several subscribers share by ports: MAP-E, MAP-T and lightweight 4over6.

The provider gives each subscriber a port-set identifier (PSID); the ports that have it in their middle bits
are that subscriber's (RFC 7597 §5.1, the same in RFC 7599 and RFC 7596). In MAP the address and the PSID
stand in the subscriber's IPv6 prefix, and a rule says where (RFC 7597 §5.2). v6プラス and its kin in Japan
are MAP-E.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any, Final

from sekimori.model.address import HIGHEST_PORT, IPNetwork, PortRange
from sekimori.model.causes import Unreadable
from sekimori.model.source import parse_prefix

__all__ = [
    "DEFAULT_OFFSET",
    "MapRule",
    "PortSet",
    "Share",
    "find_share",
    "parse_port_set",
    "parse_rules",
]

DEFAULT_OFFSET: Final = 6
"""Bits, where neither rule nor provider says (RFC 7597 §5.1): ports under 1024 belong to nobody."""

_PORT_BITS: Final = 16
_RULE_KEYS: Final = ("ipv6", "ipv4", "ea", "offset", "psid", "psid_length")
_SET_KEYS: Final = ("offset", "psid", "psid_length")


@dataclass(frozen=True, slots=True)
class PortSet:
    """The ports of one subscriber at a shared address: those whose bits after the first `offset` are `psid`.

    Where `offset` is not 0, ports whose first `offset` bits are all 0 are in no set (§5.1): the well-known
    ones. Port 0 is in none.

    Args:
        offset: bits before the PSID (`a` in the RFC), 0 to 15.
        length: bits of the PSID (`k`), 0 to 16 less the offset; 0 leaves nothing to share.
        psid: 0 to 2 to the power of `length`, less 1.

    Raises:
        ValueError: these bits do not fit in a port.
    """

    offset: int
    length: int
    psid: int

    def __post_init__(self) -> None:
        if not (0 <= self.offset < _PORT_BITS and 0 <= self.length <= _PORT_BITS - self.offset):
            raise ValueError(f"{self.offset} and {self.length} bits do not fit in a port")
        if not 0 <= self.psid < 1 << self.length:
            raise ValueError(f"a PSID of {self.length} bits is not {self.psid}")
        if not self.size:
            raise ValueError("only port 0 would be in this set")

    @property
    def _step(self) -> int:
        """Ports from one block to the next."""
        return 1 << _PORT_BITS - self.offset

    @property
    def _width(self) -> int:
        """Ports of one block."""
        return 1 << _PORT_BITS - self.offset - self.length

    @property
    def _has_zero(self) -> bool:
        return self.offset == 0 and self.psid == 0

    @property
    def size(self) -> int:
        """How many ports it holds."""
        blocks = (1 << self.offset) - 1 if self.offset else 1
        return blocks * self._width - self._has_zero

    def __len__(self) -> int:
        return self.size

    def __contains__(self, port: object) -> bool:
        if not isinstance(port, int) or not 0 < port <= HIGHEST_PORT:
            return False
        block, rest = divmod(port, self._step)
        return rest // self._width == self.psid and (block > 0 or self.offset == 0)

    def __iter__(self) -> Iterator[int]:
        for each in self.ranges():
            yield from each

    def ranges(self) -> Iterator[PortRange]:
        """Its blocks, the lowest first. Without a PSID they touch."""
        if self.offset == 0:
            first = self.psid * self._width
            yield PortRange(first + self._has_zero, first + self._width - 1)
            return
        for block in range(1, 1 << self.offset):
            first = block * self._step + self.psid * self._width
            yield PortRange(first, first + self._width - 1)

    def holds(self, ports: PortRange) -> bool:
        """Whether every one of these ports is in it."""
        if ports.first not in self or ports.last not in self:
            return False
        return self.length == 0 or ports.last - ports.first < self._width

    def nth(self, index: int) -> int:
        """The port with this place in the set, from 0.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not below {self.size}")
        block, place = divmod(index + self._has_zero, self._width)
        return (block + (self.offset > 0)) * self._step + self.psid * self._width + place

    def place_of(self, port: int) -> int:
        """How many of its ports are below `port`, which need not be one of them: the inverse of `nth`."""
        block, rest = divmod(min(max(port, 0), HIGHEST_PORT + 1), self._step)
        within = min(max(rest - self.psid * self._width, 0), self._width)
        if self.offset == 0:
            return self.size if block else max(within - self._has_zero, 0)
        return (block - 1) * self._width + within if block else 0

    def next_free(self, port: int, is_free: Callable[[int], bool], count: int = 1) -> int | None:
        """The first of `count` free ports in a row, looking upwards after `port` and round to it again.

        `port` itself comes last, so that it is found where nothing else is free.

        Returns:
            None where there are none.
        """
        start = self.place_of(port + 1)
        for place in range(self.size):
            first = self.nth((start + place) % self.size)
            last = first + count - 1
            if self.holds(PortRange(first, last)) and all(map(is_free, range(first, last + 1))):
                return first
        return None

    def __str__(self) -> str:
        ranges = [str(each) for each in self.ranges()]
        shown = [*ranges[:2], "…", ranges[-1]] if len(ranges) > 3 else ranges
        return f"{', '.join(shown)} ({self.size})"


@dataclass(frozen=True, slots=True)
class MapRule:
    """A basic mapping rule (RFC 7597 §5.2; what a provider tells in OPTION_S46_RULE, RFC 7598 §4.1).

    Args:
        ipv6: the prefix that the subscribers' IPv6 prefixes begin with.
        ipv4: the prefix that their IPv4 addresses begin with.
        ea: bits behind `ipv6` that hold the rest of the IPv4 address, and after it the PSID.
        offset: bits before the PSID in a port.
        explicit: the PSID's length and value where they are told and not embedded
            (OPTION_S46_PORTPARAMS, RFC 7598 §4.5). It needs a whole IPv4 address.

    Raises:
        ValueError: these lengths contradict each other.
    """

    ipv6: IPv6Network
    ipv4: IPv4Network
    ea: int
    offset: int = DEFAULT_OFFSET
    explicit: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.ea <= 48:  # RFC 7598 §4.1
            raise ValueError("EA bits are 0 to 48")
        if self.ipv6.prefixlen + self.ea > 64:
            raise ValueError("prefix and EA bits are more than the 64 bits of a subscriber's prefix")
        if self.psid_length and self.psid_length > _PORT_BITS - self.offset:
            raise ValueError("the offset leaves too few bits for the PSID")
        if self.explicit is None:
            return
        if self.ipv4.prefixlen + self.ea != 32:
            raise ValueError("a PSID of its own needs a rule that makes a whole IPv4 address")
        PortSet(self.offset, *self.explicit)

    @property
    def psid_length(self) -> int:
        """Bits of the PSID that are embedded (§5.2, `q`)."""
        return max(self.ipv4.prefixlen + self.ea - 32, 0)

    @property
    def prefix_length(self) -> int:
        """Bits of a subscriber's IPv6 prefix that the rule reads."""
        return self.ipv6.prefixlen + self.ea

    def share_of(self, prefix: IPv6Network) -> Share | None:
        """What a subscriber with this IPv6 prefix has; None where the rule is not for it.

        Of a prefix that is longer than the rule reads, the first bits count: where a /56 is delegated, one
        of its /64 tells the same.
        """
        if prefix.prefixlen < self.prefix_length or not prefix.subnet_of(self.ipv6):
            return None
        embedded = int(prefix.network_address) >> 128 - self.prefix_length & (1 << self.ea) - 1
        suffix_bits = min(self.ea, 32 - self.ipv4.prefixlen)
        suffix = embedded >> self.ea - suffix_bits
        length = self.ipv4.prefixlen + suffix_bits
        network = IPv4Network((int(self.ipv4.network_address) | suffix << 32 - length, length))
        return Share(network, self._ports(embedded), self)

    def _ports(self, embedded: int) -> PortSet | None:
        if self.explicit is not None:
            length, psid = self.explicit
            return PortSet(self.offset, length, psid) if length else None
        length = self.psid_length
        return PortSet(self.offset, length, embedded & (1 << length) - 1) if length else None


@dataclass(frozen=True, slots=True)
class Share:
    """What of IPv4 a subscriber has by a rule: a part of an address, an address, or several.

    Attributes:
        ports: None where every port of it is the subscriber's (§5.2: no PSID).
    """

    network: IPv4Network
    ports: PortSet | None
    rule: MapRule

    @property
    def address(self) -> IPv4Address:
        """The address, or the first of them."""
        return self.network.network_address


def find_share(rules: Iterable[MapRule], prefixes: Iterable[IPNetwork]) -> tuple[IPv6Network, Share] | None:
    """What the first of these prefixes that any rule is for has; of several rules the one with the longest
    IPv6 prefix counts (§5). IPv4 prefixes are passed over.
    """
    longest_first = sorted(rules, key=lambda rule: -rule.ipv6.prefixlen)
    for prefix in prefixes:
        if not isinstance(prefix, IPv6Network):
            continue
        for rule in longest_first:
            share = rule.share_of(prefix)
            if share is not None:
                return prefix, share
    return None


def parse_rules(value: object) -> tuple[MapRule, ...]:
    """Read `[{ipv6 = "2001:db8::/40", ipv4 = "192.0.2.0/24", ea = 16, offset = 6}]`, as TOML has it.

    `offset` may be left out (6). `psid` with `psid_length` is a PSID that is not embedded; in a number as in
    the file, so `0x34` too.

    Raises:
        Unreadable: with the cause, which names the rule's place.
    """
    if not isinstance(value, list):
        raise Unreadable("line-not-rules")
    return tuple(_numbered(each, place) for place, each in enumerate(value, start=1))


def parse_port_set(value: object) -> PortSet:
    """Read `{offset = 6, psid_length = 8, psid = 0x34}`: what a lightweight 4over6 line is told.

    Raises:
        Unreadable: with the cause.
    """
    table = _table(value, _SET_KEYS)
    offset = _number(table, "offset", 15, DEFAULT_OFFSET)
    length = _number(table, "psid_length", 16)
    psid = _number(table, "psid", (1 << 16) - 1)
    try:
        return PortSet(offset, length, psid)
    except ValueError:
        raise Unreadable("line-bits", offset=offset, length=length, psid=psid) from None


def _numbered(value: object, place: int) -> MapRule:
    try:
        return _rule(value)
    except Unreadable as error:
        raise Unreadable("line-rule", place=place, why=error.why) from None


def _rule(value: object) -> MapRule:
    table = _table(value, _RULE_KEYS)
    ipv6, ipv4 = _prefix(table, "ipv6"), _prefix(table, "ipv4")
    if not isinstance(ipv6, IPv6Network) or not isinstance(ipv4, IPv4Network):
        raise Unreadable("line-prefix", key="ipv4" if isinstance(ipv6, IPv6Network) else "ipv6")
    ea = _number(table, "ea", 48)
    offset = _number(table, "offset", 15, DEFAULT_OFFSET)
    explicit = None
    if "psid" in table or "psid_length" in table:
        explicit = _number(table, "psid_length", 16), _number(table, "psid", (1 << 16) - 1)
        if explicit[1] >= 1 << explicit[0] or explicit[0] + offset > _PORT_BITS:
            raise Unreadable("line-bits", offset=offset, length=explicit[0], psid=explicit[1])
        if ipv4.prefixlen + ea != 32:
            raise Unreadable("line-explicit-psid")
    if ipv6.prefixlen + ea > 64:
        raise Unreadable("line-ea-long", prefix=str(ipv6), ea=ea)
    embedded = ipv4.prefixlen + ea - 32
    if embedded > _PORT_BITS - offset:
        raise Unreadable("line-psid-long", length=embedded, offset=offset)
    return MapRule(ipv6, ipv4, ea, offset, explicit)


def _table(value: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable("line-not-a-rule", keys=", ".join(known))
    for key in value:
        if key not in known:
            raise Unreadable("line-rule-key", key=key, keys=", ".join(known))
    return value


def _number(table: Mapping[str, Any], key: str, most: int, default: int | None = None) -> int:
    value = table.get(key, default)
    if value is None:
        raise Unreadable("key-missing", key=key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Unreadable("line-number", key=key, most=most)
    return value


def _prefix(table: Mapping[str, Any], key: str) -> IPNetwork:
    value = table.get(key)
    if value is None:
        raise Unreadable("key-missing", key=key)
    if not isinstance(value, str):
        raise Unreadable("line-prefix", key=key)
    try:
        return parse_prefix(value.strip())
    except Unreadable as error:
        raise Unreadable("quoted", text=value, why=error.why) from None
