"""Leases by the thousand, as devices of a large home would hold them."""

from __future__ import annotations

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.lease import LeaseProtocol, LeaseTerms
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.source import Sources
from sekimori.model.target import Target

__all__ = ["many_leases"]

_DEVICES = 200


def many_leases(count: int) -> list[Mapping]:
    """So many leases of two hundred devices, of UDP ports from 10000 on, each to port 5000 of its device or
    the ports after it.
    """
    return [_lease(number) for number in range(count)]


def _lease(number: int) -> Mapping:
    last, inside = number % _DEVICES + 20, 5000 + number // _DEVICES
    pair = PortPair(IpProtocol.UDP, PortRange(10_000 + number, 10_000 + number), PortRange(inside, inside))
    return Mapping(
        id=f"m{number}",
        name=f"n{number}",
        owner=Owner(OwnerKind.DEVICE, f"02:00:00:00:00:{last:02x}"),
        ports=(pair,),
        target=Target.parse_host(f"192.168.1.{last}"),
        sources=Sources(anyone=True),
        lifetime=Lifetime.lasting(3600, 1_750_000_000),
        lease=LeaseTerms(protocol=LeaseProtocol.IGD, description=f"a lease {number}"),
        path=(Hop("kernel"),),
    )
