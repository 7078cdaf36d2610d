"""The gateway as the ledger remembers it, and what listens on this machine for it to let in."""

from __future__ import annotations

from collections.abc import Collection

from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import GATEWAY_KEY
from sekimori.model.door import Door, DoorName, ListenAt
from sekimori.model.gateway import Gateway
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.model.source import Sources
from sekimori.model.target import Target, TargetKind

__all__ = ["last_gateway", "listeners"]


def last_gateway(ledger: Ledger) -> Gateway | None:
    """The gateway that was enabled last, whether or not it still is."""
    if ledger.snapshot.gateway is not None:
        return ledger.snapshot.gateway
    row = ledger.last_change(GATEWAY_KEY)
    return Gateway.from_document(row.before) if row is not None and row.before else None


def listeners(snapshot: Snapshot, plane: str) -> Collection[Mapping]:
    """What processes of ours listen for: the mappings of a plane, and the SSH door as if it were more."""
    mappings, door = snapshot.by_plane(plane), snapshot.doors.get(DoorName.SSH)
    if door is None:
        return mappings
    places = map(ListenAt.parse, door.listen)
    return [*mappings, *(_as_mapping(door, place, f"ssh-{number}") for number, place in enumerate(places))]


def _as_mapping(door: Door, place: ListenAt, name: str) -> Mapping:
    port = PortRange(place.port, place.port)
    return Mapping(
        id=name,
        name=door.name,
        owner=door.owner,
        ports=(PortPair(IpProtocol.TCP, port, port),),
        target=Target(TargetKind.SELF, "self"),
        sources=Sources(anyone=True),
        lifetime=Lifetime.permanent(door.name),
        on=place.address,
        path=(Hop("relay"),),
    )
