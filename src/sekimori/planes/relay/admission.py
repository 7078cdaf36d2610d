"""Who may come in: allowlist, rates and limits of one mapping, apart from sockets and clocks.

Every moment is an argument: `now` in seconds of the monotonic clock, `wall` in unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Final, Literal

from sekimori.planes.relay.entry import Entry, Rate

__all__ = [
    "BUCKETS_KEPT",
    "LOCAL",
    "REFUSALS",
    "Admission",
    "PrefixSet",
    "Refusal",
    "TokenBucket",
    "number",
    "plain",
]

Refusal = Literal["source", "rate", "limit", "expired", "banned"]
"""Why a newcomer was turned away before its target was touched."""

REFUSALS: Final[tuple[Refusal, ...]] = ("source", "rate", "limit", "expired", "banned")

BUCKETS_KEPT: Final = 4096
"""Token buckets kept per mapping, so that strangers cannot fill the memory."""

LOCAL: Final = "unix"
"""Stands for the address of a newcomer at a unix socket: whoever its file lets in is let in."""

_MAPPED: Final = "::ffff:"


def plain(address: str) -> str:
    """The address as people know it: `::ffff:192.0.2.1` is 192.0.2.1, without a scope."""
    if address.startswith(_MAPPED) and "." in address:
        return address[len(_MAPPED) :]
    scope = address.find("%")
    return address if scope < 0 else address[:scope]


def number(address: str) -> tuple[bool, int]:
    """`(is IPv6, value)` of a `plain` numeric address.

    Raises:
        ValueError: not an address.
    """
    if ":" not in address:
        a, b, c, d = address.split(".")
        return False, int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
    value = IPv6Address(address)
    mapped = value.ipv4_mapped
    return (True, int(value)) if mapped is None else (False, int(mapped))


class PrefixSet:
    """Which addresses are in a list of prefixes: one set look-up per prefix length in use."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, prefixes: Iterable[str]) -> None:
        """Raises ValueError for text that is no prefix. Host bits are ignored."""
        tables: dict[bool, dict[int, set[int]]] = {False: {}, True: {}}
        for text in prefixes:
            six, value, host_bits = _prefix(text)
            tables[six].setdefault(host_bits, set()).add(value >> host_bits)
        self._v4 = tuple(tables[False].items())
        self._v6 = tuple(tables[True].items())

    def __contains__(self, address: str) -> bool:
        """Whether a `plain` address is in one of the prefixes; text that is none is not."""
        try:
            six, value = number(address)
        except ValueError:
            return False
        return any(value >> shift in values for shift, values in (self._v6 if six else self._v4))


@lru_cache(maxsize=64)
def _shared_set(prefixes: tuple[str, ...]) -> PrefixSet:
    """The set of a list of prefixes: few lists serve many mappings, and reading one takes 100 µs."""
    return PrefixSet(prefixes)


def _prefix(text: str) -> tuple[bool, int, int]:
    network = ip_network(text, strict=False)
    value = int(network.network_address)
    host_bits = network.max_prefixlen - network.prefixlen
    if network.version == 6 and network.prefixlen >= 96 and value >> 32 == 0xFFFF:
        return False, value & 0xFFFFFFFF, host_bits  # v4-mapped: what a dual socket shows as IPv4
    return network.version == 6, value, host_bits


class TokenBucket:
    """`rate.count` at once, then one each `rate.seconds / rate.count`."""

    __slots__ = ("_depth", "_per_second", "_stamp", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._depth = float(rate.count)
        self._per_second = rate.count / rate.seconds
        self._tokens = self._depth
        self._stamp = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none."""
        tokens = self._tokens + (now - self._stamp) * self._per_second
        self._stamp = now
        if tokens > self._depth:
            tokens = self._depth
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


class Admission:
    """Decides whether a newcomer may come in. It counts live flows; it does not count refusals."""

    __slots__ = ("_allowed", "_buckets", "_open", "_total", "active", "entry")

    def __init__(self, entry: Entry) -> None:
        """Raises ValueError for a source that is no prefix."""
        self.active = 0
        self._buckets: dict[str | int, TokenBucket] = {}
        self._total: TokenBucket | None = None
        self._allowed: PrefixSet | None = None
        self._read(entry, None)

    def update(self, entry: Entry) -> None:
        """Go by new terms. Buckets of an unchanged rate keep their fill.

        Raises:
            ValueError: a source is no prefix; nothing has changed then.
        """
        self._read(entry, self.entry)

    def _read(self, entry: Entry, old: Entry | None) -> None:
        self._allowed = None if entry.sources is None else _shared_set(entry.sources)
        self.entry = entry
        if old is not None and old.rate_total != entry.rate_total:
            self._total = None
        if old is not None and old.rate_per_source != entry.rate_per_source:
            self._buckets = {}
        limits = (entry.accept_until, entry.max_connections, entry.rate_per_source, entry.rate_total)
        self._open = self._allowed is None and limits == (None, None, None, None)

    def allows(self, source: str) -> bool:
        """Whether the allowlist has this `plain` address, or it is `LOCAL` (rates and limits aside)."""
        return self._allowed is None or source == LOCAL or source in self._allowed

    def admit(self, source: str, now: float, wall: float) -> Refusal | None:
        """Let one flow of a `plain` address in (None; `release` it later), or say why not."""
        if not self._open:
            cause = self._refusal(source, now, wall)
            if cause is not None:
                return cause
        self.active += 1
        return None

    def release(self) -> None:
        """An admitted flow has ended."""
        self.active -= 1

    def _refusal(self, source: str, now: float, wall: float) -> Refusal | None:
        entry = self.entry
        if entry.accept_until is not None and wall >= entry.accept_until:
            return "expired"
        if not self.allows(source):
            return "source"
        if entry.max_connections is not None and self.active >= entry.max_connections:
            return "limit"
        # The source's own rate comes first, so that one source cannot use up everybody's.
        own = entry.rate_per_source
        if own is not None and not self._bucket(source, own, now).take(now):
            return "rate"
        if entry.rate_total is not None:
            if self._total is None:
                self._total = TokenBucket(entry.rate_total, now)
            if not self._total.take(now):
                return "rate"
        return None

    def _bucket(self, source: str, rate: Rate, now: float) -> TokenBucket:
        # An IPv6 host has a /64 of addresses to come from, so that is what counts as one source.
        key = source if ":" not in source else number(source)[1] >> 64
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_KEPT:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = TokenBucket(rate, now)
        return bucket
