"""Mappings in tables: by id, name, outside port, plane, and a target that may move."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, TypeVar

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.target import Target, TargetKind

__all__ = ["Index"]

_K = TypeVar("_K")

_Ids = dict[_K, str | tuple[str, ...]]
"""Ids by key. One alone stands as it is: a tuple around each would cost more than the table itself."""

_NARROW: Final = 64
"""Ranges up to this size are indexed port by port, wider ones by the blocks they touch."""
_BLOCK: Final = 10
"""Bits of a port within its block. Apart from each other, at most 16 wide ranges fit in one block."""

# The keys of ports are plain numbers, which are smaller and hash faster than tuples.
_BASE: Final = {protocol: number << 16 for number, protocol in enumerate(IpProtocol)}
_STILL: Final = frozenset({TargetKind.ADDRESS, TargetKind.SELF, TargetKind.UNIX})


class Index:
    """Mappings, each once, and the tables they are found by. Of two with one name both are known."""

    def __init__(self) -> None:
        self.by_id: dict[str, Mapping] = {}
        """In the order in which they were put."""
        self._names: _Ids[str] = {}
        self._narrow: _Ids[int] = {}
        self._wide: _Ids[int] = {}
        self._planes: dict[str, dict[str, Mapping]] = {}
        self._beyond: dict[str, dict[str, Mapping]] = {}
        self._targets: dict[Target, dict[str, Mapping]] = {}
        self._leases: dict[Owner, dict[str, Mapping]] = {}
        self._insides: _Ids[tuple[IpProtocol, str, int]] = {}

    @property
    def names(self) -> Collection[str]:
        """Every name in lower case."""
        return self._names.keys()

    @property
    def moving_targets(self) -> Collection[Target]:
        """Every target that is not one address for good, and is looked up here."""
        return self._targets.keys()

    def put(self, mapping: Mapping) -> None:
        """Take in a mapping whose id is not here."""
        key = mapping.id
        self.by_id[key] = mapping
        _add(self._names, _name_key(mapping), key)
        for pair in mapping.ports:
            if pair.outside.first == pair.outside.last:  # most hold one port
                _add(self._narrow, _BASE[pair.protocol] + pair.outside.first, key)
                continue
            table, places = self._places(pair)
            for place in places:
                _add(table, place, key)
        if mapping.path:
            self._planes.setdefault(mapping.plane, {})[key] = mapping
        for plane in _beyond(mapping):
            self._beyond.setdefault(plane, {})[key] = mapping
        if _may_move(mapping):
            self._targets.setdefault(mapping.target, {})[key] = mapping
        if mapping.lease is not None:
            self._leases.setdefault(mapping.owner, {})[key] = mapping
            for inside in _insides(mapping):
                _add(self._insides, inside, key)

    def drop(self, mapping_id: str) -> None:
        """Take out a mapping that is here."""
        mapping = self.by_id.pop(mapping_id)
        _take(self._names, _name_key(mapping), mapping_id)
        for pair in mapping.ports:
            table, places = self._places(pair)
            for place in places:
                _take(table, place, mapping_id)
        if mapping.path:
            _take_member(self._planes, mapping.plane, mapping_id)
        for plane in _beyond(mapping):
            _take_member(self._beyond, plane, mapping_id)
        if _may_move(mapping):
            _take_member(self._targets, mapping.target, mapping_id)
        if mapping.lease is not None:
            _take_member(self._leases, mapping.owner, mapping_id)
            for inside in _insides(mapping):
                _take(self._insides, inside, mapping_id)

    def named(self, name: str) -> Iterator[Mapping]:
        """The mappings of a name in lower case, the one put in last first."""
        for key in reversed(_ids(self._names.get(name, ()))):
            yield self.by_id[key]

    def near(self, protocol: IpProtocol, ports: PortRange) -> Iterator[Mapping]:
        """Each mapping that may hold one of these ports, on whatever address; perhaps others beside."""
        first, last = _BASE[protocol] + ports.first, _BASE[protocol] + ports.last
        seen = set[str]()
        for table, keys in (
            (self._wide, range(first >> _BLOCK, (last >> _BLOCK) + 1)),
            (self._narrow, range(first, last + 1)),
        ):
            for key in _among(table, keys):
                for mapping_id in _ids(table[key]):
                    if mapping_id not in seen:
                        seen.add(mapping_id)
                        yield self.by_id[mapping_id]

    def on_plane(self, plane: str) -> Collection[Mapping]:
        """The mappings whose packets a plane meets (`Mapping.plane`)."""
        return self._planes.get(plane, {}).values()

    def beyond(self, plane: str) -> Collection[Mapping]:
        """The mappings of other planes that have a hop of this one too."""
        return self._beyond.get(plane, {}).values()

    def leading_to(self, target: Target) -> Collection[Mapping]:
        """The mappings that lead to one of `moving_targets`."""
        return self._targets.get(target, {}).values()

    @property
    def leaseholders(self) -> Collection[Owner]:
        """Every device that holds a lease."""
        return self._leases.keys()

    def leases_of(self, owner: Owner) -> Collection[Mapping]:
        """The leases of a device."""
        return self._leases.get(owner, {}).values()

    def leases_at(self, protocol: IpProtocol, host: str, port: int) -> Iterator[Mapping]:
        """The leases that begin at an inside port of a host."""
        for key in _ids(self._insides.get((protocol, host, port), ())):
            yield self.by_id[key]

    def _places(self, pair: PortPair) -> tuple[_Ids[int], range]:
        """Where outside ports are indexed: the table, and the keys in it."""
        first = _BASE[pair.protocol] + pair.outside.first
        last = first + pair.outside.size
        if last - first <= _NARROW:
            return self._narrow, range(first, last)
        return self._wide, range(first >> _BLOCK, ((last - 1) >> _BLOCK) + 1)


def _beyond(mapping: Mapping) -> set[str]:
    """The planes of its hops, but for the one that meets its packets."""
    if len(mapping.path) < 2:  # as of most
        return set()
    return {hop.plane for hop in mapping.path if hop.plane != mapping.plane}


def _may_move(mapping: Mapping) -> bool:
    """Whether it leads to what has to be looked up here, now and then."""
    return mapping.target.kind not in _STILL and not mapping.is_dialled_far


def _insides(mapping: Mapping) -> Iterator[tuple[IpProtocol, str, int]]:
    host = mapping.target.host
    return ((pair.protocol, host, pair.inside.first) for pair in mapping.ports)


def _ids(found: str | tuple[str, ...]) -> tuple[str, ...]:
    return (found,) if isinstance(found, str) else found


def _add(table: _Ids[_K], key: _K, mapping_id: str) -> None:
    held = table.setdefault(key, mapping_id)
    if held is not mapping_id and mapping_id not in _ids(held):  # two of its ranges may meet in a block
        table[key] = (*_ids(held), mapping_id)


def _take(table: _Ids[_K], key: _K, mapping_id: str) -> None:
    left = tuple(each for each in _ids(table.pop(key, ())) if each != mapping_id)
    if left:
        table[key] = left[0] if len(left) == 1 else left


def _take_member(groups: dict[_K, dict[str, Mapping]], key: _K, mapping_id: str) -> None:
    group = groups[key]
    del group[mapping_id]
    if not group:
        del groups[key]


def _among(table: _Ids[int], keys: range) -> Iterable[int]:
    """The keys of a table within a range, in order; at the cost of the smaller of the two."""
    if len(keys) <= len(table):
        return filter(table.__contains__, keys)
    return sorted(filter(keys.__contains__, table))


def _name_key(mapping: Mapping) -> str:
    # `lower` makes a new string even where nothing changes; that of the mapping serves as well.
    key = mapping.name.lower()
    return mapping.name if key == mapping.name else key
