"""A plane that makes nothing real: for tests, held to the contract the real ones keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.reconcile.ports import Changes, Ground, Wanted

__all__ = ["MemoryPlane"]


class MemoryPlane:
    """Keeps what it is told in a dictionary, and fails when told to.

    Attributes:
        held: what is "really there", by mapping id.
        refuses: ids whose next `apply` fails, with the problem; until removed from here.
        broken: why nothing can be asked of it at all; None while it works.
        busy: outside ports that something else on the machine holds, with its name.
        ground: what holds for the whole machine, as it was laid last.
        barren: why ground cannot be laid; None while it can.
        applied: every `Changes` that was asked for, in order.
    """

    def __init__(self, name: str = "relay") -> None:
        self.name = name
        self.held: dict[str, Wanted] = {}
        self.graces: dict[str, float] = {}
        self.refuses: dict[str, Problem] = {}
        self.broken: Problem | None = None
        self.busy: dict[int, str] = {}
        self.ground = Ground()
        self.barren: Problem | None = None
        self.applied: list[Changes] = []

    def unable(self, mapping: PortMapping) -> Text | None:
        """Able to hold anything."""
        return None

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """`port-busy` for the ports in `busy`."""
        return self._find_busy(mapping)

    async def lay(self, ground: Ground) -> Problem | None:
        """Remember it, unless told to fail."""
        if self.broken is not None:
            raise self.broken
        if self.barren is None:
            self.ground = ground
        return self.barren

    def fingerprint(self, wanted: Wanted) -> str:
        """The terms themselves, as text."""
        return repr(wanted)

    async def observe(self) -> Mapping[str, str]:
        """What is held."""
        if self.broken is not None:
            raise self.broken
        return _Marks(self)

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Hold and drop, but for the ids in `refuses`."""
        if self.broken is not None:
            raise self.broken
        self.applied.append(changes)
        failed = {}
        for key, grace in changes.remove.items():
            if key in self.refuses:
                failed[key] = self.refuses[key]
            elif self.held.pop(key, None) is not None:  # twice removed is removed
                self.graces[key] = grace
        for wanted in changes.put:
            key = wanted.mapping.id
            problem = self.refuses.get(key) or self._find_busy(wanted.mapping)
            if problem is not None:
                failed[key] = problem
            else:
                self.held[key] = wanted
        return failed

    def _find_busy(self, mapping: PortMapping) -> Problem | None:
        for claim in mapping.claims:
            for port, holder in self.busy.items():
                if claim.pair.protocol.has_ports and port in claim.pair.outside:
                    return Problem("port-busy", claim=str(claim), holder=holder, other=port + 1, port=port)
        return None


class _Marks(Mapping[str, str]):
    """The fingerprints of what is held, worked out when they are asked for."""

    def __init__(self, plane: MemoryPlane) -> None:
        self._plane = plane

    def __getitem__(self, key: str) -> str:
        return self._plane.fingerprint(self._plane.held[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._plane.held)

    def __len__(self) -> int:
        return len(self._plane.held)
