"""What each plane should hold now, worked out from the ledger, the time and the names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from sekimori.model.address import IPNetwork
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import LAN, Sources
from sekimori.model.target import Target, TargetKind
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Ground, Plane, Wanted

__all__ = ["WHATEVER", "Desired", "Want"]

Want = tuple[str, Wanted, str]
"""The plane, what is wanted of it, and the fingerprint of that."""

_FIXED: Final = frozenset({(), (LAN,)})
"""Names of lists that nobody can define anew."""
_MOST_RESOLVED: Final = 4096

WHATEVER: Final = ("*",)
"""The targets of a mapping whose client names where it leads."""


class Desired:
    """Computes `Wanted` values, and remembers their fingerprints while nothing about them changed.

    What is remembered is one tuple for each mapping: its `Wanted` holds all that it came from.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        names: Names,
        devices: Devices,
        planes: Mapping[str, Plane],
        grace: float,
    ) -> None:
        self.grace = grace
        self._snapshot = snapshot
        self._names = names
        self._devices = devices
        self._planes = planes
        self._cache: dict[str, Want] = {}
        self._lists: Mapping[str, tuple[IPNetwork, ...]] = {}
        self._resolved: dict[Sources, tuple[IPNetwork, ...] | None] = {}
        """Prefixes by sources under `_lists`: mappings with the same sources share one tuple of them."""

    def compute(self, ids: Iterable[str], now: float) -> dict[str, Want]:
        """For each id that should be real now: (plane, what is wanted, its fingerprint)."""
        snapshot = self._snapshot()
        if snapshot.lists is not self._lists:
            self._lists = snapshot.lists
            self._resolved.clear()
        found = {}
        for mapping_id in ids:
            mapping = snapshot.get(mapping_id)
            if mapping is None:
                self._cache.pop(mapping_id, None)
                continue
            want = self._cache.get(mapping_id)
            if want is None or not _stands(want[1], mapping, now):
                want = self._want(mapping, now)
            if want is not None:
                found[mapping_id] = want
        return found

    def beyond(self, plane: str, wanted: Mapping[str, Want]) -> dict[str, tuple[Wanted, str]]:
        """Of what is wanted on other planes, that which has a hop of this one too."""
        fingerprint = self._planes[plane].fingerprint
        ids = (mapping.id for mapping in self._snapshot().beyond(plane))
        return {key: (wanted[key][1], fingerprint(wanted[key][1])) for key in ids if key in wanted}

    def ground(self, now: float) -> Ground:
        """What should hold for the whole machine now."""
        snapshot = self._snapshot()
        return Ground(
            snapshot.gateway, tuple(ban for ban in snapshot.bans.values() if not ban.has_ended(now))
        )

    def targets(self, mapping: PortMapping) -> tuple[str, ...]:
        """Where a mapping leads now, best first: numeric addresses, or what a link's far end is asked for.

        What only a client names, by SOCKS or in its own session, stands as one target all the same.
        """
        if mapping.is_dialled_far:
            return (_far_target(mapping.target),)
        match mapping.target.kind:
            case TargetKind.SELF:
                return ("127.0.0.1", "::1")
            case TargetKind.ADDRESS:
                return _alone(mapping.target.host)
            case TargetKind.NAME:
                return self._names.addresses(mapping.target.host)
            case TargetKind.DEVICE:
                return self._devices.addresses(mapping.target)
            case TargetKind.SUFFIX | TargetKind.TRIGGER:
                return (mapping.target.host,)  # whoever has it; the plane knows them when they come
            case TargetKind.UNIX:
                return (_path_of(mapping.target),)
            case TargetKind.SOCKS | TargetKind.CLIENT:
                return WHATEVER

    def obstacle(self, mapping: PortMapping) -> Problem | None:
        """Why a mapping that should be open cannot be wanted."""
        if not self._is_makeable(mapping):
            why, able = cause("no-such-plane"), ", ".join(self._planes) or cause("none")
            via = " → ".join(map(str, mapping.path)) or mapping.via
            return Problem("no-plane", name=mapping.name, via=via, why=why, able=able)
        if mapping.is_dialled_far:
            return None
        if mapping.target.kind is TargetKind.NAME and not self.targets(mapping):
            return self._names.problem(mapping.target.host)
        if mapping.target.kind is TargetKind.DEVICE:
            return self._devices.problem(mapping.target)
        return None

    def _is_makeable(self, mapping: PortMapping) -> bool:
        """Whether its plane is here: one granted by an earlier daemon may be switched off since."""
        return bool(mapping.path) and all(hop.plane in self._planes for hop in mapping.path)

    def _want(self, mapping: PortMapping, now: float) -> Want | None:
        targets = self.targets(mapping)
        if not targets or not self._is_makeable(mapping) or not mapping.wants_open(now):
            return None
        # An open mapping's next change in time is always its closing, so it is when to stop accepting.
        until = mapping.next_change(now)
        sources = self._resolve(mapping.sources)
        old = self._cache.get(mapping.id)
        if old is not None and _is_same(old[1], mapping, targets, sources, until):
            return old
        plane = mapping.plane
        wanted = Wanted(mapping, until, targets, sources, self.grace)
        want = self._cache[mapping.id] = (plane, wanted, self._planes[plane].fingerprint(wanted))
        return want

    def _resolve(self, sources: Sources) -> tuple[IPNetwork, ...] | None:
        if sources.anyone:
            return None
        found = self._resolved.get(sources)
        if found is None:
            if len(self._resolved) >= _MOST_RESOLVED:  # of mappings long gone, most of them
                self._resolved.clear()
            found = self._resolved[sources] = sources.resolve(self._lists)
        return found


def _far_target(target: Target) -> str:
    """What the far end of a link is asked for; it looks a name up by itself."""
    match target.kind:
        case TargetKind.SELF:
            return "localhost"  # the far machine, by whichever of its loopback addresses answers
        case TargetKind.UNIX:
            return _path_of(target)
        case TargetKind.SOCKS | TargetKind.CLIENT:
            return WHATEVER[0]
        case _:
            return target.host


def _path_of(target: Target) -> str:
    return target.host.removeprefix("unix:")


@lru_cache(maxsize=8192)
def _alone(host: str) -> tuple[str]:
    """One tuple for all mappings that lead to a host."""
    return (host,)


def _stands(wanted: Wanted, mapping: PortMapping, now: float) -> bool:
    """Whether what was wanted once still is, for only time could have changed it and did not.

    The mapping is the same value, leads to one address, names no list that may be defined anew, and
    has an end but no hours: it was open, and is until that end, even if the clock was put back.
    """
    return (
        wanted.mapping is mapping
        and mapping.schedule is None
        and (wanted.accept_until is None or now < wanted.accept_until)
        and mapping.target.kind is TargetKind.ADDRESS
        and mapping.sources.lists in _FIXED
    )


def _is_same(
    wanted: Wanted,
    mapping: PortMapping,
    targets: tuple[str, ...],
    sources: tuple[IPNetwork, ...] | None,
    until: float | None,
) -> bool:
    return wanted.mapping is mapping and (wanted.targets, wanted.sources, wanted.accept_until) == (
        targets,
        sources,
        until,
    )
