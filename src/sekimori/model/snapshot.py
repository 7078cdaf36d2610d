"""All mappings, lists and settings at one moment, indexed for the questions policy asks."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Mapping as MappingABC
from types import MappingProxyType
from typing import TypeVar
from weakref import WeakSet

from sekimori.model.address import IPNetwork, IpProtocol, On, PortRange, looks_like_ports, parse_ports
from sekimori.model.causes import near
from sekimori.model.claim import Claim
from sekimori.model.decision import Made, NamedList, Setting
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.gateway import Ban, Gateway
from sekimori.model.index import Index
from sekimori.model.link import Link
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.permission import Permissions
from sekimori.model.target import Target, TargetKind
from sekimori.model.user import User

__all__ = ["Snapshot"]

_K = TypeVar("_K")
_V = TypeVar("_V")


class Snapshot:
    """The mappings, lists, bans and the gateway of a ledger. `fork` gives a copy to try changes on.

    One owner changes it (the ledger after a commit, or whoever forked it). A fork is an overlay: it
    holds what was changed since, and reads the rest through to its parent. Of what the parent changes
    while a fork lives, the fork is given the value from before; so neither sees the other's changes, and
    neither forking nor changing costs more with more mappings.
    """

    def __init__(
        self,
        mappings: Iterable[Mapping] = (),
        lists: Iterable[NamedList] = (),
        settings: Iterable[Setting] = (),
    ) -> None:
        self._parent: Snapshot | None = None
        self._hidden: set[str] = set()
        """Ids that the parent is not asked about: each is here, or gone."""
        self._own = Index()
        self._forks: WeakSet[Snapshot] = WeakSet()
        self._lists: MappingABC[str, NamedList] = {named.name: named for named in lists}
        self._prefixes = _prefixes(self._lists)
        self._gateway: Gateway | None = None
        self._bans: MappingABC[IPNetwork, Ban] = MappingProxyType({})
        self._doors: MappingABC[DoorName, Door] = MappingProxyType({})
        self._permissions: Permissions | None = None
        self._links: MappingABC[str, Link] = MappingProxyType({})
        self._users: MappingABC[str, User] = MappingProxyType({})
        self._take_settings(settings)
        for mapping in mappings:
            self._own.put(mapping)

    def fork(self) -> Snapshot:
        """A copy that may be changed without touching this one. It costs the same at any size."""
        copy = Snapshot()
        copy._parent = self
        copy._lists, copy._prefixes = self._lists, self._prefixes
        copy._gateway, copy._bans = self._gateway, self._bans
        copy._doors, copy._permissions = self._doors, self._permissions
        copy._links, copy._users = self._links, self._users
        self._forks.add(copy)
        return copy

    def __iter__(self) -> Iterator[Mapping]:
        if self._parent is not None:
            yield from self._seen(self._parent)
        yield from self._own.by_id.values()

    def __len__(self) -> int:
        if self._parent is None:
            return len(self._own.by_id)
        hidden = sum(self._parent.get(key) is not None for key in self._hidden)
        return len(self._parent) - hidden + len(self._own.by_id)

    @property
    def lists(self) -> MappingABC[str, tuple[IPNetwork, ...]]:
        """The prefixes of every named list; the same object until a list is changed."""
        return self._prefixes

    @property
    def named_lists(self) -> tuple[NamedList, ...]:
        """Every named list with its owner."""
        return tuple(self._lists.values())

    def list_named(self, name: str) -> NamedList | None:
        """The named list, if there is one."""
        return self._lists.get(name)

    @property
    def gateway(self) -> Gateway | None:
        """The gateway as it was enabled; None where this machine is none."""
        return self._gateway

    @property
    def bans(self) -> MappingABC[IPNetwork, Ban]:
        """Every ban by its prefix; the same object until a ban is changed."""
        return self._bans

    @property
    def doors(self) -> MappingABC[DoorName, Door]:
        """The doors that are enabled; the same object until one is changed."""
        return self._doors

    @property
    def permissions(self) -> Permissions | None:
        """The rules by which devices may open ports; None where nobody wrote any."""
        return self._permissions

    @property
    def links(self) -> MappingABC[str, Link]:
        """Every link by its name; the same object until a link is changed."""
        return self._links

    @property
    def users(self) -> MappingABC[str, User]:
        """The users of the SSH door by name; the same object until one is changed."""
        return self._users

    def get(self, mapping_id: str) -> Mapping | None:
        """The mapping of an id."""
        found = self._own.by_id.get(mapping_id)
        if found is None and self._parent is not None and mapping_id not in self._hidden:
            return self._parent.get(mapping_id)
        return found

    def named(self, name: str) -> Mapping | None:
        """The mapping of a name, whatever its case; of several in a draft, the one put in last."""
        return next(self.namesakes(name), None)

    def namesakes(self, name: str) -> Iterator[Mapping]:
        """Every mapping of a name: one or none, but in a draft that policy has not looked at yet."""
        key = name.lower()
        yield from self._own.named(key)
        if self._parent is not None:
            yield from self._seen(self._parent.namesakes(key))

    def claiming(self, protocol: IpProtocol, port: int) -> Iterator[Mapping]:
        """The mappings that claim an outside port of this machine, on whatever address."""
        for mapping in self._near(protocol, PortRange(port, port)):
            held = (pair.protocol is protocol and port in pair.outside for pair in mapping.ports)
            if mapping.at is None and any(held):
                yield mapping

    def by_plane(self, plane: str) -> Collection[Mapping]:
        """The mappings whose packets a plane meets. Look through it before anything changes."""
        if self._parent is None:
            return self._own.on_plane(plane)
        return [*self._seen(self._parent.by_plane(plane)), *self._own.on_plane(plane)]

    def beyond(self, plane: str) -> Collection[Mapping]:
        """The mappings of other planes that have a hop of this one too; likewise."""
        if self._parent is None:
            return self._own.beyond(plane)
        return [*self._seen(self._parent.beyond(plane)), *self._own.beyond(plane)]

    def leading_to(self, target: Target) -> Collection[Mapping]:
        """The mappings that lead to a name, a device, or anything else that may move.

        Look through it before anything changes.
        """
        if self._parent is None:
            return self._own.leading_to(target)
        return [*self._seen(self._parent.leading_to(target)), *self._own.leading_to(target)]

    def leaseholders(self) -> set[Owner]:
        """Every device that holds a lease."""
        if self._parent is None:
            return set(self._own.leaseholders)
        inherited = {owner for owner in self._parent.leaseholders() if self.leases_of(owner)}
        return inherited.union(self._own.leaseholders)

    def leases_of(self, owner: Owner) -> Collection[Mapping]:
        """The leases of a device. Look through it before anything changes."""
        if self._parent is None:
            return self._own.leases_of(owner)
        return [*self._seen(self._parent.leases_of(owner)), *self._own.leases_of(owner)]

    def leases_at(self, protocol: IpProtocol, host: str, port: int) -> Iterator[Mapping]:
        """The leases that begin at an inside port of a host, whoever has them."""
        if self._parent is not None:
            yield from self._seen(self._parent.leases_at(protocol, host, port))
        yield from self._own.leases_at(protocol, host, port)

    def hosts(self, kind: TargetKind) -> set[str]:
        """The hosts of every target of a kind that may move (`NAME`, say)."""
        return {target.host for target in self._moving() if target.kind is kind}

    def find(self, ref: str) -> Mapping:
        """The mapping meant by an id, a name, or the outside port it alone holds.

        The id comes first: asks made by the program go by it, and nobody's choice of a name
        may turn them to another mapping.

        Raises:
            Problem: `no-such-mapping`.
        """
        found = self.get(ref) or self.named(ref) or self._find_by_port(ref)
        if found is None:
            raise Problem("no-such-mapping", ref=ref, near=near(self._alike(ref)))
        return found

    def rivals(self, mapping: Mapping) -> Iterator[tuple[Mapping, Claim, Claim]]:
        """Other mappings whose claims overlap: (the other, our claim, theirs)."""
        for claim in mapping.claims:
            # Few addresses, and perhaps very many mappings on each: whether two meet is worked out once.
            meets: dict[tuple[On | None, bool, str | None], bool] = {}
            for other in self._near(claim.pair.protocol, claim.pair.outside):
                place = other.place
                met = meets.get(place)
                if met is None:
                    met = meets[place] = claim.overlaps(Claim(claim.pair, *place))
                if not met or other.id == mapping.id:
                    continue
                for theirs in other.claims:
                    if claim.overlaps(theirs):
                        yield other, claim, theirs

    def apply(self, change: Made) -> None:
        """Take one change in."""
        if isinstance(change.subject, NamedList):
            self._define(change.subject.name, change.after)
            return
        if not isinstance(change.subject, Mapping):
            self._apply_setting(change.subject, change.after)
            return
        if isinstance(change.before, Mapping):
            self._replace(change.before.id, None)
        if isinstance(change.after, Mapping):
            self._replace(change.after.id, change.after)

    def _apply_setting(self, subject: Setting, after: object) -> None:
        match subject:
            case Gateway():
                self._gateway = after if isinstance(after, Gateway) else None
            case Permissions():
                self._permissions = after if isinstance(after, Permissions) else None
            case Ban():
                self._bans = _with(self._bans, subject.prefix, after if isinstance(after, Ban) else None)
            case Door():
                self._doors = _with(self._doors, subject.door, after if isinstance(after, Door) else None)
            case Link():
                self._links = _with(self._links, subject.name, after if isinstance(after, Link) else None)
            case User():
                self._users = _with(self._users, subject.name, after if isinstance(after, User) else None)

    def _define(self, name: str, after: object) -> None:
        # Forks share the tables of their parent, so these are replaced and never changed.
        lists = {key: named for key, named in self._lists.items() if key != name}
        if isinstance(after, NamedList):
            lists[name] = after
        self._lists, self._prefixes = lists, _prefixes(lists)

    def _take_settings(self, settings: Iterable[Setting]) -> None:
        bans: dict[IPNetwork, Ban] = {}
        doors: dict[DoorName, Door] = {}
        links: dict[str, Link] = {}
        users: dict[str, User] = {}
        for setting in settings:
            match setting:
                case Gateway():
                    self._gateway = setting
                case Permissions():
                    self._permissions = setting
                case Door():
                    doors[setting.door] = setting
                case Ban():
                    bans[setting.prefix] = setting
                case Link():
                    links[setting.name] = setting
                case User():
                    users[setting.name] = setting
        self._bans, self._doors = MappingProxyType(bans), MappingProxyType(doors)
        self._links, self._users = MappingProxyType(links), MappingProxyType(users)

    def _replace(self, mapping_id: str, after: Mapping | None) -> None:
        before = self.get(mapping_id)
        for fork in self._forks:
            fork._keep(mapping_id, before)
        if mapping_id in self._own.by_id:
            self._own.drop(mapping_id)
        if self._parent is not None:
            self._hidden.add(mapping_id)
        if after is not None:
            self._own.put(after)

    def _keep(self, mapping_id: str, before: Mapping | None) -> None:
        """Hold on to what the parent is about to change, unless it was changed here."""
        if mapping_id in self._hidden:
            return
        self._hidden.add(mapping_id)
        if before is not None:
            self._own.put(before)

    def _seen(self, of_parent: Iterable[Mapping]) -> Iterator[Mapping]:
        return (mapping for mapping in of_parent if mapping.id not in self._hidden)

    def _near(self, protocol: IpProtocol, ports: PortRange) -> Iterator[Mapping]:
        if self._parent is not None:
            yield from self._seen(self._parent._near(protocol, ports))
        yield from self._own.near(protocol, ports)

    def _moving(self) -> set[Target]:
        if self._parent is None:
            return set(self._own.moving_targets)
        inherited = {target for target in self._parent._moving() if self.leading_to(target)}
        return inherited.union(self._own.moving_targets)

    def _find_by_port(self, ref: str) -> Mapping | None:
        if not looks_like_ports(ref):
            return None
        try:
            specs = parse_ports(ref)
        except Problem:
            return None
        if len(specs) != 1:
            return None
        outside, protocols = specs[0].outside, specs[0].protocols
        if "/" not in ref and protocols[0].has_ports:  # none was said
            protocols = tuple(protocol for protocol in IpProtocol if protocol.has_ports)
        holders = {
            mapping.id: mapping
            for protocol in protocols
            for mapping in self._near(protocol, outside)
            if any(pair.protocol is protocol and pair.outside == outside for pair in mapping.ports)
        }
        return next(iter(holders.values())) if len(holders) == 1 else None

    def _alike(self, ref: str) -> list[str]:
        """The first names that hold the beginning of `ref`."""
        start = ref.lower()[:3]
        alike = self._names_with(start) if start else set()
        return heapq.nsmallest(3, (name for name in alike if self.named(name) is not None))

    def _names_with(self, part: str) -> set[str]:
        """Every name in lower case that holds `part`; of a fork, also some that are gone."""
        found = {name for name in self._own.names if part in name}
        return found if self._parent is None else found | self._parent._names_with(part)


def _with(table: MappingABC[_K, _V], key: _K, value: _V | None) -> MappingABC[_K, _V]:
    """Another table with a value in place of what a key had, or with None without it.

    Forks share the tables of their parent, so these are replaced and never changed.
    """
    kept = {each: held for each, held in table.items() if each != key}
    return MappingProxyType(kept if value is None else {**kept, key: value})


def _prefixes(lists: MappingABC[str, NamedList]) -> MappingABC[str, tuple[IPNetwork, ...]]:
    return MappingProxyType({name: named.prefixes for name, named in lists.items()})
