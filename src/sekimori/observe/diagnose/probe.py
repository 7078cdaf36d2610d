"""The packet that is asked about, and what becomes of it on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.observe.diagnose.strangers import Stranger

__all__ = ["OUR_PRIORITY", "Nat", "Packet", "Probe", "Way"]

OUR_PRIORITY: Final = -101
"""Where this program's chain for destination NAT stands: just before `dstnat` (-100)."""


class Way(StrEnum):
    """Where a packet from outside goes."""

    FORWARD = "forward"
    """Through this machine to another."""
    INPUT = "input"
    """To a program on this machine."""


@dataclass(frozen=True, slots=True)
class Nat:
    """What this program's own rules do with the destination of a packet, and when."""

    address: IPAddress
    port: int | None
    priority: int = OUR_PRIORITY


@dataclass(frozen=True, slots=True)
class Probe:
    """The first packet of a flow as it arrives.

    Attributes:
        protocol: as nft names it (`tcp`, `udp`, `gre`, `esp`, `ipv6`, ...).
        destination: where it is addressed to, before any NAT.
        dport: None for protocols without ports.
        iif: the interface it arrives by.
        oif: the one it leaves by; empty on the way to this machine itself.
        source: None is anyone on the internet.
        nat: None when our rules leave the destination alone (a pinhole, a service of this machine).
        own: this machine's addresses.
        reply: ask about the first packet back instead; everything else still tells of the packet there.
        sure_route: the way back to the source leaves by `iif` for certain (one WAN only).
    """

    protocol: str
    destination: IPAddress
    dport: int | None
    iif: str
    way: Way = Way.FORWARD
    oif: str = ""
    source: IPAddress | None = None
    nat: Nat | None = None
    own: frozenset[IPAddress] = frozenset()
    reply: bool = False
    sure_route: bool = True

    @property
    def target(self) -> IPAddress:
        """Where it arrives in the end."""
        return self.destination if self.nat is None else self.nat.address

    @property
    def target_port(self) -> int | None:
        """The port it arrives at in the end."""
        return self.dport if self.nat is None else self.nat.port

    @property
    def stranger(self) -> IPAddress | Stranger:
        """Who sent it."""
        return Stranger(self.destination.version) if self.source is None else self.source


@dataclass(slots=True)
class Packet:
    """A packet at one place of its way. Ports are None where the protocol has none.

    `marks` are the packet's and the flow's (`meta`, `ct`); None is an unknown mark.
    """

    probe: Probe
    saddr: IPAddress | Stranger
    daddr: IPAddress | Stranger
    sport: int | None
    dport: int | None
    iif: str
    oif: str
    status: frozenset[str] = frozenset()
    marks: dict[str, int | None] = field(default_factory=lambda: {"meta": 0, "ct": 0})

    @classmethod
    def arriving(cls, probe: Probe) -> Packet:
        """The packet as it comes in, or its answer as it leaves the target."""
        if not probe.reply:
            ends = (probe.stranger, probe.destination, None, probe.dport)
            return cls(probe, *ends, iif=probe.iif, oif="")
        status = {"seen-reply", "confirmed"} | ({"dnat"} if probe.nat else set())
        ends_back = (probe.target, probe.stranger, probe.target_port, None)
        return cls(probe, *ends_back, iif=probe.oif, oif="", status=frozenset(status))

    @property
    def state(self) -> str:
        """What conntrack calls it."""
        return "established" if self.probe.reply else "new"

    @property
    def version(self) -> int:
        """Its IP version."""
        return self.probe.destination.version

    def translate(self, nat: Nat) -> None:
        """Give it the destination that DNAT decides."""
        self.daddr = nat.address
        self.dport = nat.port if self.probe.dport is not None else None
        self.status |= {"dnat"}
