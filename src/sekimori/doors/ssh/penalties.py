"""Sources that fail to log in wait longer each time. Pure: time is an argument.

Who only connects and leaves, or resets, is not counted: behind one address may be many, and to be pressed out
of the queue by others is no fault.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sekimori.model.address import IPAddress, IPNetwork

__all__ = ["FREE", "LONGEST", "Penalties", "source_of"]

FREE: Final = 3
"""Failures that cost nothing: an agent with many keys, a name mistyped."""
_FIRST: Final = 1.0
LONGEST: Final = 600.0
"""Seconds that a source waits after its first failure that counts, doubled by each; and at most."""
_FORGET: Final = 1800.0
"""Seconds after which all is forgotten of a source that did not fail again."""


def source_of(address: IPAddress) -> IPNetwork:
    """Whom an address is counted as: itself, or of IPv6 its /64, which one host may have all of."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    length = 32 if address.version == 4 else 64
    return ipaddress.ip_network((address, length), strict=False)


@dataclass(slots=True)
class _Standing:
    failures: int
    until: float
    at: float


class Penalties:
    """What sources have brought upon themselves.

    Args:
        exempt: sources that never wait.
        most: how many are remembered; who failed longest ago is forgotten first.
    """

    def __init__(self, exempt: tuple[IPNetwork, ...] = (), most: int = 65_536) -> None:
        self._exempt = exempt
        self._most = most
        self._known: OrderedDict[IPNetwork, _Standing] = OrderedDict()

    def is_shut_out(self, source: IPNetwork, now: float) -> bool:
        """Whether nobody from there is listened to yet."""
        standing = self._known.get(source)
        return standing is not None and now < standing.until

    def fail(self, source: IPNetwork, now: float) -> float:
        """Somebody from there failed to log in; for how many seconds none is listened to."""
        if any(_covers(each, source) for each in self._exempt):
            return 0.0
        before = self._known.pop(source, None)
        failures = 1 if before is None or now - before.at > _FORGET else before.failures + 1
        counted = failures - FREE
        wait = 0.0 if counted <= 0 else min(LONGEST, _FIRST * 2.0 ** min(counted - 1, 16))
        self._known[source] = _Standing(failures, now + wait, now)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return wait

    def succeed(self, source: IPNetwork) -> None:
        """Somebody from there logged in: what was, is forgotten."""
        self._known.pop(source, None)

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._known)


def _covers(prefix: IPNetwork, source: IPNetwork) -> bool:
    return source.network_address in prefix and prefix.prefixlen <= source.prefixlen
