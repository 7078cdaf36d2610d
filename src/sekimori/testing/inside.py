"""What a door for devices knows, as tests arrange it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sekimori.gate.refusals import Refusals
from sekimori.model.actual import Status
from sekimori.model.address import IPAddress
from sekimori.model.events import Event
from sekimori.model.mapping import Owner
from sekimori.model.network import Network
from sekimori.model.snapshot import Snapshot
from sekimori.testing.world import World

__all__ = ["FakeInside"]


class FakeInside:
    """Fulfils `gate.devices.Inside` over a `World`, whose LAN is `lan0`.

    Attributes:
        there: the device at each address.
        refusals: what they were refused.
    """

    def __init__(self, world: World, directory: Path = Path("/nonexistent")) -> None:
        self._world = world
        self.directory = directory
        self.there: dict[IPAddress, Owner] = {}
        self.refusals = Refusals()

    def now(self) -> float:
        """The world's time."""
        return self._world.clock.now()

    def snapshot(self) -> Snapshot:
        """What stands in the world's ledger."""
        return self._world.ledger.snapshot

    def revision(self) -> int:
        """The newest revision of the world's ledger."""
        return self._world.ledger.revision

    def network(self) -> Network:
        """What the world's machine stands between."""
        return self._world.machine.network

    def status_of(self, mapping_id: str) -> Status:
        """What the world's engine says."""
        return self._world.engine.status(mapping_id)

    def outside_address(self, version: int) -> IPAddress | None:
        """The WAN's."""
        return next((each for each in self.network().wan_addresses() if each.version == version), None)

    async def identify(self, address: IPAddress, interface: str) -> Owner | None:
        """Who is there."""
        await asyncio.sleep(0)  # a real one gives way too
        return self.there.get(address) if interface == "lan0" else None

    async def find_present(self, address: IPAddress, interface: str) -> Owner | None:
        """Who is there."""
        return await self.identify(address, interface)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Nobody listens to events of a `World`, which keeps them in a list."""
        raise NotImplementedError
