"""What this machine knows of the devices on its LANs, from all that it can ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from typing import Final

import structlog

from sekimori.host.leases import LeaseFiles
from sekimori.host.probing import probe
from sekimori.model.address import IPAddress
from sekimori.model.device import Announced, Lease
from sekimori.model.network import Lan, Neighbour, NeighbourState, Network

__all__ = ["LanSightings", "near_networks"]

_SETTLED: Final = frozenset({NeighbourState.REACHABLE, NeighbourState.FAILED, NeighbourState.PERMANENT})
_WITHIN: Final = 1.0
"""Seconds that are waited for an answer; it takes a millisecond by wire, a tenth of a second to a phone that
dozes. Who answers later is found by the next look."""
_LAG: Final = 0.25
"""Seconds after which the table that we are given shows what came of a question. Before that, an entry in it
may be one from before."""
_EVERY: Final = 0.02

_PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918

_log = structlog.get_logger("sightings")


class LanSightings:
    """Fulfils `sekimori.reconcile.devices.Sightings`.

    Args:
        neighbours: the neighbour table of now, of every interface.
        network: this machine's place in the network now.
        files: where leases are written down.
    """

    def __init__(
        self,
        neighbours: Callable[[], Iterable[Neighbour]],
        network: Callable[[], Network],
        files: LeaseFiles,
    ) -> None:
        self._neighbours = neighbours
        self._network = network
        self._files = files

    def neighbours(self) -> tuple[Neighbour, ...]:
        """The neighbour table of the networks that devices are in."""
        inside = {lan.interface for lan in self._lans()}
        return tuple(each for each in self._neighbours() if each.interface in inside)

    async def leases(self) -> tuple[Lease, ...]:
        """Every lease of the DHCP servers on this machine."""
        return await asyncio.to_thread(self._files.leases)

    async def probe(self, address: IPAddress, interface: str | None) -> None:
        """Have the kernel find out who has an address of a LAN, and wait a moment for the answer."""
        if not self._is_inside(address, interface):
            return  # nothing is sent outside
        try:
            probe(address, interface)
        except OSError as error:
            _log.warning("not_probed", address=str(address), interface=interface, why=str(error))
            return
        end = time.monotonic() + _WITHIN
        await asyncio.sleep(_LAG)
        while time.monotonic() < end:
            await asyncio.sleep(_EVERY)
            if any(each.address == address and each.state in _SETTLED for each in self.neighbours()):
                return

    async def ask_mdns(self, name: str) -> tuple[Announced, ...]:
        """What the devices of the LANs answer to a name."""
        from sekimori.host.mdns import ask  # late: a start does not wait for all of DNS

        return await ask(name, self._lans())

    def _is_inside(self, address: IPAddress, interface: str | None) -> bool:
        lans = self._lans()
        if address.is_link_local:  # of any link: the interface says which
            return any(lan.interface == interface for lan in lans)
        prefixes = (each for lan in lans for each in lan.prefixes)
        return any(address.version == each.version and address in each for each in prefixes)

    def _lans(self) -> tuple[Lan, ...]:
        return near_networks(self._network())


def near_networks(network: Network) -> tuple[Lan, ...]:
    """Where devices may be: the LANs, and what a WAN with a private address is in. The latter is the home
    itself, on a machine that is not its gateway; on one that is, it is the network of the router before it.
    """
    outer = [
        Lan(wan.interface, wan.prefixes, wan.addresses)
        for wan in network.wans
        if any(address in private for address in wan.addresses4 for private in _PRIVATE)
    ]
    return (*network.lans, *outer)
