"""What doors for devices know of this machine, from the parts of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import IPv6Address
from pathlib import Path

from sekimori.doors.api.feed import Feed
from sekimori.gate.refusals import Refusals
from sekimori.host.neighbour import find_mac
from sekimori.host.sightings import LanSightings
from sekimori.ledger.store import Ledger
from sekimori.model.actual import Status
from sekimori.model.address import IPAddress
from sekimori.model.events import Event
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.network import Network
from sekimori.model.snapshot import Snapshot
from sekimori.reconcile.engine import Engine
from sekimori.reconcile.ports import Clock

__all__ = ["DaemonInside"]


class DaemonInside:
    """Fulfils `sekimori.gate.devices.Inside`.

    Attributes:
        refusals: what devices were refused since the daemon started.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        ledger: Ledger,
        engine: Engine,
        network: Callable[[], Network],
        sightings: LanSightings,
        feed: Feed,
        router_address: Callable[[int], IPAddress | None],
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._ledger = ledger
        self._engine = engine
        self._network = network
        self._sightings = sightings
        self._feed = feed
        self._router_address = router_address
        self.refusals = Refusals()

    @property
    def directory(self) -> Path:
        """Where doors keep their files: the state directory."""
        return self._directory

    def now(self) -> float:
        """Unix seconds."""
        return self._clock.now()

    def snapshot(self) -> Snapshot:
        """What stands in the ledger."""
        return self._ledger.snapshot

    def revision(self) -> int:
        """The ledger's newest revision."""
        return self._ledger.revision

    def network(self) -> Network:
        """This machine's place in the network."""
        return self._network()

    def status_of(self, mapping_id: str) -> Status:
        """The state of a mapping."""
        return self._engine.status(mapping_id)

    def outside_address(self, version: int) -> IPAddress | None:
        """The router's before us where it told one, or else that of the preferred WAN which has one."""
        told = self._router_address(version)
        if told is not None:
            return told
        found = (each for each in self._network().wan_addresses() if each.version == version)
        return next(found, None)

    async def identify(self, address: IPAddress, interface: str) -> Owner | None:
        """The device that has an address on a link, by its MAC address.

        One that the kernel does not know is asked for, which takes up to a second.
        """
        if not self._is_near(address, interface):
            return None
        mac = find_mac(address, interface)
        if mac is None:
            await self._sightings.probe(address, interface)
            mac = find_mac(address, interface)
        return None if mac is None else Owner(OwnerKind.DEVICE, mac)

    async def find_present(self, address: IPAddress, interface: str) -> Owner | None:
        """The device that answers at an address of a link now, by its MAC address."""
        if not self._is_near(address, interface):
            return None
        mac = find_mac(address, interface, proved=True)
        if mac is None:
            await self._sightings.probe(address, interface)
            mac = find_mac(address, interface, proved=True)
        return None if mac is None else Owner(OwnerKind.DEVICE, mac)

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Events from now on."""
        return self._feed.subscribe()

    def _is_near(self, address: IPAddress, interface: str) -> bool:
        """Whether an address is one of the hosts of the LAN of an interface, and not this machine's own."""
        network = self._network()
        if network.is_own(address):
            return False
        if isinstance(address, IPv6Address) and address.is_link_local:
            return any(lan.interface == interface for lan in network.lans)
        lan = network.lan_of(address)
        return lan is not None and lan.interface == interface
