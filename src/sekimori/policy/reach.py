"""Whether a new connection like the one that somebody came by would still get through. Pure.

What the two planes do with such a connection is told here once more, from the terms alone: so a change can
be judged before it is made. Where the terms do not say (what a name or a device resolves to), the answer
is the one that keeps the way open for certain.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final, NamedTuple

from sekimori.model.address import Interface, IPAddress, IPNetwork, IpProtocol, On
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.network import Network
from sekimori.model.request import Caller
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind

__all__ = ["reaches", "would_cut"]

_KERNEL: Final = "kernel"
_RELAY: Final = "relay"
_LOOPBACK: Final[tuple[IPAddress, ...]] = (
    ipaddress.IPv4Address("127.0.0.1"),
    ipaddress.IPv6Address("::1"),
)


def would_cut(before: Snapshot, after: Snapshot, caller: Caller, network: Network, now: float) -> bool:
    """Whether a change keeps a caller from coming again the way they came.

    Args:
        before: how things stand.
        after: how they would stand.
        caller: the connection the caller came by.
        network: the machine's place.
        now: Unix seconds.
    """
    if not network.is_own(caller.source):
        return reaches(before, caller, network, now) and not reaches(after, caller, network, now)
    came = [] if _is_banned(before, caller, now) else list(_ways(before, caller, now))
    left = [] if _is_banned(after, caller, now) or not came else list(_ways(after, caller, now))
    return bool(came) and not any(new.holds(old) for old in came for new in left)


def reaches(snapshot: Snapshot, caller: Caller, network: Network, now: float) -> bool:
    """Whether a new TCP connection from where a caller came from would get to where it came to.

    - A ban of the source keeps it out, whatever else holds.
    - One whose source is an address of this machine itself was relayed: somebody came in by a mapping that
      leads here, and where from cannot be known. It gets through while such a mapping is open.
    - A packet to a WAN address goes where an open mapping of its port has it go. A permit, or a relay's
      listener, lets in whom its sources admit and nobody else. A forward or a trigger takes it away, where
      it translates packets of that family; it keeps out whom its sources do not admit in both.
    - A DMZ host never gets what a service of this machine listens for.
    - What no mapping decides passes unless the firewall is on, which lets in only hosts of the LAN.
    """
    if _is_banned(snapshot, caller, now):
        return False
    if network.is_own(caller.source):
        return any(True for _ in _ways(snapshot, caller, now))
    walled = snapshot.gateway is not None and snapshot.gateway.firewall
    passes = not walled or _is_inside(caller.source, network)
    if not network.is_wan_address(caller.destination):
        return passes
    for mapping in snapshot.claiming(IpProtocol.TCP, caller.dport):
        if mapping.wants_open(now) and _is_at(mapping.on, caller.destination, network):
            decided = _decides(mapping, snapshot, caller, passes)
            if decided is not None:
                return decided
    return passes


def _is_banned(snapshot: Snapshot, caller: Caller, now: float) -> bool:
    return any(caller.source in ban.prefix for ban in snapshot.bans.values() if not ban.has_ended(now))


def _decides(mapping: Mapping, snapshot: Snapshot, caller: Caller, passes: bool) -> bool | None:
    """What a mapping of the caller's port does with the connection; None when it does not concern it."""
    plane = mapping.plane
    if plane not in (_KERNEL, _RELAY) or mapping.kind is MappingKind.PINHOLE:
        return None
    if not _admits(mapping.sources.resolve(snapshot.lists), caller.source):
        return False
    if plane == _RELAY or mapping.kind is MappingKind.PERMIT:
        return True
    # What it does not translate is labelled as one that goes through, which the firewall's input is not for.
    return passes and not _translates(mapping, caller.destination.version)


def _translates(mapping: Mapping, family: int) -> bool:
    """Whether a forward of the kernel rewrites packets of a family that come to a WAN address."""
    match mapping.target.kind:
        case TargetKind.ADDRESS:
            address = mapping.target.address
            return address is not None and address.version == family
        case TargetKind.TRIGGER:
            return family == 4
        case _:  # in IPv6 its host is reached at its own address, where that needs no rewriting
            return family == 4 or mapping.on is not None or not mapping.is_straight


def _is_inside(source: IPAddress, network: Network) -> bool:
    """Whether packets of an address come in by a LAN."""
    if isinstance(source, ipaddress.IPv6Address) and source.is_link_local:
        return any(lan.interface == source.scope_id for lan in network.lans)
    return network.lan_of(source) is not None


def _is_at(on: On | None, destination: IPAddress, network: Network) -> bool:
    """Whether a WAN address is among those where a mapping claims its ports."""
    if on is None:
        return True
    if isinstance(on, Interface):
        return any(wan.interface == on.name and destination in wan.addresses for wan in network.wans)
    return on == destination or (on.is_unspecified and on.version == destination.version)


def _admits(sources: tuple[IPNetwork, ...] | None, source: IPAddress) -> bool:
    return sources is None or any(source in prefix for prefix in sources)


class _Way(NamedTuple):
    """An outside port by which a relay leads to where the caller is, and who may come by it.

    It may be at the far end of a link.
    """

    port: int
    on: On | None
    at: str | None
    sources: frozenset[IPNetwork] | None

    def holds(self, other: _Way) -> bool:
        """Whether whoever came by the other way can come by this one as they did."""
        if (self.port, self.at) != (other.port, other.at) or self.on not in (None, other.on):
            return False
        return self.sources is None or (other.sources is not None and other.sources <= self.sources)


def _ways(snapshot: Snapshot, caller: Caller, now: float) -> Iterator[_Way]:
    """By which open mappings somebody may have come whose connection was relayed."""
    # `localhost` is these by RFC 6761 §6.3.
    hosts = {str(caller.destination)}
    if caller.destination in _LOOPBACK:
        hosts |= {"self", "localhost"}
    for mapping in snapshot.by_plane(_RELAY):
        if mapping.target.host not in hosts or mapping.is_dialled_far or not mapping.wants_open(now):
            continue
        sources = mapping.sources.resolve(snapshot.lists)
        for pair in mapping.ports:
            if pair.protocol is IpProtocol.TCP and caller.dport in pair.inside:
                port = pair.outside.first + caller.dport - pair.inside.first
                yield _Way(port, mapping.on, mapping.at, None if sources is None else frozenset(sources))
