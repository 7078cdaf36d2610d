"""What stands where the kernel plane would, on a machine where it cannot work: its reason, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from sekimori.model.address import IPNetwork
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.gateway import Gateway
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.network import Network
from sekimori.reconcile.ports import Changes, Ground

__all__ = ["AbsentKernel"]


class AbsentKernel:
    """A plane that can make nothing. `auto` passes it over and says why.

    Attributes:
        why: what the kernel plane lacks here.
    """

    def __init__(self, why: Text) -> None:
        self.name = "kernel"
        self.meter = None
        self.on_change: Callable[[], None] = lambda: None
        self.why = why

    def join(
        self,
        guests: Callable[[], Iterable[PortMapping]],
        workers: Callable[[], Collection[int]],
        last_gateway: Callable[[], Gateway | None],
    ) -> None:
        """There is nothing to ask for."""

    def start(self) -> None:
        """Nothing is listened for."""

    async def run(self) -> None:
        """Nothing is ever to be done."""

    async def close(self) -> None:
        """Nothing is held."""

    def reframe(self, network: Network) -> None:
        """Nothing stands on the network."""

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        """No flow is ours."""
        return 0

    @property
    def obstacle(self) -> Problem:
        """Why this machine cannot be a gateway."""
        return Problem("needs-net-admin", why=self.why)

    def unable(self, mapping: PortMapping) -> Text | None:
        """The reason, whatever the mapping."""
        return self.why

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        """The reason."""
        return self._refusal(mapping)

    async def lay(self, ground: Ground) -> Problem | None:
        """Bans are kept by the relay; a gateway cannot be."""
        return None if ground.gateway is None else self.obstacle

    def fingerprint(self, wanted: object) -> str:
        """Nothing is ever there to compare it with."""
        return "absent"

    async def observe(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        """Refuse what was made for the kernel when it was there."""
        return {wanted.mapping.id: self._refusal(wanted.mapping) for wanted in changes.put}

    def _refusal(self, mapping: PortMapping) -> Problem:
        return Problem("kernel-unable", name=mapping.name, why=self.why)
