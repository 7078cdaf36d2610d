"""What the kernel plane can make, and what stands in its way: reasons, in words."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from sekimori.host.listeners import Listener, read_listeners
from sekimori.host.ports import find_free_port, find_holder, try_bind
from sekimori.model.address import Interface, IPAddress, IpProtocol, PortPair, UnixPath
from sekimori.model.causes import Text, cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.network import Network
from sekimori.model.target import TargetKind
from sekimori.planes.kernel.elements import inside_addresses, is_pinhole
from sekimori.reconcile.ports import Wanted

__all__ = ["are_free", "busy", "find_listener", "find_taken", "why_unable", "why_unfit"]


_FEW_PORTS = 16
"""Ports up to which each is tried by itself."""


def why_unable(mapping: Mapping, network: Network) -> Text | None:
    """Why the kernel cannot make a mapping on this network; None when it can."""
    return _terms(mapping) or _place(mapping, network) or _target(mapping, network)


def why_unfit(wanted: Wanted, network: Network) -> Problem | None:
    """Why what is wanted now cannot be made: what `why_unable` could not know of a name or a device."""
    mapping = wanted.mapping
    if mapping.target.kind not in (TargetKind.NAME, TargetKind.DEVICE, TargetKind.ADDRESS):
        return None
    four, six = inside_addresses(wanted)
    reasons = [_address(address, mapping, network) for address in (four, six) if address is not None]
    if not reasons:
        return Problem("kernel-unable", name=mapping.name, why=cause("kernel-no-family"))
    if all(reasons):
        return Problem("kernel-unable", name=mapping.name, why=reasons[0])
    return None


def find_listener(
    mapping: Mapping, listeners: Iterable[Listener], leaving: Sequence[Mapping] = ()
) -> tuple[str, Listener] | None:
    """What listens here on a port that the mapping would take from it: (the claim, the listener).

    `leaving` are mappings whose place it takes: what listens on ports of theirs loses nothing by it, or is
    their own relay.
    """
    if mapping.kind not in (MappingKind.FORWARD, MappingKind.TRIGGER):
        return None
    for listener in listeners:
        pair = _met(mapping, listener)
        if pair is not None and all(_met(old, listener) is None for old in leaving):
            return f"{pair.protocol}/{listener.port}", listener
    return None


def find_taken(mapping: Mapping, leaving: Sequence[Mapping] = ()) -> tuple[str, Listener] | None:
    """The same for one mapping, without reading the tables of sockets (2 ms) where its ports are free."""
    return None if are_free(mapping) else find_listener(mapping, read_listeners(), leaving)


def are_free(mapping: Mapping) -> bool:
    """Whether a mapping's ports are few, and nobody's on this machine. Takes 20 µs for each."""
    return sum(pair.outside.size for pair in mapping.ports) <= _FEW_PORTS and all(
        map(_is_free, mapping.ports)
    )


def _met(mapping: Mapping, listener: Listener) -> PortPair | None:
    """The ports of a mapping that what comes to a listener comes by."""
    on = mapping.on
    at = None if on is None or isinstance(on, Interface | UnixPath) or on.is_unspecified else on
    for pair in mapping.ports:
        if listener.port in pair.outside and listener.meets(str(pair.protocol), listener.port, at):
            return pair
    return None


def _is_free(pair: PortPair) -> bool:
    if pair.protocol not in (IpProtocol.TCP, IpProtocol.UDP):
        return True  # nothing else is looked for among the listeners
    transport: Literal["tcp", "udp"] = "tcp" if pair.protocol is IpProtocol.TCP else "udp"
    return all(_can_be_had(transport, port) for port in pair.outside)


def _can_be_had(transport: Literal["tcp", "udp"], port: int) -> bool:
    """Whether nobody has a port, in either family."""
    found = try_bind(transport, "::", port, dual=True)
    if found == errno.EAFNOSUPPORT:  # a kernel without IPv6
        found = try_bind(transport, "0.0.0.0", port, dual=False)
    return found == 0


def busy(claim: str, listener: Listener, ours: Collection[int] = ()) -> Problem | None:
    """Word that a port is in use on this machine, and by whom: by none of our own processes. Looks at all."""
    transport: Literal["tcp", "udp"] = "tcp" if listener.protocol == "tcp" else "udp"
    holder = find_holder(transport, listener.port, None)
    if holder.pid is not None and holder.pid in ours:
        return None
    other = find_free_port(transport, "0.0.0.0", listener.port, dual=False)
    return Problem("port-busy", claim=claim, holder=str(holder), other=other, port=listener.port)


def _terms(mapping: Mapping) -> Text | None:
    if mapping.proxy_protocol:
        return cause("kernel-no-proxy-protocol")
    if mapping.idle is not None:
        return cause("kernel-no-idle")
    if mapping.kind is MappingKind.TRIGGER and any(pair.outside != pair.inside for pair in mapping.ports):
        return cause("kernel-trigger-shifts")
    if mapping.target.kind is TargetKind.SELF and mapping.kind is MappingKind.FORWARD:
        return cause("kernel-self-shifts")
    if mapping.target.kind is TargetKind.SUFFIX and not is_pinhole(mapping):
        return cause("kernel-suffix-shifts")
    return None


def _place(mapping: Mapping, network: Network) -> Text | None:
    if not network.wans:
        return cause("kernel-no-wan")
    on = mapping.on
    if isinstance(on, Interface):
        if all(wan.interface != on.name for wan in network.wans):
            return cause("kernel-not-a-wan", on=on, wans=_listed(wan.interface for wan in network.wans))
    elif isinstance(on, UnixPath):
        return cause("kernel-unix")
    elif on is not None and not on.is_unspecified and not network.is_wan_address(on):
        return cause("kernel-not-a-wan", on=on, wans=_listed(map(str, network.wan_addresses())))
    return None


def _target(mapping: Mapping, network: Network) -> Text | None:
    match mapping.target.kind:
        case TargetKind.SELF:
            return None
        case TargetKind.ADDRESS:
            address = mapping.target.address
            return None if address is None else _address(address, mapping, network)
        case TargetKind.NAME if mapping.target.host in ("localhost",) or mapping.target.host.endswith(
            ".localhost"
        ):
            return cause("kernel-own-target", target=mapping.target.host)
        case _:
            if not network.lans:
                return cause("kernel-no-lan")
            return (
                _not_forwarding(4, network)
                if mapping.target.kind is not TargetKind.SUFFIX
                else (_not_forwarding(6, network))
            )


def _address(address: IPAddress, mapping: Mapping, network: Network) -> Text | None:
    if network.is_own(address):
        return cause("kernel-own-target", target=address)
    if not network.lans:
        return cause("kernel-no-lan")
    if network.lan_of(address) is None:
        return cause("kernel-target-not-inside", target=address)
    on = mapping.on
    if on is not None and not isinstance(on, Interface) and on.version != address.version:
        return cause("kernel-other-family", on=on, target=address)
    return _not_forwarding(address.version, network)


def _not_forwarding(family: int, network: Network) -> Text | None:
    forwards = network.forwarding4 if family == 4 else network.forwarding6
    return None if forwards else cause("kernel-not-forwarding", family=family)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "-"
