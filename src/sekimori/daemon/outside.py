"""What stands between this machine and the internet: the router above, the line, and paths by them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sekimori.gate.ports import Gate
from sekimori.host.writing import write_whole
from sekimori.model.address import IPAddress
from sekimori.model.errors import Problem
from sekimori.model.line import Above, Line
from sekimori.model.linesettings import LineSettings
from sekimori.model.network import Network
from sekimori.model.snapshot import Snapshot
from sekimori.observe.guard.paths import Paths
from sekimori.observe.line.observer import LineObserver
from sekimori.planes.router.facts import Presence, RouterFacts
from sekimori.planes.router.plane import RouterPlane
from sekimori.policy.rules import Rules
from sekimori.reconcile.ports import Clock, Resolver

__all__ = ["Outside"]

_FILE: Final = "router.secret"
_BYTES: Final = 32


class Outside:
    """The router plane and the observer of the line, joined.

    Attributes:
        router: the plane that asks the router above.

    Args:
        directory: where the secret is kept that makes the nonces of PCP.
        snapshot: what stands in the ledger.
    """

    def __init__(
        self,
        directory: Path,
        settings: LineSettings,
        network: Callable[[], Network],
        snapshot: Callable[[], Snapshot],
        resolver: Resolver,
        clock: Clock,
    ) -> None:
        self.router = RouterPlane(network, read_secret(directory), clock)
        self.router.on_told = self._told
        self._network = network
        self._snapshot = snapshot
        self._paths: Paths | None = None
        self._observer = LineObserver(
            settings=settings,
            network=network,
            above=self._above,
            translates=self._translates,
            resolver=resolver,
            clock=clock,
        )

    def line(self) -> Line:
        """What is known of the line."""
        return self._observer.line()

    def lines(self) -> Sequence[Line]:
        """What is known of each WAN's, the preferred one first."""
        return self._observer.lines()

    def address(self, version: int) -> IPAddress | None:
        """By which mappings are reached from outside, where another machine than this has that address."""
        return self.router.outside_address(version)

    def join(self, gate: Gate, rules: Rules) -> None:
        """Have paths follow the router, by this gate."""
        self._paths = Paths(gate, self._snapshot, rules)

    def network_changed(self) -> None:
        """The network may be another one."""
        self.router.reframe()
        self._observer.wake()

    async def run(self) -> None:
        """Find and watch the router, look at the line, and keep the paths, until cancelled."""
        assert self._paths is not None
        async with asyncio.TaskGroup() as tasks:
            for work in (self.router.run(), self._observer.run(), self._paths.run()):
                tasks.create_task(work)

    def _told(self) -> None:
        self._observer.wake()
        if self._paths is not None:
            self._paths.wake()

    def _above(self, interface: str) -> Above | None:
        for facts in self.router.told():
            if facts.interface == interface and facts.presence is Presence.THERE:
                return _above_of(facts)
        return None

    def _translates(self) -> bool | None:
        gateway = self._snapshot().gateway
        network = self._network()
        return gateway is not None and gateway.masquerade and network.is_gateway


def read_secret(directory: Path) -> bytes:
    """The machine's own secret, made when it is not there. It is no password of anybody: it only keeps what
    it makes from being guessed, and the same after a restart.

    Raises:
        Problem: `state-unusable`.
    """
    file = directory / _FILE
    try:
        if file.exists() and len(found := file.read_bytes()) == _BYTES:
            return found
        made = secrets.token_bytes(_BYTES)
        write_whole(file, made)
    except OSError as error:
        why = f"{file.name}: {error.strerror}"
        raise Problem("state-unusable", directory=str(directory), why=why) from None
    return made


def _above_of(facts: RouterFacts) -> Above | None:
    if facts.protocol is None or facts.heard_at is None:
        return None
    return Above(facts.protocol.label, facts.address, facts.heard_at)
