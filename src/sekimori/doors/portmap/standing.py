"""What a device has already, and what its leases are worth now."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import Final

from sekimori.gate.devices import Inside
from sekimori.model.address import IPAddress, IpProtocol, PortPair
from sekimori.model.lease import Asker, NonceRule
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.snapshot import Snapshot

__all__ = [
    "LONGEST",
    "Asking",
    "clamp",
    "find_lease",
    "is_by_hand",
    "outside_for",
    "pair_of",
    "seconds_left",
]

_SHORTEST: Final = 120
LONGEST: Final = 86_400
_UNIQUE_LOCAL: Final = IPv6Network("fc00::/7")  # RFC 4193


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, as far as that was proved, and what the door does with another nonce."""

    device: Owner
    asker: Asker
    rule: NonceRule


def clamp(lifetime: int) -> int:
    """The seconds to ask policy for, of those that a device wished (RFC 6887 §15: 2 minutes to 24 hours)."""
    return min(max(lifetime, _SHORTEST), LONGEST)


def seconds_left(mapping: Mapping, now: float) -> int:
    """The seconds that a device is told its mapping has; a day of one that has more, or no end."""
    end = mapping.lifetime.expires_at
    return LONGEST if end is None else max(0, min(end - int(now), LONGEST))


def find_lease(
    snapshot: Snapshot, device: Owner, protocol: IpProtocol, inside: IPAddress, port: int
) -> Mapping | None:
    """The device's lease that begins at an inside port."""
    held = snapshot.leases_at(protocol, str(inside), port)
    return next((each for each in held if each.owner == device), None)


def is_by_hand(snapshot: Snapshot, protocol: IpProtocol, inside: IPAddress, port: int) -> bool:
    """Whether a mapping that no device made leads straight to an inside port."""
    return any(
        mapping.lease is None and mapping.target.address == inside and pair_of(mapping, protocol, port)
        for mapping in snapshot.claiming(protocol, port)
    )


def pair_of(mapping: Mapping, protocol: IpProtocol, port: int) -> PortPair | None:
    """The ports of a mapping among which an inside port is."""
    return next((each for each in mapping.ports if each.protocol is protocol and port in each.inside), None)


def outside_for(inside: Inside, host: IPAddress) -> IPAddress | None:
    """The address by which a host is reached from outside: ours in IPv4, its own in IPv6.

    None where there is none: no internet in that family, or an address that is not known there.
    """
    ours = inside.outside_address(host.version)
    if host.version == 4 or ours is None:
        return ours
    return None if host.is_link_local or host in _UNIQUE_LOCAL else host
