"""Leases whose device is gone: ended. Leases asked for without an end whose device is there: renewed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import structlog

from sekimori.gate.devices import Inside
from sekimori.gate.ports import Gate
from sekimori.model.address import IPAddress
from sekimori.model.errors import Problem
from sekimori.model.lifetime import parse_duration
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.request import Close, Context, Renew
from sekimori.reconcile.ports import Clock

__all__ = ["Departures"]

EVERY: Final = 30.0
"""Seconds between looks."""
GONE_AFTER: Final = 600.0
"""Seconds that a device may be silent. Each look asks it anew, by ARP or neighbour discovery, which a phone
that dozes answers too; but it may be carried out of the range of its network for a while."""
_AT_ONCE: Final = 16
"""Devices that are asked at the same time."""

_log = structlog.get_logger("departures")


class Departures:
    """Looks, every half minute, for the device of each lease at the address that the lease leads to.

    - Another device has the address: the lease ends now, for its port would lead to a stranger.
    - Nobody has it for ten minutes: the lease ends.
    - The device is there, and had asked without an end: at half its time the lease is renewed.
    """

    def __init__(self, gate: Gate, inside: Inside, clock: Clock) -> None:
        self._gate = gate
        self._inside = inside
        self._clock = clock
        self._silent_since: dict[tuple[Owner, IPAddress], float] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        never = asyncio.Event()
        while True:
            await self._clock.wait_until(self._clock.now() + EVERY, never)
            await self.look()

    async def look(self) -> None:
        """Look once, at every device that holds a lease."""
        places = self._places()
        self._silent_since = {key: at for key, at in self._silent_since.items() if key in places}
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look_at(device: Owner, address: IPAddress, leases: list[Mapping]) -> None:
            async with turns:
                await self._look_at(device, address, leases)

        async with asyncio.TaskGroup() as tasks:
            for (device, address), leases in places.items():
                tasks.create_task(look_at(device, address, leases))

    def _places(self) -> dict[tuple[Owner, IPAddress], list[Mapping]]:
        """The leases by device and the address they lead to."""
        snapshot = self._inside.snapshot()
        found: dict[tuple[Owner, IPAddress], list[Mapping]] = defaultdict(list)
        for device in snapshot.leaseholders():
            for mapping in snapshot.leases_of(device):
                if mapping.target.address is not None:
                    found[device, mapping.target.address].append(mapping)
        return found

    async def _look_at(self, device: Owner, address: IPAddress, leases: list[Mapping]) -> None:
        now = self._clock.now()
        lan = self._inside.network().lan_of(address)
        there = None if lan is None else await self._inside.find_present(address, lan.interface)
        if there == device or (there is not None and _is_for_another(leases)):
            self._silent_since.pop((device, address), None)
            await self._renew(device, [each for each in leases if _wants_renewal(each, now)])
        elif there is not None:
            await self._end(leases, f"{address} now belongs to {there.id}")
        elif now - self._silent_since.setdefault((device, address), now) >= GONE_AFTER:
            await self._end(leases, f"nobody answers at {address}")

    async def _end(self, leases: Iterable[Mapping], why: str) -> None:
        for mapping in leases:
            _log.info("lease_ended", name=mapping.name, device=mapping.owner.id, why=why)
            await self._ask(mapping, Close(mapping.id, now=True), why)

    async def _renew(self, device: Owner, leases: Iterable[Mapping]) -> None:
        for mapping in leases:
            await self._ask(mapping, Renew(mapping.id), f"{device.id} is still there")

    async def _ask(self, mapping: Mapping, ask: Close | Renew, why: str) -> None:
        try:
            await self._gate.enact([ask], Context(mapping.owner, "guard", why))
        except Problem as problem:
            # It may have ended by itself meanwhile; what stands is looked at again in half a minute.
            _log.warning("lease_not_changed", name=mapping.name, problem=problem.title())


def _is_for_another(leases: Iterable[Mapping]) -> bool:
    """Whether a device asked for these on behalf of another host: then that host's MAC address is not its."""
    return all(each.lease is not None and each.lease.third_party for each in leases)


def _wants_renewal(mapping: Mapping, now: float) -> bool:
    if mapping.lease is None or not mapping.lease.lasting or mapping.lifetime.expires_at is None:
        return False
    return mapping.lifetime.expires_at - now < parse_duration(mapping.lifetime.value) / 2
