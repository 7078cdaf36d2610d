"""Leases: mappings that a device asks for by itself, over a protocol that knows no names and no owners."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sekimori.model.address import IPAddress, IpProtocol, PortRange
from sekimori.model.lifetime import Lifetime
from sekimori.model.source import Sources

__all__ = ["Adopt", "Asker", "LeaseProtocol", "LeaseTerms", "NonceRule", "Obtain", "Release"]


class LeaseProtocol(StrEnum):
    """The protocol by which a device asked."""

    IGD = "igd"
    """UPnP Internet Gateway Device, WANIPConnection and WANIPv6FirewallControl."""
    PCP = "pcp"
    """RFC 6887."""
    NATPMP = "nat-pmp"
    """RFC 6886."""
    SSH = "ssh"
    """The remote forwarding of RFC 4254 §7.1, by a session at the SSH door."""


class NonceRule(StrEnum):
    """What becomes of a PCP request for a lease that was made with another nonce (RFC 6887 §11.3).

    Clients that were restarted have lost theirs, and some draw a new one for every request.
    """

    STRICT = "strict"
    SAME_SOURCE = "same-source"
    """The device that has the lease may renew and end it, whatever the nonce. Which device asks is known by
    its MAC address, so a nonce that another has overheard gives nothing away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """What a mapping keeps of how its device asked.

    Attributes:
        description: the device's own words (UPnP's NewPortMappingDescription), as they are shown to people.
        nonce: PCP's mapping nonce, 24 hexadecimal digits; "" without one.
        lasting: asked for without an end (lease 0 of IGD:1). It is renewed while its device is there.
        outbound: asked for by PEER: it lets in one remote peer, and no listener is meant.
        third_party: it leads to another host than the device that asked.
        generation: how often an SSH session has taken it, its first included; 0 of other protocols.
        any_port: an SSH session asked for whichever port there is, and may be given this one again.
    """

    protocol: LeaseProtocol
    description: str = ""
    nonce: str = ""
    lasting: bool = False
    outbound: bool = False
    third_party: bool = False
    generation: int = 0
    any_port: bool = False

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "protocol": str(self.protocol),
            "description": self.description,
            "nonce": self.nonce,
            "lasting": self.lasting,
            "outbound": self.outbound,
            "third_party": self.third_party,
            "generation": self.generation,
            "any_port": self.any_port,
        }

    @classmethod
    def from_document(cls, document: MappingABC[str, Any]) -> LeaseTerms:
        """Read `to_document` back.

        Raises:
            KeyError, ValueError: the document is not a lease's.
        """
        return cls(
            protocol=LeaseProtocol(document["protocol"]),
            description=document["description"],
            nonce=document["nonce"],
            lasting=document["lasting"],
            outbound=document["outbound"],
            third_party=document["third_party"],
            generation=document.get("generation", 0),
            any_port=document.get("any_port", False),
        )


@dataclass(frozen=True, slots=True)
class Asker:
    """Where a device asked from: the source address of its packet, and the interface it came in by."""

    address: IPAddress
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtain:
    """Open a lease, or renew the one that stands.

    The actor of the context is the device. The same inside protocol, address and ports are the same lease
    (RFC 6887 §11.3), so asking again renews it, on the outside ports it has; but in IGD the outside port
    tells one mapping from another, and asking for one that the device holds changes it.

    Attributes:
        inside: the host it leads to; the asker's own address, unless a permission says otherwise.
        ports: the inside ports, one or a few (RFC 7753).
        outside: the first outside port that is wished for; None is any.
        exact: that port or none.
        by_outside: the outside port tells the lease.
        lifetime: seconds; policy may grant fewer.
        sources: who may come in; None leaves a standing lease as it is, and is anyone for a new one.
        avoid: outside ports that were found to be in use on this machine.
    """

    asker: Asker
    protocol: IpProtocol
    inside: IPAddress
    ports: PortRange
    lifetime: int
    terms: LeaseTerms
    outside: int | None = None
    exact: bool = False
    by_outside: bool = False
    sources: Sources | None = None
    nonce_rule: NonceRule = NonceRule.SAME_SOURCE
    avoid: frozenset[int] = field(default_factory=frozenset)

    @property
    def wish(self) -> str:
        """The ports as people are told of them: `udp/3074`, or with others outside `udp/80:3074`."""
        inside = str(self.ports)
        elsewhere = self.outside not in (None, self.ports.first)
        return f"{self.protocol}/{self.outside}:{inside}" if elsewhere else f"{self.protocol}/{inside}"


@dataclass(frozen=True, slots=True)
class Release:
    """End a lease. `ref` is its id.

    `nonce` is what the device says, held against the lease's by `rule`; None where its protocol has none.
    """

    ref: str
    nonce: str | None = None
    rule: NonceRule = NonceRule.SAME_SOURCE


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make a lease the actor's own mapping: the device can no longer change or end it.

    `lifetime` runs from now; None is the usual one.
    """

    ref: str
    lifetime: Lifetime | None = None
