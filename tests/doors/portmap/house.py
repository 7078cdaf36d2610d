"""A house whose gateway is this process: the door on the loopback, where every 127.0.0.x is a device."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sekimori.doors.portmap.door import PortmapDoor
from sekimori.doors.portmap.epoch import Instant
from sekimori.model.address import IPAddress
from sekimori.model.door import Door, DoorName
from sekimori.model.lease import NonceRule
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.network import Lan
from sekimori.model.permission import Permission, SetPermissions
from sekimori.testing.inside import FakeInside
from sekimori.testing.pcpclient import PcpClient
from sekimori.testing.peers import DEADLINE
from sekimori.testing.ports import free_ports
from sekimori.testing.world import ALICE, World

T = TypeVar("T")

PHONE = "127.0.0.5"
CONSOLE = "127.0.0.6"
OUTSIDE = "203.0.113.5"


def device_at(address: str) -> Owner:
    """The device that stands at 127.0.0.x."""
    return Owner(OwnerKind.DEVICE, f"02:00:00:00:00:{int(ipaddress.ip_address(address)) & 0xFF:02x}")


class HouseInside(FakeInside):
    """Over a world whose LAN is the loopback.

    Attributes:
        outside: the outside addresses, by IP version.
        unknown: addresses that nobody is proved to have.
        asked: every address that was to be identified, in order.
        hold: while it is clear, nobody is identified.
        moment: the clocks of the machine, as they stand.
    """

    def __init__(self, world: World, directory: Path) -> None:
        super().__init__(world, directory)
        self.outside: dict[int, IPAddress | None] = {4: ipaddress.ip_address(OUTSIDE), 6: None}
        self.unknown: set[IPAddress] = set()
        self.asked: list[IPAddress] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.moment = Instant("a boot", 1000.0, world.clock.now())

    def outside_address(self, version: int) -> IPAddress | None:
        return self.outside[version]

    async def identify(self, address: IPAddress, interface: str) -> Owner | None:
        assert interface == "lo"
        self.asked.append(address)
        await self.hold.wait()
        return None if address in self.unknown else device_at(str(address))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, by every clock."""
        self._world.clock.advance(seconds)
        now = self.moment
        self.moment = replace(now, up=now.up + seconds, wall=now.wall + seconds)


class House:
    """The door, running, and clients of it."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.inside = HouseInside(world, directory)
        self.port = free_ports()
        lan = Lan("lo", (ipaddress.ip_network("127.0.0.0/8"),), (ipaddress.ip_address("127.0.0.1"),))
        lans = (*world.machine.network.lans, lan)
        world.machine.network = replace(world.machine.network, lans=lans, outside=frozenset({"wan0"}))
        self.door = self.new_door()
        self._clients = contextlib.ExitStack()

    def new_door(self, rule: NonceRule = NonceRule.SAME_SOURCE, *interfaces: str) -> PortmapDoor:
        """A door that does not run yet."""
        setting = Door(door=DoorName.PORTMAP, owner=ALICE.actor, interfaces=interfaces or ("lo",), nonce=rule)
        return PortmapDoor(
            setting, self.world.gate, self.inside, port=self.port, now=lambda: self.inside.moment
        )

    @contextlib.asynccontextmanager
    async def running(self, rule: NonceRule = NonceRule.SAME_SOURCE) -> AsyncIterator[None]:
        """The door answers for the length of the block."""
        self.door = self.new_door(rule)
        async with self.world.running(), asyncio.TaskGroup() as tasks:
            door = tasks.create_task(self.door.run())
            await asyncio.sleep(0)  # it listens when it first waits
            try:
                yield
            finally:
                door.cancel()

    def client(self, address: str = PHONE) -> PcpClient:
        """A client on a device; it is closed at the end."""
        return self._clients.enter_context(PcpClient("127.0.0.1", address, self.port))

    def close(self) -> None:
        """Let go of all."""
        self._clients.close()
        self.world.close()

    @property
    def leases(self) -> list[Mapping]:
        """Every lease that stands."""
        return [each for each in self.world.ledger.snapshot if each.lease is not None]

    async def permit(self, *rules: str) -> None:
        """Write these permission rules."""
        await self.world.ask(SetPermissions(tuple(map(Permission.parse, rules))))


async def until(condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not.
    """
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.001)


async def ask(function: Callable[..., T], *arguments: Any, **words: Any) -> T:
    """Call a blocking client beside the loop that answers it."""
    async with asyncio.timeout(DEADLINE + 5):
        return await asyncio.to_thread(function, *arguments, **words)
