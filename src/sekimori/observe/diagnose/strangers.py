"""Sets of addresses, and how much of the internet they hold.

Most mappings are for anyone, so the source of a packet is not one address. A *stranger* is some address
of the internet: it is in a set that holds nearly all of it, not in one that holds next to none (a private
prefix, a list of banned hosts, the prefix of an office), and perhaps in one in between (a country).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.truth import Truth

__all__ = ["Span", "Stranger", "address_span", "holds"]

_NEARLY_ALL: Final = 0.8  # of IPv4, about 0.86 is in unicast use on the internet (RFC 6890)
_NEXT_TO_NONE: Final = 1 / 256  # one /8: the largest block that one holder ever had
_INTERNET: Final = {4: (0, 2**32 - 1), 6: (0x2000 << 112, (0x4000 << 112) - 1)}  # 2000::/3 (RFC 4291)


@dataclass(frozen=True, slots=True)
class Stranger:
    """Some address of the internet, of this IP version, and none in particular."""

    version: int


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses from first to last, as numbers."""

    version: int
    first: int
    last: int


@lru_cache(maxsize=65536)
def _prefix(text: str, length: int | None) -> Span | None:
    try:
        network = ipaddress.ip_network(text if length is None else f"{text}/{length}", strict=False)
    except ValueError:
        return None
    return Span(network.version, int(network.network_address), int(network.broadcast_address))


def address_span(expression: Any) -> Span | None:
    """The addresses that an element of a set stands for; None when it is not about addresses."""
    if isinstance(expression, str):
        return _prefix(expression, None)
    if isinstance(expression, dict) and "prefix" in expression:
        return _prefix(str(expression["prefix"]["addr"]), int(expression["prefix"]["len"]))
    if isinstance(expression, dict) and "range" in expression:
        first, last = (address_span(each) for each in expression["range"])
        if first is not None and last is not None:
            return Span(first.version, first.first, last.last)
    return None


def holds(spans: Iterable[Span], who: IPAddress | Stranger) -> Truth:
    """Whether an address, or a stranger's, is among these."""
    if not isinstance(who, Stranger):
        number = int(who)
        return Truth.of(
            any(each.version == who.version and each.first <= number <= each.last for each in spans)
        )
    share = sum(_share(each) for each in spans if each.version == who.version)
    if share >= _NEARLY_ALL:
        return Truth.YES
    return Truth.NO if share <= _NEXT_TO_NONE else Truth.MAYBE


def _share(span: Span) -> float:
    """Which part of the internet's addresses a span holds."""
    low, high = _INTERNET[span.version]
    first, last = max(span.first, low), min(span.last, high)
    if first > last or _is_special(span):
        return 0.0
    return (last - first + 1) / (high - low + 1)


def _is_special(span: Span) -> bool:
    """Whether all of it lies in one block that no packet on the internet comes from."""
    return any(
        span.version == each.version and each.first <= span.first and span.last <= each.last
        for each in _SPECIAL
    )


_SPECIAL: Final = tuple(
    span
    for text in (
        "0.0.0.0/8",  # RFC 6890, "this network"
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
    if (span := _prefix(text, None)) is not None
)
