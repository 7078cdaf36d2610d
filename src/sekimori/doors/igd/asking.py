"""Who asks, as far as that was proved."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sekimori.gate.devices import Inside
from sekimori.model.address import IPAddress
from sekimori.model.lease import Asker, Obtain
from sekimori.model.mapping import Mapping, Owner
from sekimori.wire.igdfaults import BadCall, Fault

__all__ = ["Asking", "asker_for", "refuse_anothers"]


@dataclass(frozen=True, slots=True)
class Asking:
    """The other end of a connection.

    Attributes:
        here: our address that it connected to.
    """

    device: Owner
    asker: Asker
    here: IPAddress


async def asker_for(inside: Inside, who: Asking, host: IPAddress) -> Asker:
    """Where an ask comes from that leads to a host.

    A device speaks from one of its addresses and means another: from a unique local one and means a global
    one, from IPv6 and means IPv4. Where it is proved to have the other, it asks for itself. Where not, it
    asks for somebody else, about which the rules decide.
    """
    if host == who.asker.address:
        return who.asker
    owner = await inside.identify(host, who.asker.interface)
    return replace(who.asker, address=host) if owner == who.device else who.asker


def refuse_anothers(ask: Obtain, got: Mapping, who: Asking) -> None:
    """Refuse what another device has already, for another host than the one that asks: that it is open is not
    the asker's doing, and it may not ask for it.

    Raises:
        BadCall: 606.
    """
    if got.lease is not None and got.owner != who.device and ask.inside != ask.asker.address:
        raise BadCall(Fault.NOT_AUTHORIZED, "another device opened it, for another host")
