"""Targets that are devices: where each is now, and whether somebody else has taken its address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sekimori.model.address import IPAddress
from sekimori.model.census import Census, Found, find_mac, locate
from sekimori.model.device import Announced, Device, Lease, reservation
from sekimori.model.errors import Problem
from sekimori.model.network import Neighbour
from sekimori.model.target import Target
from sekimori.reconcile.ports import Clock

__all__ = ["Devices", "Sightings"]

_TICK: Final = 0.5
"""Seconds between looks at lease files while a device is followed; the neighbour table wakes us by itself."""
_PROBE_EVERY: Final = 1.5
"""Seconds. The kernel gives a neighbour that does not answer three seconds more, so that one which has gone
is known to be gone within five. It asks the MAC address that it knows, and nobody else, so long: a device
that is where another was is found then, when it has forgotten the other."""
_ASK_EVERY: Final = 10.0
"""Seconds between mDNS questions for a device that is nowhere to be found, and for which an answer is
believed (RFC 6762 §6.7)."""


_ROUNDS: Final = 8
"""Probes, of a second each, until it is known who has an address: the kernel gives one who does not answer
three seconds, and without CAP_NET_ADMIN it begins five seconds later."""


class Sightings(Protocol):
    """The evidence that this machine can give of devices on its LANs."""

    def neighbours(self) -> Sequence[Neighbour]:
        """The neighbour table of the LANs, as the kernel has it now."""
        ...

    async def leases(self) -> Sequence[Lease]:
        """Every lease of the DHCP servers on this machine; reads what has changed."""
        ...

    async def probe(self, address: IPAddress, interface: str | None) -> None:
        """Have the kernel find out who has an address, and return when it knows or after about a second."""
        ...

    async def ask_mdns(self, name: str) -> Sequence[Announced]:
        """What the devices of the LANs answer to a name."""
        ...


@dataclass(slots=True)
class _Followed:
    """One device target.

    Attributes:
        last: where it was when it was last anywhere.
    """

    found: Found
    last: tuple[IPAddress, ...] = ()
    ask_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """What mDNS answered to one name, and until when it is believed."""

    answers: tuple[Announced, ...]
    until: float


class Devices:
    """Where every device target is, found out anew as leases and the neighbour table change."""

    def __init__(self, sightings: Sightings, clock: Clock, changed: Callable[[Target], None]) -> None:
        self._sightings = sightings
        self._clock = clock
        self._changed = changed
        self._followed: dict[Target, _Followed] = {}
        self._heard: dict[str, _Heard] = {}
        self._leases: tuple[Lease, ...] = ()
        self._census = Census(now=clock.now())
        self._news: frozenset[tuple[IPAddress, bool]] = frozenset()
        """Every place of a followed device, and whether it was silent at the last look."""
        self._probe_at = 0.0
        self._wake = asyncio.Event()

    def addresses(self, target: Target) -> tuple[str, ...]:
        """Where a device is, best address first; empty when that is not known, or another is there."""
        followed = self._followed.get(target)
        return tuple(map(str, followed.found.addresses)) if followed else ()

    def problem(self, target: Target) -> Problem | None:
        """Why a device has no addresses: `device-not-found`, `device-moved-away` or `device-ambiguous`."""
        followed = self._followed.get(target)
        return followed.found.problem if followed else Problem("device-not-found", device=str(target))

    def device(self, target: Target) -> Device:
        """What is known of a pinned device now."""
        followed = self._followed.get(target)
        return self._census.device(target.mac, followed.found.addresses if followed else ())

    def reservation(self, target: Target) -> str | None:
        """The line for the DHCP server on this machine that would keep a device at its IPv4 address; None
        where no such server leases it one.
        """
        device = self.device(target)
        if device.server is None or not device.addresses4:
            return None
        return reservation(device, device.server)

    def owned(self, mac: str) -> frozenset[IPAddress]:
        """The addresses that the neighbour table of this moment proves a device to have."""
        return Census(self._sightings.neighbours(), now=self._clock.now()).owned_addresses(mac)

    async def learn(self, target: Target) -> Target:
        """The target with the MAC address it is known by from now on.

        A name that is followed already stays the device that it was: another that calls itself so does
        not get what was meant for the first. A MAC address need not be there now.

        Raises:
            Problem: `device-not-found` or `device-ambiguous`.
        """
        pinned = target if target.mac else await self._find(target)
        await self._look()
        await self._probe(self._places(pinned))
        await self._look()
        self.follow(pinned, True)
        return pinned

    async def start(self, targets: Iterable[Target]) -> None:
        """Follow these devices, and find out where they are before anything else is done."""
        self.keep(targets)
        if self._followed:
            await self._look()
            await self._probe(self._all_places())
            await self._look()

    def keep(self, targets: Iterable[Target]) -> None:
        """Follow exactly these devices from now on."""
        wanted = set(targets)
        for target in self._followed.keys() | wanted:
            self.follow(target, target in wanted)

    def follow(self, target: Target, wanted: bool) -> None:
        """Follow this device from now on, or no longer; the others as before."""
        if not wanted:
            self._followed.pop(target, None)
        elif target not in self._followed:
            self._followed[target] = self._locate(target, None)
            self.wake()

    def wake(self) -> None:
        """Look again now: the neighbour table has changed."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the devices as they move, for ever."""
        async with asyncio.TaskGroup() as tasks:
            probing: asyncio.Task[None] | None = None
            while True:
                self._wake.clear()
                await self._look()
                # Probes under way may be waiting for somebody who is silent; news does not wait with them.
                if self._has_news() or (self._is_probe_due() and (probing is None or probing.done())):
                    self._probe_at = self._clock.now() + _PROBE_EVERY
                    probing = tasks.create_task(self._ask_around(), name="probes")
                next_look = self._clock.now() + _TICK if self._followed else None
                await self._clock.wait_until(next_look, self._wake)

    # -- looking -----------------------------------------------------------------

    async def _look(self) -> None:
        """Take all evidence anew, and tell of every device that has changed its place."""
        self._leases = tuple(await self._sightings.leases())
        now = self._clock.now()
        self._heard = {name: heard for name, heard in self._heard.items() if heard.until > now}
        announced = [each for heard in self._heard.values() for each in heard.answers]
        self._census = Census(self._sightings.neighbours(), self._leases, announced, now=now)
        moved: list[Target] = []
        for target, old in self._followed.items():
            new = self._locate(target, old)
            self._followed[target] = new
            if _told(old.found) != _told(new.found):
                moved.append(target)
        for target in moved:
            self._changed(target)

    def _locate(self, target: Target, old: _Followed | None) -> _Followed:
        last = old.last if old else ()
        found = locate(self._census, target.mac, str(target), last)
        return _Followed(found, found.addresses or last, old.ask_at if old else 0.0)

    async def _find(self, target: Target) -> Target:
        name = target.host.removeprefix("device:")
        kept = {each.mac for each in self._followed if each.host == target.host}
        if len(kept) == 1:
            return target.pinned(kept.pop())
        await self._look()
        if not self._census.macs_of(name):
            await self._ask(name)
        # A lease or an answer without a MAC address says where to look for one.
        await self._prove(name)
        return target.pinned(find_mac(self._census, name))

    async def _prove(self, name: str) -> None:
        """Find out who has the addresses that were told of a name without saying whose they are.

        Each is asked about once at least, for who was there a moment ago may have left. The kernel asks who
        it believes to be there before it asks everybody: so one who has fallen silent is asked about again.
        """
        places = self._census.unowned(name)
        for _ in range(_ROUNDS):
            if not places:
                return
            believed = {each for each in places if self._census.interface_of(each) is not None}
            await self._probe(places)
            await self._look()
            unsure = (each for each in places if not self._census.is_proved(each))
            places = tuple(each for each in unsure if each in believed or not self._census.is_silent(each))

    # -- asking ------------------------------------------------------------------

    def _is_probe_due(self) -> bool:
        return bool(self._followed) and self._clock.now() >= self._probe_at

    def _has_news(self) -> bool:
        """Whether to probe at once: where a device has a new address, or is said to have one where the
        kernel believes another to be, for it may have left the old one; or where an address has fallen
        silent, for the kernel has forgotten who was there, and now asks everybody.
        """
        before = self._news
        self._news = frozenset((address, self._census.is_silent(address)) for address in self._all_places())
        return bool(self._news - before)

    async def _ask_around(self) -> None:
        """Probe where the devices are, were or are said to be, and ask for those that are nowhere by their
        names meanwhile.
        """
        now = self._clock.now()
        names = []
        for target, followed in self._followed.items():
            if followed.found.problem and followed.ask_at <= now and target.host.startswith("device:"):
                followed.ask_at = now + _ASK_EVERY
                names.append(target.host.removeprefix("device:"))
        known = frozenset(self._all_places())
        await asyncio.gather(self._probe(known), self._ask_each(names))
        await self._probe(each for each in self._all_places() if each not in known)
        self.wake()

    async def _ask_each(self, names: Iterable[str]) -> None:
        for name in names:
            await self._ask(name)

    async def _ask(self, name: str) -> None:
        answers = tuple(await self._sightings.ask_mdns(name))
        self._heard[name] = _Heard(answers, self._clock.now() + _ASK_EVERY)
        await self._look()

    async def _probe(self, addresses: Iterable[IPAddress]) -> None:
        places = [(address, self._census.interface_of(address)) for address in dict.fromkeys(addresses)]
        await asyncio.gather(*(self._sightings.probe(*place) for place in places))

    def _all_places(self) -> list[IPAddress]:
        """Every address where a followed device may be, or was last."""
        return [
            address
            for target, each in self._followed.items()
            for address in (*each.last, *self._places(target))
        ]

    def _places(self, target: Target) -> tuple[IPAddress, ...]:
        """Every address where a device may be."""
        name = target.host.removeprefix("device:")
        return self._census.to_ask(target.mac, "" if name == target.host else name)


def _told(found: Found) -> tuple[tuple[IPAddress, ...], str]:
    """What others know of where a device is."""
    return found.addresses, found.problem.title() if found.problem else ""
