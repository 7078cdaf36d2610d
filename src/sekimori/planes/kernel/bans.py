"""Who is banned, and until when, as prefixes that do not overlap. Pure.

An interval set cannot hold a prefix within another, and nftables' own merging (`auto-merge`) gives the union
the end of one of them: a ban for good within one for a minute would be over in a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sekimori.model.address import IPNetwork
from sekimori.model.gateway import Ban

__all__ = ["Kept", "keep_apart"]


class Kept(NamedTuple):
    """A prefix that is kept out, until then (Unix seconds; None is for good)."""

    prefix: IPNetwork
    until: int | None


def keep_apart(bans: Iterable[Ban], family: int) -> Iterator[Kept]:
    """The bans of one family, each address in the one that lasts longest.

    Prefixes lie within each other or apart, so in the order of their addresses, wider ones first, whatever
    a prefix is within stands on a stack.
    """
    nodes = sorted((ban for ban in bans if ban.prefix.version == family), key=lambda ban: _order(ban.prefix))
    stack: list[tuple[Ban, list[IPNetwork]]] = []
    for ban in nodes:
        while stack and not _within(ban.prefix, stack[-1][0].prefix):
            yield from _close(stack)
        if stack and _end(ban) <= _end(stack[-1][0]):
            continue  # what it is within lasts as long
        stack.append((ban, []))
    while stack:
        yield from _close(stack)


def _close(stack: list[tuple[Ban, list[IPNetwork]]]) -> Iterator[Kept]:
    """Take the last off: all of it but what lasts longer, which its own parent has to leave out as well."""
    ban, holes = stack.pop()
    if stack:
        stack[-1][1].append(ban.prefix)
    for prefix in _without(ban.prefix, holes):
        yield Kept(prefix, ban.expires_at)


def _without(prefix: IPNetwork, holes: list[IPNetwork]) -> Iterator[IPNetwork]:
    if not holes:
        yield prefix
        return
    if any(hole == prefix for hole in holes):
        return
    for half in prefix.subnets():
        yield from _without(half, [hole for hole in holes if _within(hole, half)])


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    shift = outer.max_prefixlen - outer.prefixlen
    return (
        inner.prefixlen >= outer.prefixlen
        and int(inner.network_address) >> shift == int(outer.network_address) >> shift
    )


def _order(prefix: IPNetwork) -> tuple[int, int]:
    return int(prefix.network_address), prefix.prefixlen


def _end(ban: Ban) -> float:
    return float("inf") if ban.expires_at is None else ban.expires_at
