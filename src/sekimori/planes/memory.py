"""A plane that makes nothing real: for tests, held to the contract the real ones keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.reconcile.ports import Changes, Wanted

__all__ = ["MemoryPlane"]


class MemoryPlane:
    """Keeps what it is told in a dictionary, and fails when told to.

    Attributes:
        held: what is "really there", by mapping id.
        refuses: ids whose next `apply` fails, with the problem; until removed from here.
        broken: why nothing can be asked of it at all; None while it works.
        busy: outside ports that something else on the machine holds, with its name.
        applied: every `Changes` that was asked for, in order.
    """

    def __init__(self, name: str = "relay") -> None:
        self.name = name
        self.held: dict[str, Wanted] = {}
        self.graces: dict[str, float] = {}
        self.refuses: dict[str, Problem] = {}
        self.broken: Problem | None = None
        self.busy: dict[int, str] = {}
        self.applied: list[Changes] = []

    def unable(self, mapping: PortMapping) -> str | None:
        """Able to hold anything."""
        return None

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """`port-busy` for the ports in `busy`."""
        return self._find_busy(mapping)

    def fingerprint(self, wanted: Wanted) -> str:
        """The terms themselves, as text."""
        return repr(wanted)

    async def observe(self) -> Mapping[str, str]:
        """What is held."""
        if self.broken is not None:
            raise self.broken
        return {key: self.fingerprint(wanted) for key, wanted in self.held.items()}

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
                if port in claim.pair.outside:
                    return Problem("port-busy", claim=str(claim), holder=holder, other=port + 1)
        return None
