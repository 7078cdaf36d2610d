"""Which packets to ask about, so that the answer holds for a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from sekimori.model.address import Interface, IPAddress, IPNetwork, IpProtocol, On, PortPair, UnixPath
from sekimori.model.mapping import Mapping as Opening
from sekimori.model.mapping import MappingKind
from sekimori.model.network import Network, Wan
from sekimori.model.target import TargetKind
from sekimori.observe.diagnose.probe import Nat, Probe, Way

__all__ = ["ends_here", "is_outside", "probes_of"]

_MOST_SOURCES = 4


def probes_of(
    mapping: Opening,
    targets: Sequence[IPAddress],
    network: Network,
    named: Mapping[str, tuple[IPNetwork, ...]],
) -> Iterator[tuple[str, Probe]]:
    """Packets from outside that the mapping is to bring in, each with the port it is about (`tcp/8080`).

    For each WAN and each address that the mapping is open on: the first and the last port of each range, from
    a stranger or from an address of each of the first prefixes that may come in. In IPv6 a mapping without
    change of port and address is a pinhole; it is asked about at its target's own address.

    Args:
        mapping: as in the ledger.
        network: the machine's place in the network.
        targets: the numeric addresses that the mapping leads to now.
        named: the lists of sources.
    """
    sources = mapping.sources.resolve(named)
    for pair in mapping.ports:
        for outside, inside in _ends(pair):
            subject = str(pair.protocol) if outside is None else f"{pair.protocol}/{outside}"
            for probe in _arrivals(mapping, targets, network, pair.protocol, outside, inside):
                for each in _from(probe, sources, network):
                    yield subject, each


def _ends(pair: PortPair) -> list[tuple[int | None, int | None]]:
    if not pair.protocol.has_ports:
        return [(None, None)]
    ends = [(pair.outside.first, pair.inside.first), (pair.outside.last, pair.inside.last)]
    return list(dict.fromkeys(ends))


def _from(probe: Probe, sources: Iterable[IPNetwork] | None, network: Network) -> Iterator[Probe]:
    if sources is None:
        yield probe
        return
    same = [each for each in sources if each.version == probe.destination.version]
    for prefix in same[:_MOST_SOURCES]:
        address = prefix[0] if prefix.num_addresses == 1 else prefix[1]
        if network.lan_of(address) is None:  # who is inside comes by another interface
            yield replace(probe, source=address)


def _arrivals(
    mapping: Opening,
    targets: Sequence[IPAddress],
    network: Network,
    protocol: IpProtocol,
    outside: int | None,
    inside: int | None,
) -> Iterator[Probe]:
    name = {IpProtocol.SIX_IN_FOUR: "ipv6", IpProtocol.DMZ: "tcp"}.get(protocol, str(protocol))
    for wan in network.wans:

        def at(destination: IPAddress, iif: str = wan.interface) -> Probe:
            sure = len(network.wans) == 1
            return Probe(name, destination, outside, iif, own=network.own, sure_route=sure)

        arrivals = [address for address in wan.addresses if _is_on(mapping.on, address, wan)]
        if ends_here(mapping):
            moved = outside != inside and not _is_relayed(mapping)
            for address in arrivals:
                yield replace(at(address), way=Way.INPUT, nat=Nat(address, inside) if moved else None)
            continue
        for target in targets:
            if _is_pinhole(mapping, target, straight=outside == inside):
                if wan.has6:
                    yield _towards(at(target), target, network)
                continue
            for address in arrivals:
                if address.version == target.version:
                    yield _towards(replace(at(address), nat=Nat(target, inside)), target, network)


def _is_pinhole(mapping: Opening, target: IPAddress, *, straight: bool) -> bool:
    """Whether packets come to the target's own address, which needs no NAT."""
    opened = mapping.kind is MappingKind.PINHOLE or (mapping.on is None and straight)
    return target.version == 6 and opened


def _towards(probe: Probe, target: IPAddress, network: Network) -> Probe:
    if network.is_own(target):
        return replace(probe, way=Way.INPUT)
    lan = network.lan_of(target)
    return replace(probe, oif=network.wans[0].interface if lan is None else lan.interface)


def ends_here(mapping: Opening) -> bool:
    """Whether what comes in ends at this machine: at a service of its own, or at the relay."""
    return mapping.target.kind is TargetKind.SELF or _is_relayed(mapping)


def _is_relayed(mapping: Opening) -> bool:
    return mapping.plane == "relay"


def is_outside(on: On | None, network: Network) -> bool:
    """Whether what is open there may be meant for the outside: anything but an own address that is no WAN's,
    or an interface that is inside.
    """
    if on is None:
        return True
    if isinstance(on, UnixPath):
        return False
    if isinstance(on, Interface):
        return all(lan.interface != on.name for lan in network.lans)
    return on.is_unspecified or network.is_wan_address(on) or not network.is_own(on)


def _is_on(on: On | None, address: IPAddress, wan: Wan) -> bool:
    if on is None:
        return True
    if isinstance(on, Interface):
        return on.name == wan.interface
    return address == on or (on.is_unspecified and on.version == address.version)
