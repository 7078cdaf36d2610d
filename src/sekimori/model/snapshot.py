"""All mappings and lists at one moment, indexed for the questions policy asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sekimori.model.address import IPNetwork, IpProtocol, looks_like_ports, parse_ports
from sekimori.model.causes import near
from sekimori.model.decision import Made, NamedList
from sekimori.model.errors import Problem
from sekimori.model.mapping import Claim, Mapping

__all__ = ["Snapshot"]

_NARROW: Final = 64
"""Ranges up to this size are indexed port by port; wider ones, which are few, are scanned."""

_Key = tuple[IpProtocol, int]


class Snapshot:
    """The mappings and lists of a ledger. `fork` gives a copy to try changes on.

    One owner changes it (the ledger after a commit, or whoever forked it).
    """

    def __init__(self, mappings: Iterable[Mapping] = (), lists: Iterable[NamedList] = ()) -> None:
        self._by_id: dict[str, Mapping] = {}
        self._ids_by_name: dict[str, str] = {}
        self._narrow: dict[_Key, tuple[str, ...]] = {}
        self._wide: dict[str, None] = {}
        self._lists: dict[str, NamedList] = {named.name: named for named in lists}
        for mapping in mappings:
            self._put(mapping)

    def fork(self) -> Snapshot:
        """A copy that may be changed without touching this one."""
        copy = Snapshot()
        copy._by_id = dict(self._by_id)
        copy._ids_by_name = dict(self._ids_by_name)
        copy._narrow = dict(self._narrow)
        copy._wide = dict(self._wide)
        copy._lists = dict(self._lists)
        return copy

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def lists(self) -> dict[str, tuple[IPNetwork, ...]]:
        """The prefixes of every named list."""
        return {name: named.prefixes for name, named in self._lists.items()}

    @property
    def named_lists(self) -> tuple[NamedList, ...]:
        """Every named list with its owner."""
        return tuple(self._lists.values())

    def list_named(self, name: str) -> NamedList | None:
        """The named list, if there is one."""
        return self._lists.get(name)

    def get(self, mapping_id: str) -> Mapping | None:
        """The mapping of an id."""
        return self._by_id.get(mapping_id)

    def named(self, name: str) -> Mapping | None:
        """The mapping of a name, whatever its case."""
        found = self._ids_by_name.get(name.lower())
        return None if found is None else self._by_id[found]

    def find(self, ref: str) -> Mapping:
        """The mapping meant by an id, a name, or the outside port it alone holds.

        The id comes first: asks made by the program go by it, and nobody's choice of a name
        may turn them to another mapping.

        Raises:
            Problem: `no-such-mapping`.
        """
        found = self._by_id.get(ref) or self.named(ref) or self._find_by_port(ref)
        if found is None:
            alike = sorted(name for name in self._ids_by_name if ref.lower()[:3] in name)[:3] if ref else []
            raise Problem("no-such-mapping", ref=ref, near=near(alike))
        return found

    def rivals(self, mapping: Mapping) -> Iterator[tuple[Mapping, Claim, Claim]]:
        """Other mappings whose claims overlap: (the other, our claim, theirs)."""
        for claim in mapping.claims:
            for other_id in self._candidates(claim):
                if other_id == mapping.id:
                    continue
                other = self._by_id[other_id]
                for theirs in other.claims:
                    if claim.overlaps(theirs):
                        yield other, claim, theirs

    def apply(self, change: Made) -> None:
        """Take one change in."""
        if isinstance(change.subject, NamedList):
            self._lists.pop(change.subject.name, None)
            if isinstance(change.after, NamedList):
                self._lists[change.after.name] = change.after
            return
        if isinstance(change.before, Mapping):
            self._drop(change.before)
        if isinstance(change.after, Mapping):
            self._put(change.after)

    def _put(self, mapping: Mapping) -> None:
        self._by_id[mapping.id] = mapping
        self._ids_by_name[mapping.name.lower()] = mapping.id
        for key in _keys(mapping):
            self._narrow[key] = (*self._narrow.get(key, ()), mapping.id)
        if _is_wide(mapping):
            self._wide[mapping.id] = None

    def _drop(self, mapping: Mapping) -> None:
        held = self._by_id.pop(mapping.id, None)
        if held is None:
            return
        if self._ids_by_name.get(held.name.lower()) == held.id:
            del self._ids_by_name[held.name.lower()]
        for key in _keys(held):
            left = tuple(each for each in self._narrow[key] if each != held.id)
            if left:
                self._narrow[key] = left
            else:
                del self._narrow[key]
        self._wide.pop(held.id, None)

    def _candidates(self, claim: Claim) -> Iterable[str]:
        outside = claim.pair.outside
        if outside.size > _NARROW:
            return list(self._by_id)
        found = dict.fromkeys(self._wide)
        for port in outside:
            found.update(dict.fromkeys(self._narrow.get((claim.pair.protocol, port), ())))
        return found

    def _find_by_port(self, ref: str) -> Mapping | None:
        if not looks_like_ports(ref):
            return None
        try:
            specs = parse_ports(ref)
        except Problem:
            return None
        if len(specs) != 1:
            return None
        holders = [
            m for m in self._by_id.values() if any(pair.outside == specs[0].outside for pair in m.ports)
        ]
        if "/" in ref:
            holders = [m for m in holders if any(pair.protocol in specs[0].protocols for pair in m.ports)]
        return holders[0] if len(holders) == 1 else None


def _keys(mapping: Mapping) -> Iterator[_Key]:
    for pair in mapping.ports:
        if pair.outside.size <= _NARROW:
            for port in pair.outside:
                yield pair.protocol, port


def _is_wide(mapping: Mapping) -> bool:
    return any(pair.outside.size > _NARROW for pair in mapping.ports)
