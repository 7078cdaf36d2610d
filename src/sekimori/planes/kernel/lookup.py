"""Finding the few flows that some extents cover, and the few extents that cover a flow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from sekimori.planes.kernel.extent import Extent, Opening
from sekimori.planes.kernel.places import Places, Prefixes
from sekimori.wire.conntrack import IPV4, IPV6, Entry, Filter

__all__ = ["BOTH", "EVERYTHING", "FEW_PORTS", "Index", "Question", "questions"]

T = TypeVar("T")

FEW_PORTS: Final = 16
"""Ranges up to this size are indexed port by port, wider ones by blocks of 256."""

_MOST_QUESTIONS: Final = 4
"""The kernel walks its whole table for each question, and only the telling is saved: above so many,
one question for everything costs no more."""


BOTH: Final = 0
"""Stands for both families where nothing is filtered: one walk over conntrack's one table, not two."""


class Question(NamedTuple):
    """What to ask conntrack for: a family, and what it need not tell."""

    family: int
    only: Filter | None


EVERYTHING: Final = (Question(BOTH, None),)
"""All flows there are."""


def questions(extents: Iterable[Extent]) -> tuple[Question, ...]:
    """What to ask conntrack for, to be told every flow that some extents cover, and few others."""
    openings = [opening for extent in extents for opening in extent.openings]
    exact: dict[Question, None] = {}
    for opening in openings:
        exact.update(dict.fromkeys(_questions(opening)))
        if len(exact) > _MOST_QUESTIONS:
            break
    else:
        return tuple(exact)
    families = {question.family for opening in openings for question in _questions(opening)}
    return EVERYTHING if len(families) > 1 else tuple(Question(family, None) for family in families)


class Index(Generic[T]):
    """Finds, among thousands of extents, the few that may cover a flow."""

    def __init__(self) -> None:
        self._by_port: dict[tuple[int, int], list[T]] = {}
        self._by_block: dict[tuple[int, int], list[T]] = {}
        self._whole: dict[int | None, list[T]] = {}

    def add(self, extent: Extent, item: T) -> None:
        """Have `item` found for flows that `extent` may cover."""
        for opening in extent.openings:
            protocol, ports = opening.protocol, opening.ports
            if protocol is None or ports is None:
                _append(self._whole.setdefault(protocol, []), item)
            elif ports.size <= FEW_PORTS:
                for port in ports:
                    _append(self._by_port.setdefault((protocol, port), []), item)
            else:
                for block in range(ports.first >> 8, (ports.last >> 8) + 1):
                    _append(self._by_block.setdefault((protocol, block), []), item)

    def near(self, entry: Entry) -> Iterator[T]:
        """Items whose extents may cover a flow."""
        protocol, port = entry.protocol, entry.original.destination_port
        if port is not None:
            yield from self._by_port.get((protocol, port), ())
            yield from self._by_block.get((protocol, port >> 8), ())
        yield from self._whole.get(protocol, ())
        yield from self._whole.get(None, ())


def _append(items: list[T], item: T) -> None:
    # One mapping has an opening for each family, and is found once.
    if not items or items[-1] is not item:
        items.append(item)


def _questions(opening: Opening) -> Iterator[Question]:
    ports, places, protocol = opening.ports, opening.destinations, opening.protocol
    port = ports.first if ports is not None and ports.size == 1 else None
    if 16 in _sizes(places):
        # No address: Linux tells all flows but the one's asked for (6.18; `ctnetlink_filter_match_tuple`
        # reads the answer of `ipv6_addr_cmp` the wrong way round).
        yield Question(IPV6, _filter(protocol, None, port))
    there = [each for each in places if len(each) == 4] if isinstance(places, frozenset) else []
    if len(there) > 1 and port is not None:
        yield Question(IPV4, _filter(protocol, None, port))
    else:
        yield from (Question(IPV4, _filter(protocol, address, port)) for address in there)


def _sizes(places: Places) -> frozenset[int]:
    """Of the packed addresses that are meant."""
    if isinstance(places, frozenset):
        return frozenset(map(len, places))
    return frozenset(places.sizes) if isinstance(places, Prefixes) else frozenset({16})


def _filter(protocol: int | None, destination: bytes | None, port: int | None) -> Filter | None:
    only = Filter(protocol=protocol, destination=destination, destination_port=port)
    return None if only == Filter() else only
