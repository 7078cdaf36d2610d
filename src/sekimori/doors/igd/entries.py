"""The array of port mappings as UPnP sees it: one entry for each outside port that a device has."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Final

from sekimori.gate.devices import Inside
from sekimori.model.address import IPAddress, IpProtocol, PortPair
from sekimori.model.events import Committed
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.snapshot import Snapshot
from sekimori.wire.igdlisting import Listed

__all__ = ["Entries", "entry_of", "find_pair", "is_entry"]

_PROTOCOLS: Final = (IpProtocol.TCP, IpProtocol.UDP)


class Entries:
    """The outside ports that devices have in IPv4, in the order of their numbers.

    The order is that of the ports because renewals must not change it: clients ask for one index after the
    other, and would miss an entry that moved. The keys are kept as changes come, so that no request costs
    more with more leases. `load` is to be called once, and `take` with every commit after it.

    Args:
        snapshot: what stands in the ledger.

    Attributes:
        update_id: another number after every change (SystemUpdateID). It is the revision that made it, so
            that it goes on after a restart.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._keys: list[int] = []
        self.update_id = 0

    def load(self) -> None:
        """Take up what stands now."""
        snapshot = self._snapshot()
        leases = [lease for owner in snapshot.leaseholders() for lease in snapshot.leases_of(owner)]
        self._keys = sorted({key for lease in leases for key in _keys(lease)})
        self.update_id = max((lease.revision for lease in leases if is_entry(lease)), default=0)

    def take(self, committed: Committed) -> None:
        """Take note of what was committed."""
        touched = False
        for change in committed.changes:
            before = _keys(change.before) if isinstance(change.before, Mapping) else ()
            after = _keys(change.after) if isinstance(change.after, Mapping) else ()
            touched = touched or bool(before or after)
            for key in before:
                self._drop(key)
            for key in after:
                self._drop(key)  # `load` may have seen it already
                insort(self._keys, key)
        if touched:
            self.update_id = committed.revision

    def __len__(self) -> int:
        return len(self._keys)

    def at(self, index: int) -> tuple[Mapping, IpProtocol, int] | None:
        """The mapping, protocol and outside port at an index; None behind the last."""
        while index < len(self._keys):
            port, number = divmod(self._keys[index], len(_PROTOCOLS))
            held = self.holder(_PROTOCOLS[number], port)
            if held is not None:
                return held, _PROTOCOLS[number], port
            index += 1  # it was closed a moment ago, and `take` has not been told yet
        return None

    def between(self, protocol: IpProtocol, first: int, last: int) -> Iterator[tuple[Mapping, int]]:
        """The mappings of devices with an outside port in a range, one for each port, in order."""
        kind = _PROTOCOLS.index(protocol)
        start = bisect_left(self._keys, first * len(_PROTOCOLS))
        end = bisect_left(self._keys, (last + 1) * len(_PROTOCOLS))
        for key in self._keys[start:end]:
            port, number = divmod(key, len(_PROTOCOLS))
            held = self.holder(protocol, port) if number == kind else None
            if held is not None:
                yield held, port

    def held_by(
        self, device: Owner, protocol: IpProtocol, first: int, last: int
    ) -> list[tuple[Mapping, int]]:
        """The same of one device, at the cost of what it has."""
        found = [
            (lease, port)
            for lease in self._snapshot().leases_of(device)
            if is_entry(lease)
            for pair in lease.ports
            if pair.protocol is protocol
            for port in pair.outside
            if first <= port <= last
        ]
        return sorted(found, key=lambda each: each[1])

    def holder(self, protocol: IpProtocol, port: int) -> Mapping | None:
        """Who has an outside port, a device or not; a pinhole has none of ours."""
        found = self._snapshot().claiming(protocol, port)
        return next((each for each in found if not each.place[1]), None)

    def _drop(self, key: int) -> None:
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            del self._keys[at]


def is_entry(mapping: Mapping) -> bool:
    """Whether a device has it, in IPv4."""
    return mapping.lease is not None and isinstance(mapping.target.address, IPv4Address)


def find_pair(mapping: Mapping, protocol: IpProtocol, port: int) -> PortPair | None:
    """The ports of a mapping among which an outside port is."""
    return next((each for each in mapping.ports if each.protocol is protocol and port in each.outside), None)


def entry_of(
    mapping: Mapping, protocol: IpProtocol, port: int, asker: IPAddress, here: IPAddress, inside: Inside
) -> Listed:
    """What a device is told of who has an outside port.

    Of the leases of other devices all is told. Clients need it: some decide by it whether to take another
    port, and those that look for a port of their own read on until the array ends. It is little, too, for
    whoever is on the link can ask each port for what the array says. Of what people and files made, no more
    is told than that the port is taken; it reads as if this gateway itself had it. But who it leads to is
    told all, for it looks there whether its port is open.

    Args:
        mapping: who has it.
        protocol: of the port.
        port: the outside port.
        asker: the device's address.
        here: ours that it talks to.
        inside: what is known.
    """
    pair = find_pair(mapping, protocol, port)
    assert pair is not None, "the mapping claims the port"
    to, inner = mapping.target.address, pair.inside.first
    if pair.inside.size == pair.outside.size:
        inner += port - pair.outside.first
    if mapping.lease is None and (to is None or to != asker):
        to, inner = here, port
    return Listed(
        remote_host=_remote_host(mapping),
        external_port=port,
        protocol=str(protocol).upper(),
        internal_port=inner,
        internal_client=str(to),
        enabled=not mapping.paused,
        description=mapping.lease.description if mapping.lease else "",
        lease=_seconds_left(mapping, inside.now()),
    )


def _keys(mapping: Mapping) -> tuple[int, ...]:
    if not is_entry(mapping):
        return ()
    count = len(_PROTOCOLS)
    return tuple(
        port * count + _PROTOCOLS.index(pair.protocol)
        for pair in mapping.ports
        if pair.protocol in _PROTOCOLS
        for port in pair.outside
    )


def _remote_host(mapping: Mapping) -> str:
    """Who may come in, as far as one address says it."""
    sources = mapping.sources
    return "" if sources.anyone or not sources.prefixes else str(sources.prefixes[0].network_address)


def _seconds_left(mapping: Mapping, now: float) -> int:
    """The lease that is told: 0 is one without an end, and of one that has an end at least 1 is left."""
    end = mapping.lifetime.expires_at
    lasting = mapping.lease is not None and mapping.lease.lasting
    return 0 if end is None or lasting else max(1, end - int(now))
