"""A house whose gateway is this process: the door on the loopback, where every 127.0.0.x is a device."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex

from sekimori.doors.api.feed import Feed
from sekimori.doors.igd.door import IgdDoor
from sekimori.doors.igd.identity import read_identity
from sekimori.ledger.store import Ledger
from sekimori.model.address import IPAddress
from sekimori.model.door import Door, DoorName
from sekimori.model.events import Event
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.network import Lan
from sekimori.model.permission import Permission, SetPermissions
from sekimori.planes.memory import MemoryPlane
from sekimori.testing.clock import FakeClock
from sekimori.testing.inside import FakeInside
from sekimori.testing.peers import DEADLINE
from sekimori.testing.ports import free_ports
from sekimori.testing.upnpclient import UpnpClient
from sekimori.testing.world import ALICE, World
from sekimori.wire.igdservices import FIREWALL6, WANIP1, WANIP2, IgdVersion, Value

GATEWAY = "127.0.0.1"
PHONE = "127.0.0.5"
CONSOLE = "127.0.0.6"
OUTSIDE = "203.0.113.5"


def device_at(address: str) -> Owner:
    """The device that stands at 127.0.0.x, or at fd00:1::x."""
    return Owner(OwnerKind.DEVICE, f"02:00:00:00:00:{int(ipaddress.ip_address(address)) & 0xFF:02x}")


class _Told(list[Event]):
    """The events of a world, which also go to its readers."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def append(self, event: Event) -> None:
        super().append(event)
        self._feed.publish(event)

    def extend(self, events: Iterable[Event]) -> None:
        raise NotImplementedError

    def insert(self, at: SupportsIndex, event: Event) -> None:
        raise NotImplementedError


class Block(World):
    """A world whose events have readers."""

    def __init__(self) -> None:
        self.feed = Feed()
        super().__init__(clock=FakeClock(), plane=MemoryPlane("kernel"))

    def _join(self, ledger: Ledger) -> None:
        self.events = _Told(self.feed)
        super()._join(ledger)


class HouseInside(FakeInside):
    """Over a block, whose LAN is the loopback.

    Attributes:
        outside: the outside addresses, by IP version.
        unknown: addresses that nobody is proved to have.
        broken: addresses about which the kernel cannot be asked.
    """

    def __init__(self, world: Block, directory: Path) -> None:
        super().__init__(world, directory)
        self._feed = world.feed
        self.outside: dict[int, IPAddress | None] = {4: ipaddress.ip_address(OUTSIDE), 6: None}
        self.unknown: set[IPAddress] = set()
        self.broken: set[IPAddress] = set()

    def outside_address(self, version: int) -> IPAddress | None:
        return self.outside[version]

    async def identify(self, address: IPAddress, interface: str) -> Owner | None:
        assert interface == "lo"
        await asyncio.sleep(0)
        if address in self.broken:
            raise OSError(errno.ENOBUFS, "the kernel could not be asked")
        known = self.network().lan_of(address) is not None and address not in self.unknown
        return device_at(str(address)) if known else None

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._feed.subscribe()


class House:
    """The door, running, and clients of it.

    Attributes:
        packets: how many came in through each mapping, by id.
    """

    def __init__(self, directory: Path) -> None:
        self.world = Block()
        self.inside = HouseInside(self.world, directory)
        self.ssdp_port = free_ports()
        self.packets: dict[str, int] = {}
        texts = ("127.0.0.0/8", "192.168.1.0/24", "fd00:1::/64", "2001:db8:3::/64")
        prefixes = tuple(map(ipaddress.ip_network, texts))
        self.lan = Lan("lo", prefixes, (ipaddress.ip_address(GATEWAY),))
        self.world.machine.network = replace(
            self.world.machine.network, lans=(self.lan,), outside=frozenset({"wan0"})
        )
        self.door = self.new_door()

    def new_door(self, version: IgdVersion = 1, *interfaces: str) -> IgdDoor:
        """A door that does not run yet."""

        async def packets(mapping_id: str) -> int:
            await asyncio.sleep(0)
            return self.packets.get(mapping_id, 0)

        setting = Door(
            door=DoorName.IGD, owner=ALICE.actor, interfaces=interfaces or ("lo",), version=version
        )
        gate = self.world.gate
        return IgdDoor(setting, gate, self.inside, packets=packets, ssdp_port=self.ssdp_port)

    @contextlib.asynccontextmanager
    async def running(self, version: IgdVersion = 1) -> AsyncIterator[House]:
        """The door answers for the length of the block."""
        async with self.world.running(), self.open(version):
            yield self

    @contextlib.asynccontextmanager
    async def open(self, version: IgdVersion = 1) -> AsyncIterator[None]:
        """The same in a world that runs already."""
        self.door = self.new_door(version)
        async with asyncio.TaskGroup() as tasks:
            door = tasks.create_task(self.door.run())
            try:
                await self.world.until(lambda: bool(self.port), DEADLINE)
                await self.world.until(lambda: door.done() or self.is_answering, DEADLINE)
                yield
            finally:
                door.cancel()

    @property
    def port(self) -> int:
        """The web server's port; 0 before it has any."""
        return read_identity(self.inside.directory).ports.get("lo", 0)

    @property
    def is_answering(self) -> bool:
        """Whether somebody listens on the port."""
        with socket.socket() as sock:
            return sock.connect_ex((GATEWAY, self.port)) == 0

    def client(self, address: str = PHONE, version: IgdVersion = 1) -> UpnpClient:
        """A device of the house."""
        return UpnpClient(GATEWAY, self.port, address, version)

    def close(self) -> None:
        """Let go of all."""
        self.world.close()

    @property
    def leases(self) -> list[Mapping]:
        """Every lease that stands."""
        return [each for each in self.world.ledger.snapshot if each.lease is not None]

    async def permit(self, *rules: str) -> None:
        """Write these permission rules."""
        await self.world.ask(SetPermissions(tuple(map(Permission.parse, rules))))


def key(port: int, protocol: str = "UDP", remote: str = "") -> dict[str, Value]:
    """The arguments that name a mapping."""
    return {"NewRemoteHost": remote, "NewExternalPort": port, "NewProtocol": protocol}


def entry(
    port: int,
    client: str = PHONE,
    *,
    inside: int | None = None,
    protocol: str = "UDP",
    remote: str = "",
    lease: int = 3600,
    description: str = "a game",
    enabled: bool = True,
) -> dict[str, Value]:
    """The arguments of AddPortMapping."""
    return {
        **key(port, protocol, remote),
        "NewInternalPort": port if inside is None else inside,
        "NewInternalClient": client,
        "NewEnabled": enabled,
        "NewPortMappingDescription": description,
        "NewLeaseDuration": lease,
    }


SERVICES = {1: WANIP1, 2: WANIP2}
HOLES = FIREWALL6
