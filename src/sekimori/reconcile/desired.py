"""What each plane should hold now, worked out from the ledger, the time and the names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sekimori.model.address import IPNetwork
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Plane, Wanted

__all__ = ["Desired"]


@dataclass(frozen=True, slots=True)
class _Cached:
    mapping: PortMapping
    targets: tuple[str, ...]
    sources: tuple[IPNetwork, ...] | None
    accept_until: float | None
    result: tuple[str, Wanted, str]


class Desired:
    """Computes `Wanted` values, and remembers their fingerprints while nothing about them changed."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        names: Names,
        planes: Mapping[str, Plane],
        grace: float,
    ) -> None:
        self.grace = grace
        self._snapshot = snapshot
        self._names = names
        self._planes = planes
        self._cache: dict[str, _Cached] = {}

    def compute(self, ids: Iterable[str], now: float) -> dict[str, tuple[str, Wanted, str]]:
        """For each id that should be real now: (plane, what is wanted, its fingerprint)."""
        snapshot = self._snapshot()
        lists = snapshot.lists
        found = {}
        for mapping_id in ids:
            mapping = snapshot.get(mapping_id)
            if mapping is None:
                self._cache.pop(mapping_id, None)
                continue
            targets = self.targets(mapping)
            if targets and self._is_makeable(mapping) and mapping.wants_open(now):
                found[mapping_id] = self._want(mapping, targets, mapping.sources.resolve(lists), now)
        return found

    def targets(self, mapping: PortMapping) -> tuple[str, ...]:
        """The numeric addresses a mapping leads to now, best first."""
        match mapping.target.kind:
            case TargetKind.SELF:
                return ("127.0.0.1", "::1")
            case TargetKind.ADDRESS:
                return (mapping.target.host,)
            case TargetKind.NAME:
                return self._names.addresses(mapping.target.host)

    def obstacle(self, mapping: PortMapping) -> Problem | None:
        """Why a mapping that should be open cannot be wanted."""
        if not self._is_makeable(mapping):
            why, able = cause("no-such-plane"), ", ".join(self._planes) or cause("none")
            via = str(mapping.path[0]) if mapping.path else mapping.via
            return Problem("no-plane", name=mapping.name, via=via, why=why, able=able)
        if mapping.target.kind is TargetKind.NAME and not self.targets(mapping):
            return self._names.problem(mapping.target.host)
        return None

    def _is_makeable(self, mapping: PortMapping) -> bool:
        """Whether its plane is here: one granted by an earlier daemon may be switched off since."""
        return bool(mapping.path) and mapping.path[0].plane in self._planes

    def _want(
        self,
        mapping: PortMapping,
        targets: tuple[str, ...],
        sources: tuple[IPNetwork, ...] | None,
        now: float,
    ) -> tuple[str, Wanted, str]:
        # An open mapping's next change in time is always its closing, so it is when to stop accepting.
        until = mapping.next_change(now)
        old = self._cache.get(mapping.id)
        if (
            old is not None
            and old.mapping is mapping
            and (old.targets, old.sources, old.accept_until) == (targets, sources, until)
        ):
            return old.result
        plane = mapping.path[0].plane
        wanted = Wanted(mapping, until, targets, sources, self.grace)
        result = (plane, wanted, self._planes[plane].fingerprint(wanted))
        self._cache[mapping.id] = _Cached(mapping, targets, sources, until, result)
        return result
