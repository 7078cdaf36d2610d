"""Who has which address, by all the evidence there is of one moment.

The neighbour table is what the kernel itself found out by ARP (RFC 826) and neighbour discovery (RFC 4861);
a lease is what the DHCP server intends; an mDNS answer is what a device says of itself. The neighbour table
overrules the other two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final, TypeVar

from sekimori.model.address import IPAddress
from sekimori.model.device import Announced, Device, Lease, LeaseServer, Sighting, SightingSource
from sekimori.model.errors import Problem
from sekimori.model.network import Neighbour, NeighbourState

__all__ = ["Census", "Found", "Grade", "find_mac", "locate"]

_A = TypeVar("_A", IPv4Address, IPv6Address)
_UNIQUE_LOCAL: Final = IPv6Network("fc00::/7")  # RFC 4193
_THERE: Final = frozenset(
    {
        NeighbourState.REACHABLE,
        NeighbourState.STALE,
        NeighbourState.DELAY,
        NeighbourState.PROBE,
        NeighbourState.PERMANENT,
    }
)
"""States of an entry whose MAC address the kernel uses. In `failed` and `incomplete` nobody answered."""


class Grade(StrEnum):
    """How well it is known that a device has an address; the best first."""

    LEASED_AND_SEEN = "leased-and-seen"
    SEEN = "seen"
    """It has answered there of late; or it is reached there now, and the table does not deny it."""
    LEASED = "leased"
    """The neighbour table does not say: nobody has asked of late."""
    REMEMBERED = "remembered"
    """It once was there. The table forgets slowly, so that it may have left hours ago."""
    LEASED_BUT_SILENT = "leased-but-silent"
    """Somebody asked, and it did not answer: switched off, asleep, or gone."""


_ORDER: Final = {grade: place for place, grade in enumerate(Grade)}


@dataclass(frozen=True, slots=True)
class Found:
    """Where a device is. Without addresses there is a problem."""

    addresses: tuple[IPAddress, ...]
    problem: Problem | None = None


class Census:
    """All evidence of one moment, and what follows from it.

    - An entry of the neighbour table counts in the states in which the kernel sends to its MAC address.
    - A lease counts until it expires; of several for one address the one that expires last.
    - An address is in dispute where a lease, or an answer, gives it to one device and the neighbour table
      shows another there. It is nobody's new place until that is settled, for the kernel would send what is
      meant for the one to the other. The entry may be old, so that `to_ask` has the address asked about: who
      answers has it, and where nobody does, the lease counts again.
    - A name is told by leases and by mDNS. Of an address without a MAC address in the lease, or in the
      answer, the neighbour table tells whose it is; but only while whoever it shows has answered there of
      late, for its older entries may be of somebody who has left.
    - Addresses that mean something on one link only, and those that are no host's, are left out; of IPv6,
      global and unique local ones remain.
    """

    def __init__(
        self,
        neighbours: Iterable[Neighbour] = (),
        leases: Iterable[Lease] = (),
        announced: Iterable[Announced] = (),
        *,
        now: float,
    ) -> None:
        self._seen: dict[IPAddress, dict[str, str]] = {}
        """By address the MAC addresses found there, each with its interface."""
        self._silent: set[IPAddress] = set()
        self._confirmed: set[IPAddress] = set()
        for each in neighbours:
            self._note(each)
        self._leases = _standing(leases, now)
        self._announced = [each for each in announced if _is_hosts(each.address)]
        self._by_mac: dict[str, dict[IPAddress, set[SightingSource]]] = {}
        self._leased: dict[str, list[IPAddress]] = {}
        """By MAC address what leases give it, in dispute or not."""
        for address, macs in self._seen.items():
            for mac in macs:
                self._add(mac, address, SightingSource.NEIGHBOUR)
        for lease in self._leases:
            if lease.mac is not None:
                self._leased.setdefault(lease.mac, []).append(lease.address)
                if self._agrees(lease.address, lease.mac):
                    self._add(lease.mac, lease.address, SightingSource.LEASE)
        self._names: dict[str, set[str]] = {}
        self._unowned: dict[str, dict[IPAddress, None]] = {}
        """By name the addresses that were told without a MAC address."""
        self._told: dict[str, dict[IPAddress, None]] = {}
        """By name the addresses that leases and mDNS give it, in that order."""
        self._note_names()

    def sightings(self, mac: str) -> tuple[Sighting, ...]:
        """Everything that speaks for one device, a line per address and kind of evidence."""
        found = self._by_mac.get(mac, {})
        told = {each.address for each in self._announced}
        lines = []
        for address, sources in found.items():
            interface = self._seen.get(address, {}).get(mac)
            lines += [Sighting(address, mac, source, interface) for source in sorted(sources)]
            if address in told:
                lines.append(Sighting(address, mac, SightingSource.MDNS, interface))
        return tuple(lines)

    def device(self, mac: str, using: Sequence[IPAddress] = ()) -> Device:
        """What is known of one device; without addresses where nothing is.

        Args:
            mac: lower case with colons.
            using: the addresses it is reached at now. Among equals they stay first, so that nothing is
                sent elsewhere without a reason.
        """
        found, rank = self._by_mac.get(mac, {}), self._rank(mac, using)
        four = _best([each for each in found if isinstance(each, IPv4Address)], rank)
        six = _best([each for each in found if isinstance(each, IPv6Address)], rank)
        names = tuple(sorted(name for name, macs in self._names.items() if mac in macs))
        return Device(mac, names, four, six, self._server(mac))

    def devices(self) -> tuple[Device, ...]:
        """Every device there is any evidence of, by MAC address."""
        return tuple(self.device(mac) for mac in sorted(self._by_mac))

    def grade(self, mac: str, address: IPAddress, using: Sequence[IPAddress] = ()) -> Grade:
        """How well it is known that the device has the address; it must be one that `device` may give."""
        sources = self._by_mac.get(mac, {}).get(address, set())
        leased = SightingSource.LEASE in sources
        if SightingSource.NEIGHBOUR in sources and (address in self._confirmed or address in using):
            return Grade.LEASED_AND_SEEN if leased else Grade.SEEN
        if not leased:
            return Grade.REMEMBERED
        return Grade.LEASED_BUT_SILENT if address in self._silent else Grade.LEASED

    def macs_of(self, name: str) -> tuple[str, ...]:
        """The devices that go by a name, with or without a domain behind it; more than one is ambiguous."""
        return tuple(sorted(self._names.get(name, ())))

    def unowned(self, name: str) -> tuple[IPAddress, ...]:
        """The addresses of a name that were told without saying whose they are."""
        return tuple(self._unowned.get(name, ()))

    def is_proved(self, address: IPAddress) -> bool:
        """Whether somebody has answered at an address of late."""
        return address in self._confirmed

    def others_at(self, address: IPAddress, mac: str) -> tuple[str, ...]:
        """Who else has an address: by the neighbour table, or where it says nothing, by a lease."""
        seen = self._seen.get(address) or {each.mac for each in self._leases if each.address == address}
        return tuple(sorted(other for other in seen if other not in (mac, None)))

    def interface_of(self, address: IPAddress) -> str | None:
        """The interface on whose link an address was seen, whoever has it."""
        return next(iter(self._seen.get(address, {}).values()), None)

    def to_ask(self, mac: str, name: str = "") -> tuple[IPAddress, ...]:
        """Every address where it should be found out whether a device is there: where it was seen, and where
        a lease or its name has it, whoever else the neighbour table shows.

        Args:
            mac: lower case with colons.
            name: what it goes by; empty where only its MAC address is known.
        """
        places = (*self._by_mac.get(mac, ()), *self._leased.get(mac, ()), *self.addresses_named(name))
        return tuple(dict.fromkeys(places))

    def is_silent(self, address: IPAddress) -> bool:
        """Whether the kernel has asked for an address, and nobody answered."""
        return address in self._silent

    def owned_addresses(self, mac: str) -> frozenset[IPAddress]:
        """The addresses that the neighbour table proves a device to have. One that another device is seen
        at too is nobody's.
        """
        return frozenset(address for address, macs in self._seen.items() if macs.keys() == {mac})

    def addresses_named(self, name: str) -> tuple[IPAddress, ...]:
        """The addresses that leases and mDNS give a name, whoever has them."""
        return tuple(self._told.get(name, ()))

    def _note(self, entry: Neighbour) -> None:
        if not _is_hosts(entry.address):
            return
        if entry.state in _THERE and entry.mac is not None:
            self._seen.setdefault(entry.address, {})[entry.mac] = entry.interface
            if entry.state in (NeighbourState.REACHABLE, NeighbourState.PERMANENT):
                self._confirmed.add(entry.address)
        elif entry.state is NeighbourState.FAILED:
            self._silent.add(entry.address)

    def _add(self, mac: str, address: IPAddress, source: SightingSource) -> None:
        self._by_mac.setdefault(mac, {}).setdefault(address, set()).add(source)

    def _agrees(self, address: IPAddress, mac: str) -> bool:
        seen = self._seen.get(address)
        return not seen or mac in seen

    def _note_names(self) -> None:
        pairs = [(each.name, each.address, each.mac) for each in self._leases if each.name]
        pairs += [(each.name, each.address, None) for each in self._announced]
        for name, address, mac in pairs:
            for form in _forms(name):
                self._names.setdefault(form, set()).update([mac] if mac else self._answering(address))
                self._told.setdefault(form, {})[address] = None
                if mac is None:
                    self._unowned.setdefault(form, {})[address] = None

    def _answering(self, address: IPAddress) -> Iterable[str]:
        return self._seen.get(address, {}) if address in self._confirmed else ()

    def _server(self, mac: str) -> LeaseServer | None:
        ours = [each for each in self._leases if each.mac == mac]
        return next((each.server for each in ours if each.address.version == 4), None)

    def _rank(self, mac: str, using: Sequence[IPAddress]) -> _Rank:
        leased = frozenset(each.address for each in self._leases if each.mac in (mac, None))
        grades = {address: _ORDER[self.grade(mac, address, using)] for address in self._by_mac.get(mac, {})}
        return _Rank(mac, grades, leased, {address: place for place, address in enumerate(using)})


@dataclass(frozen=True, slots=True)
class _Rank:
    """How the addresses of one device compare."""

    mac: str
    grades: dict[IPAddress, int]
    leased: frozenset[IPAddress]
    using: dict[IPAddress, int]

    def worth(self, address: IPAddress) -> tuple[int, bool]:
        """What tells a better address from a worse one: of these only the best are given out."""
        return self.grades[address], not (address.version == 4 or self._is_stable(address))

    def order(self, address: IPAddress) -> tuple[int, bool, int]:
        """Among those of equal worth."""
        local = isinstance(address, IPv6Address) and address in _UNIQUE_LOCAL
        return self.using.get(address, len(self.using)), local, int(address)

    def _is_stable(self, address: IPAddress) -> bool:
        """Whether an IPv6 address can be told to last. One whose lower half is random may be either a
        stable one (RFC 7217) or a temporary one (RFC 8981): from outside the two look the same.
        """
        low = int(address) & (1 << 64) - 1
        return address in self.leased or low >> 16 == 0 or low == _eui64(self.mac)


def _best(addresses: list[_A], rank: _Rank) -> tuple[_A, ...]:
    worth = min(map(rank.worth, addresses), default=None)
    return tuple(sorted((each for each in addresses if rank.worth(each) == worth), key=rank.order))


def find_mac(census: Census, name: str) -> str:
    """The one device that goes by a name.

    Raises:
        Problem: `device-not-found`, or `device-ambiguous` where two do.
    """
    macs = census.macs_of(name)
    if not macs:
        raise Problem("device-not-found", device=name)
    if len(macs) > 1:
        raise Problem("device-ambiguous", name=name, macs=", ".join(macs))
    return macs[0]


def locate(census: Census, mac: str, name: str, last: Sequence[IPAddress]) -> Found:
    """Where a device is now.

    One that is silent is taken to be asleep at its last address of a family, unless another device is seen
    there: then nothing may be sent there any more. It is found to have moved when it has a lease of another
    address, or answers there; not because it once was there.

    Args:
        census: the evidence of now.
        mac: lower case with colons.
        name: what people call it, for a problem.
        last: the addresses it was last known at, best first.
    """
    device = census.device(mac, last)
    remembered = Grade.REMEMBERED if last else None
    found: list[IPAddress] = []
    for family, version in ((device.addresses4, 4), (device.addresses6, 6)):
        now = [each for each in family if census.grade(mac, each, last) is not remembered]
        asleep = [each for each in last if each.version == version and not census.others_at(each, mac)]
        found += now or asleep
    if found:
        return Found(tuple(found))
    taken = next(iter(last), None)
    if taken is not None:
        other = ", ".join(census.others_at(taken, mac))
        return Found((), Problem("device-moved-away", device=name, address=str(taken), other=other))
    return Found((), Problem("device-not-found", device=name))


def _standing(leases: Iterable[Lease], now: float) -> list[Lease]:
    """The leases that count, one for an address."""
    last: dict[IPAddress, Lease] = {}
    for lease in leases:
        if _end(lease) > now and _is_hosts(lease.address):
            other = last.get(lease.address)
            last[lease.address] = lease if other is None or _end(lease) >= _end(other) else other
    return list(last.values())


def _end(lease: Lease) -> float:
    return math.inf if lease.expires_at is None else lease.expires_at


def _forms(name: str) -> set[str]:
    """The name as it is, and without its domain."""
    return {name, name.partition(".")[0]}


def _is_hosts(address: IPAddress) -> bool:
    """Whether it may be the address of a machine that others are sent to."""
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, IPv6Address):
        return address in _UNIQUE_LOCAL or int(address) >> 125 == 1  # 2000::/3
    return not address.is_reserved


def _eui64(mac: str) -> int:
    """The lower half of an address made from a MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return int.from_bytes(bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])
