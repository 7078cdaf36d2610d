"""A LAN of devices that tests arrange as they like."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

from sekimori.model.address import IPAddress
from sekimori.model.device import Announced, Lease, LeaseServer
from sekimori.model.network import Neighbour, NeighbourState

__all__ = ["FakeLan"]


class FakeLan:
    """What `reconcile.devices.Sightings` asks for. Devices stand at addresses; the neighbour table knows of
    those that were met or probed.

    Attributes:
        table: the neighbour table.
        standing: the MAC address of the device at each address, whether anybody knows it or not.
        leases_now: the leases of the DHCP server.
        announced: the addresses that mDNS answers to each name.
        probed: every probe, in order.
        asked: every mDNS question, in order.
    """

    def __init__(self) -> None:
        self.table: dict[IPAddress, Neighbour] = {}
        self.standing: dict[IPAddress, str] = {}
        self.leases_now: dict[IPAddress, Lease] = {}
        self.announced: dict[str, tuple[str, ...]] = {}
        self.probed: list[IPAddress] = []
        self.asked: list[str] = []

    def place(self, mac: str, address: str) -> None:
        """Have a device stand at an address from now on."""
        self.standing[ipaddress.ip_address(address)] = mac

    def meet(self, mac: str, address: str, state: NeighbourState = NeighbourState.REACHABLE) -> None:
        """Place a device, and have the neighbour table know it."""
        self.place(mac, address)
        where = ipaddress.ip_address(address)
        self.table[where] = Neighbour(where, mac, "lan0", state)

    def leave(self, *addresses: str) -> None:
        """Nobody is at these addresses any more; the table does not know that yet."""
        for address in addresses:
            self.standing.pop(ipaddress.ip_address(address), None)

    def lease(
        self, mac: str | None, address: str, name: str | None = None, expires_at: float | None = None
    ) -> None:
        """Have the DHCP server give a device an address, which is its only one in that family."""
        where = ipaddress.ip_address(address)
        for old in [each for each in self.leases_now.values() if each.mac == mac]:
            if old.address.version == where.version:
                del self.leases_now[old.address]
        self.leases_now[where] = Lease(where, mac, name, expires_at, LeaseServer.DNSMASQ)

    def neighbours(self) -> Sequence[Neighbour]:
        """The neighbour table now."""
        return tuple(self.table.values())

    async def leases(self) -> Sequence[Lease]:
        """The leases now."""
        await asyncio.sleep(0)  # a real one gives way too
        return tuple(self.leases_now.values())

    async def probe(self, address: IPAddress, interface: str | None) -> None:
        """Find out who stands at an address."""
        await asyncio.sleep(0)
        self.probed.append(address)
        mac = self.standing.get(address)
        state = NeighbourState.FAILED if mac is None else NeighbourState.REACHABLE
        self.table[address] = Neighbour(address, mac, "lan0", state)

    async def ask_mdns(self, name: str) -> Sequence[Announced]:
        """What is answered to a name."""
        await asyncio.sleep(0)
        self.asked.append(name)
        return tuple(Announced(name, ipaddress.ip_address(each)) for each in self.announced.get(name, ()))
