"""What a mapping covers, in conntrack's terms. Pure.

The kernel tracks a flow as two tuples: `original` is what its first packet looked like on arrival, so it
shows outside addresses and ports; `reply` is what an answer looks like where it enters this machine, so
its source is the host that the flow really goes to. A flow is a mapping's if its original tuple is one of
the mapping's outside tuples *and* its reply comes from where the mapping leads. The reply tuple is never
compared with outside tuples: that would match what the LAN itself sends out from the same ports.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sekimori.model.address import (
    Interface,
    IPAddress,
    IPNetwork,
    IpProtocol,
    On,
    PortPair,
    PortRange,
    Span,
    UnixPath,
)
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.network import Network
from sekimori.model.target import TargetKind
from sekimori.planes.kernel.elements import inside_addresses, is_pinhole
from sekimori.planes.kernel.places import NOWHERE, Places, Prefixes, Suffix
from sekimori.reconcile.ports import Wanted
from sekimori.wire.conntrack import DST_NAT, SEEN_REPLY, Entry

__all__ = ["NOTHING", "Extent", "Ground", "Opening"]

_TCP: Final = IpProtocol.TCP.number
_SCTP: Final = IpProtocol.SCTP.number
_WITH_PORTS: Final = frozenset(each.number for each in IpProtocol if each.has_ports)
_SYN_SENT: Final = 1  # enum tcp_conntrack, linux/netfilter/nf_conntrack_tcp.h
_LOOPBACK: Final[tuple[IPNetwork, ...]] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)


@dataclass(frozen=True, slots=True)
class Opening:
    """One protocol's ports at some addresses, and where they lead.

    Attributes:
        protocol: IANA's number; None is every protocol.
        ports: as they are outside; None is a protocol without ports, or every port.
        destinations: the addresses that newcomers send to.
        targets: where they are sent on to (DNAT); None: nothing is rewritten.
        shift: what is added to an outside port to make the inside one.
        not_from: sources whose packets come this way without the mapping.
    """

    protocol: int | None
    ports: PortRange | None
    destinations: Places
    targets: Places | None = None
    shift: int = 0
    not_from: Places = NOWHERE

    def covers(self, entry: Entry) -> bool:
        """Whether a flow's first packet was sent to one of the outside tuples."""
        original = entry.original
        if self.protocol is not None and entry.protocol != self.protocol:
            return False
        port = original.destination_port
        if self.ports is not None and (port is None or port not in self.ports):
            return False
        return original.destination in self.destinations and original.source not in self.not_from

    def leads(self, entry: Entry) -> bool:
        """Whether a flow that is covered goes where the mapping leads."""
        translated = bool(entry.status & DST_NAT)
        if self.targets is None:
            return not translated
        if not translated or entry.reply.source not in self.targets:
            return False
        port = entry.original.destination_port
        if entry.protocol not in _WITH_PORTS or port is None:
            return True  # GRE's keys are the ends' own affair (RFC 2637)
        return entry.reply.source_port == port + self.shift


@dataclass(frozen=True, slots=True)
class Extent:
    """All that a mapping covers.

    Attributes:
        excepted: what a DMZ host does not get.
        residual: it gets only what no other mapping does (a DMZ host), or leads to no one certain host
            (a trigger): a flow that another mapping owns is that mapping's alone.
    """

    openings: tuple[Opening, ...] = ()
    excepted: tuple[Span, ...] = ()
    residual: bool = False

    def covers(self, entry: Entry) -> bool:
        """Whether a flow's first packet was sent to one of the outside tuples, wherever it went then."""
        return any(each.covers(entry) for each in self.openings) and not self._excepts(entry)

    def owns(self, entry: Entry) -> bool:
        """Whether a flow is one of this mapping."""
        leads = any(each.covers(entry) and each.leads(entry) for each in self.openings)
        return leads and not self._excepts(entry)

    def stale(self, entry: Entry) -> bool:
        """Whether a flow came to the mapping's outside tuples but goes elsewhere: to an earlier target, or
        to this machine because there was no mapping when it began.
        """
        return self.covers(entry) and not self.owns(entry)

    def is_kept_from(self, entry: Entry) -> bool:
        """Whether a flow keeps its peer's packets away from the mapping, although nobody converses there.

        NAT is decided by a flow's first packet. A peer that sent datagrams before the mapping was
        opened, and goes on, would so never reach the target. A TCP connection that stands is left alone:
        its next one is a new flow.
        """
        if not self.stale(entry):
            return False
        if self.residual and entry.status & (DST_NAT | SEEN_REPLY):
            return False  # another's, or a service of this machine itself answers
        if entry.protocol == _TCP:
            return entry.tcp_state == _SYN_SENT
        return entry.protocol != _SCTP or not entry.status & SEEN_REPLY

    def _excepts(self, entry: Entry) -> bool:
        port = entry.original.destination_port
        return any(
            span.protocol.number == entry.protocol
            and (not span.protocol.has_ports or (port is not None and port in span.ports))
            for span in self.excepted
        )


NOTHING: Final = Extent()
"""What a mapping covers that is not there."""


class Ground:
    """The network's addresses, packed once for all mappings that are looked at together."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.own = Prefixes((*_LOOPBACK, *map(ipaddress.ip_network, network.own)))
        self.lan = Prefixes(prefix for each in network.lans for prefix in each.prefixes)
        self._inside = Prefixes((*self.lan.networks, *self.own.networks))
        self._outside: dict[tuple[On | None, int], Places] = {}

    def extent(self, wanted: Wanted) -> Extent:
        """What a mapping of the kernel plane covers.

        A target of both families is sent on to in IPv4 and let through to in IPv6, where nothing needs
        rewriting (`Mapping.kind`).
        """
        mapping = wanted.mapping
        kind = mapping.kind
        if kind is MappingKind.PERMIT:
            return self.listening(mapping)
        residual = kind in (MappingKind.DMZ, MappingKind.TRIGGER)
        openings = [each for pair in mapping.ports for each in self._openings(pair, wanted, residual)]
        return Extent(tuple(openings), mapping.excepted, residual)

    def listening(self, mapping: Mapping) -> Extent:
        """What a mapping covers whose ports this machine itself listens on: a permit, or a relay's listener.

        What this machine sends to itself is nobody's: it comes in by loopback, which needs no permit.
        """
        return Extent(
            tuple(
                Opening(_number(pair), _ports(pair), self._at(mapping.on, family), not_from=self.own)
                for pair in mapping.ports
                for family in (4, 6)
            )
        )

    def needs_no_mapping(self, entry: Entry) -> bool:
        """Whether a flow is one between hosts of the inside as they are, which no mapping has to admit."""
        return not entry.status & DST_NAT and entry.original.source in self._inside

    def _openings(self, pair: PortPair, wanted: Wanted, residual: bool) -> Iterator[Opening]:
        mapping = wanted.mapping
        if mapping.target.kind is TargetKind.TRIGGER:
            yield self._translated(pair, mapping, 4, self.lan)
            yield self._straight(pair, Prefixes(each for each in self.lan.networks if each.version == 6))
        elif mapping.target.kind is TargetKind.SELF:
            for family in (4, 6):
                yield self._translated(pair, mapping, family, self.own)
        elif mapping.target.suffix is not None:
            yield self._straight(pair, Suffix(self.lan, mapping.target.suffix))
        else:
            four, six = inside_addresses(wanted)
            if four is not None:
                yield self._translated(pair, mapping, 4, frozenset({four.packed}))
            if six is not None:
                place = frozenset({six.packed})
                is_hole = residual or is_pinhole(mapping)  # a DMZ host always is
                yield self._straight(pair, place) if is_hole else self._translated(pair, mapping, 6, place)

    def _translated(self, pair: PortPair, mapping: Mapping, family: int, targets: Places) -> Opening:
        shift = pair.inside.first - pair.outside.first
        # What the LAN sends to an outside address stays with this machine, if only a DMZ host claims it.
        not_from = self._inside if pair.protocol is IpProtocol.DMZ else NOWHERE
        return Opening(_number(pair), _ports(pair), self._at(mapping.on, family), targets, shift, not_from)

    def _straight(self, pair: PortPair, places: Places) -> Opening:
        # From LAN to LAN no pinhole is needed, and this machine itself is on the inside too.
        return Opening(_number(pair), _ports(pair), places, not_from=self._inside)

    def _at(self, on: On | None, family: int) -> Places:
        """The outside addresses of one family where a mapping's ports are claimed."""
        found = self._outside.get((on, family))
        if found is None:
            addresses = self._addresses(on)
            found = frozenset(each.packed for each in addresses if each.version == family)
            self._outside[on, family] = found
        return found

    def _addresses(self, on: On | None) -> Iterable[IPAddress]:
        if isinstance(on, Interface):
            wans = (wan for wan in self._network.wans if wan.interface == on.name)
            return [address for wan in wans for address in wan.addresses]
        if on is None:
            return self._network.wan_addresses()
        if isinstance(on, UnixPath):
            return ()
        if on.is_unspecified:
            return [each for each in self._network.wan_addresses() if each.version == on.version]
        return [on]


def _number(pair: PortPair) -> int | None:
    return None if pair.protocol is IpProtocol.DMZ else pair.protocol.number


def _ports(pair: PortPair) -> PortRange | None:
    return pair.outside if pair.protocol.has_ports else None
