"""Where a PCP request leads, and what is there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekimori.doors.portmap.standing import Asking, find_lease, outside_for
from sekimori.gate.devices import Inside
from sekimori.model.address import IPAddress, IpProtocol
from sekimori.model.mapping import Mapping
from sekimori.wire import pcp

__all__ = ["Place", "find_place", "refuse_other_outside"]

_PROTOCOLS: Final = {each.number: each for each in IpProtocol if each.has_ports}


@dataclass(frozen=True, slots=True)
class Place:
    """An inside port of a host.

    Attributes:
        lease: what the asker has there.
    """

    protocol: IpProtocol
    host: IPAddress
    port: int
    lease: Mapping | None

    @property
    def is_outbound(self) -> bool:
        """Whether the lease there was asked for by PEER."""
        return self.lease is not None and self.lease.lease is not None and self.lease.lease.outbound

    def outside_address(self, inside: Inside) -> IPAddress:
        """The address by which the host is reached from outside.

        Raises:
            pcp.BadRequest: NETWORK_FAILURE, there is none.
        """
        found = outside_for(inside, self.host)
        if found is None:
            raise pcp.BadRequest(f"no outside address for {self.host}", pcp.Result.NETWORK_FAILURE)
        return found


def find_place(inside: Inside, who: Asking, body: pcp.Map | pcp.Peer, third_party: IPAddress | None) -> Place:
    """Where a request leads.

    Raises:
        pcp.BadRequest: UNSUPP_PROTOCOL, for a protocol without ports, and for all protocols or all ports,
            which would be a DMZ that a device makes itself.
    """
    protocol = _PROTOCOLS.get(body.protocol)
    if protocol is None or body.inside_port == 0:
        raise pcp.BadRequest(f"protocol {body.protocol}, port {body.inside_port}", pcp.Result.UNSUPP_PROTOCOL)
    host = third_party or who.asker.address
    lease = find_lease(inside.snapshot(), who.device, protocol, host, body.inside_port)
    return Place(protocol, host, body.inside_port, lease)


def refuse_other_outside(place: Place, body: pcp.Map | pcp.Peer, outside: IPAddress) -> None:
    """Refuse what has another outside than the one that is asked for. Zeroes ask for any.

    Raises:
        pcp.BadRequest: CANNOT_PROVIDE_EXTERNAL.
    """
    port, address = body.outside_port, body.outside_address
    has = place.port if place.host.version == 6 else None
    if place.lease is not None:
        has = place.lease.ports[0].outside.first
    is_other_port = port != 0 and has is not None and port != has
    if is_other_port or not (address.is_unspecified or address == outside):
        raise pcp.BadRequest(f"not {address} port {port}", pcp.Result.CANNOT_PROVIDE_EXTERNAL)
