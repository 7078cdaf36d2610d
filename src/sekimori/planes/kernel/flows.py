"""Which tracked flows belong to which mapping, and which of them a change cuts. Pure.

Taking an element out of the table ends nothing: the kernel asks the table about a flow's first packet
only, and what it decided then holds until it forgets the flow. So flows that a change no longer allows
are forgotten by name, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sekimori.model.address import IPNetwork
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.planes.kernel.extent import NOTHING, Extent, Ground
from sekimori.planes.kernel.frame import DMZ_LABEL, FORWARD_LABEL, PERMIT_LABEL
from sekimori.planes.kernel.lookup import FEW_PORTS, Index
from sekimori.planes.kernel.places import NOBODY, Prefixes, prefixes_of
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import Entry

__all__ = [
    "Change",
    "Cutting",
    "Extent",
    "Ground",
    "Standing",
    "Touched",
    "admitted",
    "is_labelled",
    "may_cut",
    "orphans",
    "share_out",
    "to_cut",
]

Change = tuple[Wanted | None, Wanted | None]
"""A mapping as it was and as it is; None is not there."""

_LABELS: Final = 1 << FORWARD_LABEL | 1 << PERMIT_LABEL | 1 << DMZ_LABEL


def is_labelled(entry: Entry) -> bool:
    """Whether a mapping of ours admitted this flow when it began."""
    return bool(entry.labels & _LABELS)


def admitted(entry: Entry, sources: Prefixes | None, banned: Prefixes = NOBODY) -> bool:
    """Whether who began a flow may come in: he is in `sources` (None is anyone) and not banned."""
    source = entry.original.source
    return (sources is None or source in sources) and source not in banned


def may_cut(old: Wanted | None, new: Wanted | None) -> bool:
    """Whether a change can leave flows behind that are to be cut, in whatever network.

    Renewals, limits, names, wider sources cannot; so most changes look at no flow at all.
    """
    if old is None or new is None:
        return old is not new
    return _shape(old) != _shape(new) or not _all_stay(old.sources, new.sources)


def to_cut(
    old: Wanted | None,
    new: Wanted | None,
    entries: Iterable[Entry],
    network: Network,
    standing: Iterable[Wanted] = (),
) -> list[Entry]:
    """The flows among `entries` that a change of one mapping cuts.

    - Flows of the mapping that it has no longer: closed, led elsewhere, port or address given up.
    - Flows of it from those who may no longer come.
    - Where it is opened: what keeps peers from it (`Extent.is_kept_from`).

    What this machine itself sends to a mapping passes no gate, so narrower sources do not cut it; and what
    the LAN sends to a service of this machine is admitted without the mapping too, so closing does not.

    `standing` are the mappings of the plane. They are looked at only where the mapping is a DMZ host or a
    trigger, which get what no other mapping does.
    """
    return Cutting([(old, new)], network, standing).cut(entries)


class Cutting:
    """The flows that several changes cut (see `to_cut`); thousands of changes cost what their flows cost.

    Attributes:
        extents: all that the changes are about, before and after.
    """

    def __init__(self, changes: Sequence[Change], network: Network, standing: Iterable[Wanted] = ()) -> None:
        self._ground = ground = Ground(network)
        self._others = Standing(ground)
        self._index: Index[_Change] = Index()
        self.extents: list[Extent] = []
        for old, new in changes:
            if not may_cut(old, new):
                continue
            change = _Change(
                id=_id(old, new),
                old=NOTHING if old is None else ground.extent(old),
                new=NOTHING if new is None else ground.extent(new),
                sources=None if new is None else _sources(new),
            )
            if change.is_residual:
                self._others.add_all(standing)  # the first time; then there is nothing more to add
                standing = ()
            for extent in (change.old, change.new):
                self._index.add(extent, change)
                self.extents.append(extent)

    def cut(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those of `entries` that are to be cut."""
        others, ground = self._others, self._ground
        return [
            entry
            for entry in entries
            if any(change.cuts(entry, others, ground) for change in self._index.near(entry))
        ]


def orphans(
    entries: Iterable[Entry],
    standing: Iterable[Wanted],
    network: Network,
    listening: Iterable[PortMapping] = (),
) -> list[Entry]:
    """Flows that a mapping of ours admitted once and none does now.

    Their mapping expired, was closed or led elsewhere while nobody was there to cut them.

    `standing` are all mappings of the plane; `listening` are those of other planes whose ports this
    machine listens on, and that are permitted.
    """
    ground = Ground(network)
    ours = [entry for entry in entries if is_labelled(entry) and not ground.needs_no_mapping(entry)]
    if not ours:
        return []
    touched = Touched(ours)
    index: Index[tuple[Extent, Prefixes | None]] = Index()
    for wanted in standing:
        if touched.by(wanted.mapping):
            extent = ground.extent(wanted)
            index.add(extent, (extent, _sources(wanted)))
    for mapping in listening:
        if touched.by(mapping):
            extent = ground.listening(mapping)
            index.add(extent, (extent, None))  # who may is the listener's own affair
    return [
        entry
        for entry in ours
        if not any(
            extent.owns(entry) and (entry.original.source in ground.own or admitted(entry, sources))
            for extent, sources in index.near(entry)
        )
    ]


def share_out(
    entries: Iterable[Entry], wanted: Mapping[str, Wanted], network: Network, standing: Iterable[Wanted]
) -> dict[str, list[Entry]]:
    """The flows among `entries` of each mapping, by its id; mappings without any are left out."""
    known = list(entries)
    ground, touched = Ground(network), Touched(known)
    index: Index[tuple[str, Extent]] = Index()
    others = Standing(ground)
    residual = [each for each in wanted.values() if ground.extent(each).residual] if known else []
    if residual:
        others.add_all(standing)
    for key, each in wanted.items():
        if known and touched.by(each.mapping):
            extent = ground.extent(each)
            index.add(extent, (key, extent))
    shares: dict[str, list[Entry]] = {}
    for entry in known:
        for key, extent in index.near(entry):
            if extent.owns(entry) and not (extent.residual and others.owns(entry, key)):
                shares.setdefault(key, []).append(entry)
    return shares


class Standing:
    """The mappings that go before a DMZ host and a trigger."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._index: Index[tuple[str, Extent]] = Index()

    def add_all(self, standing: Iterable[Wanted]) -> None:
        """Know these too."""
        for wanted in standing:
            extent = self._ground.extent(wanted)
            if not extent.residual:
                self._index.add(extent, (wanted.mapping.id, extent))

    def owns(self, entry: Entry, but: str) -> bool:
        """Whether a flow is one of a mapping other than the one with the id `but`."""
        return any(extent.owns(entry) for each, extent in self._index.near(entry) if each != but)


@dataclass(frozen=True, slots=True)
class _Change:
    id: str
    old: Extent
    new: Extent
    sources: Prefixes | None

    @property
    def is_residual(self) -> bool:
        return self.old.residual or self.new.residual

    def cuts(self, entry: Entry, others: Standing, ground: Ground) -> bool:
        if self.new.owns(entry):
            cut = not admitted(entry, self.sources) and entry.original.source not in ground.own
        elif self.old.owns(entry) and not ground.needs_no_mapping(entry):
            cut = True
        else:
            cut = self.new.is_kept_from(entry)
        return cut and not (self.is_residual and others.owns(entry, self.id))


class Touched:
    """The ports that some flows came to, to pass over the mappings that cannot have to do with them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._ports = {(entry.protocol, entry.original.destination_port) for entry in entries}

    def by(self, mapping: PortMapping) -> bool:
        """Whether one of the flows may have to do with a mapping."""
        for pair in mapping.ports:
            if not pair.protocol.has_ports or pair.outside.size > FEW_PORTS:
                return True
            number = pair.protocol.number
            if any(
                (number, port) in self._ports for port in range(pair.outside.first, pair.outside.last + 1)
            ):
                return True
        return False


def _sources(wanted: Wanted) -> Prefixes | None:
    return None if wanted.sources is None else prefixes_of(wanted.sources)


def _id(old: Wanted | None, new: Wanted | None) -> str:
    known = new or old
    return "" if known is None else known.mapping.id


def _shape(wanted: Wanted) -> tuple[object, ...]:
    """All that a mapping's extent is made of, the network excepted."""
    mapping = wanted.mapping
    target = (mapping.target.kind, mapping.target.suffix, wanted.targets)
    return mapping.kind, mapping.ports, mapping.on, target, mapping.excepted


def _all_stay(old: tuple[IPNetwork, ...] | None, new: tuple[IPNetwork, ...] | None) -> bool:
    return new is None or (old is not None and set(old) <= set(new))
