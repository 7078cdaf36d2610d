"""The line: what stands between this machine and the internet, as facts with evidence.

`judging.judge` makes a `Line` of `Inputs`. An address tells what is likely, not what is: there are carriers'
NATs that pass everything on and public addresses that nothing reaches. So a private or shared address leaves
the answer open; only a line without IPv4, one behind a DS-Lite tunnel, and a port outside the set that the
line has are certain; and only something that came in from outside proves that things come in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from sekimori.model.address import IPAddress, PortRange
from sekimori.model.addresskind import kind_of
from sekimori.model.behaviour import Behaviour
from sekimori.model.causes import Text
from sekimori.model.finding import Confidence
from sekimori.model.linesettings import LineSettings
from sekimori.model.mapset import PortSet
from sekimori.model.network import Network, Wan

__all__ = [
    "Above",
    "Answer",
    "Fact",
    "FactName",
    "Inbound",
    "Inputs",
    "Line",
    "Look",
    "main_address4",
    "prefixes_of",
    "wans_of",
]


class Answer(StrEnum):
    """To a question that may be open."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class FactName(StrEnum):
    """What facts there are of a line; the value of each in brackets."""

    WAN4 = "wan4"
    """The kind of its IPv4 address (`AddressKind`)."""
    OWN_NAT = "own-nat"
    """Whether this machine translates addresses for others (`Answer`)."""
    SECOND_ROUTER = "second-router"
    """Whether another router of one's own, which translates, stands above (`Answer`)."""
    CGNAT = "cgnat"
    """Whether the carrier translates (`Answer`)."""
    PUBLIC4 = "public4"
    """The IPv4 address that the internet sees."""
    PUBLIC6 = "public6"
    """The IPv6 address that the internet sees."""
    NAT_MAPPING = "nat-mapping"
    """`MappingBehaviour` in IPv4."""
    NAT_FILTERING = "nat-filtering"
    """`FilteringBehaviour` in IPv4."""
    PORT_SET = "port-set"
    """The outside ports that the line has of a shared address."""
    DS_LITE = "ds-lite"
    """Whether its IPv4 is in a tunnel to the carrier's NAT (`Answer`)."""
    GLOBAL6 = "global6"
    """Its global IPv6 address or prefix, or `none`."""
    INBOUND4 = "inbound4"
    """Whether what comes from outside in IPv4 can get here (`Answer`)."""
    INBOUND6 = "inbound6"
    """The same in IPv6."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known of the line.

    Attributes:
        value: a stable word or an address; `FactName` says which.
        evidence: what it follows from, a clause by language.
        at: Unix seconds of the evidence.
    """

    name: FactName
    value: str
    evidence: Text
    confidence: Confidence
    at: float


@dataclass(frozen=True, slots=True)
class Inbound:
    """Whether what comes from outside gets to this machine, where it is let in here.

    `NO` is said only where nothing on this machine, and no router above, could change it.
    """

    answer: Answer
    why: Text
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a line.

    Attributes:
        interface: of its IPv4, or else of its IPv6; None where there is no line.
        public4: the address to tell others; None where none is known.
        outside_ports: the ports that can come in by IPv4; None where no set limits them.
    """

    interface: str | None
    facts: tuple[Fact, ...]
    inbound4: Inbound
    inbound6: Inbound
    public4: IPv4Address | None = None
    outside_ports: PortSet | None = None

    def fact(self, name: FactName) -> Fact | None:
        """One fact; None where nothing is known of it."""
        return next((each for each in self.facts if each.name is name), None)

    def has_ports(self, ports: PortRange) -> bool:
        """Whether all these outside ports are the line's in IPv4."""
        return self.outside_ports is None or self.outside_ports.holds(ports)


@dataclass(frozen=True, slots=True)
class Above:
    """The router above, which has answered.

    Attributes:
        protocol: the one it answered by, as people write it: PCP, NAT-PMP, UPnP.
        address: its outside address; None where it did not tell.
        at: Unix seconds.
    """

    protocol: str
    address: IPAddress | None
    at: float


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the line from one of our addresses by way of STUN servers.

    Attributes:
        local: the address it was made from.
        behaviour: what was found out; None where nothing could be sent.
        at: Unix seconds.
        why: what kept it from finding out anything, by language.
    """

    local: IPAddress
    behaviour: Behaviour | None
    at: float
    why: Text | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a line is judged by.

    Attributes:
        now: Unix seconds.
        wan4: the WAN that IPv4 goes by; None without any.
        wan6: the WAN that IPv6 goes by, mostly the same.
        prefixes6: the global IPv6 prefixes of the line and of what is behind it, delegated ones first.
        translates: whether this machine translates for others; None where that is not known.
        looks: at most one per address of ours.
        arrived4: when something of the internet last came in by IPv4, proven; Unix seconds.
        arrived6: the same by IPv6.
    """

    now: float
    wan4: Wan | None = None
    wan6: Wan | None = None
    prefixes6: tuple[IPv6Network, ...] = ()
    translates: bool | None = None
    above: Above | None = None
    looks: tuple[Look, ...] = ()
    settings: LineSettings = field(default_factory=LineSettings)
    arrived4: float | None = None
    arrived6: float | None = None


def wans_of(network: Network) -> tuple[Wan | None, Wan | None]:
    """The WANs that IPv4 and IPv6 go by: of each family the preferred one with a default route, else one
    with addresses, else any.
    """
    by4 = [wan for wan in network.wans if wan.has4] + [wan for wan in network.wans if wan.addresses4]
    by6 = [wan for wan in network.wans if wan.has6] + [wan for wan in network.wans if wan.addresses6]
    rest = network.wans
    return next(iter((*by4, *rest)), None), next(iter((*by6, *rest)), None)


def main_address4(wan: Wan) -> IPv4Address | None:
    """The IPv4 address that a WAN is judged by: a public one before the others, else the default route's."""
    return min(wan.addresses4, key=lambda each: not kind_of(each).is_public, default=None)


def prefixes_of(network: Network) -> tuple[IPv6Network, ...]:
    """The global IPv6 prefixes of a machine's line: those of its LANs, which were delegated; then those that
    its WAN addresses are in.

    A WAN's own prefix may be another than the delegated one, and a MAP rule be for one of the two only.
    """
    inside = [prefix for lan in network.lans for prefix in lan.prefixes if isinstance(prefix, IPv6Network)]
    outside = [_own_prefix(address, wan) for wan in network.wans for address in wan.addresses6]
    found = dict.fromkeys((*inside, *outside))
    return tuple(each for each in found if kind_of(each.network_address).is_public)


def _own_prefix(address: IPv6Address, wan: Wan) -> IPv6Network:
    """The prefix on the link that an address is in; the address alone where there is none."""
    around = (each for each in wan.prefixes if isinstance(each, IPv6Network) and address in each)
    return max(around, key=lambda each: each.prefixlen, default=IPv6Network(address))
