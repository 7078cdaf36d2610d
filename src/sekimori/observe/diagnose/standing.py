"""What the doctor says besides rules: of the machine as a whole, and of what a mapping leads to."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Protocol

from sekimori.model.address import IpProtocol
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.network import Network, Wan
from sekimori.model.target import TargetKind
from sekimori.observe.diagnose.findings import Confidence, Finding, Severity, finding

__all__ = ["Listening", "Standing", "look_around", "look_at"]

_PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918
_SHARED: Final = IPv4Network("100.64.0.0/10")  # RFC 6598
_MACHINE: Final = "gateway"
_TRANSPORTS: Final = frozenset({IpProtocol.TCP, IpProtocol.UDP})


class Listening(Protocol):
    """A socket of this machine that takes what comes to a port."""

    @property
    def protocol(self) -> str:
        """`tcp` or `udp`."""
        ...

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """Unspecified: every address."""
        ...

    @property
    def port(self) -> int:
        """Its port."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How the machine stands.

    Attributes:
        is_gateway: it was made a gateway.
        obstacle: why its kernel cannot carry mappings; None when it can.
        problem: why the gateway or the bans are not wholly real now.
    """

    network: Network
    is_gateway: bool = False
    obstacle: Problem | None = None
    problem: Problem | None = None


def look_around(standing: Standing) -> Iterator[Finding]:
    """What is to be said of the machine whatever is open.

    What keeps it from being a gateway is a notice, for a relay needs none of that; once it was made one,
    it is an error.
    """
    network = standing.network
    grave = Severity.ERROR if standing.is_gateway else Severity.NOTICE
    if standing.problem is not None:
        yield _of_problem("gateway-incomplete", Severity.ERROR, _MACHINE, standing.problem)
    if standing.obstacle is not None:
        yield _of_problem("no-kernel-plane", grave, _MACHINE, standing.obstacle)
    if not network.wans:
        yield finding("no-wan", grave, Confidence.CERTAIN, _MACHINE)
    elif not network.lans:
        wans = ", ".join(wan.interface for wan in network.wans)
        yield finding("no-lan", grave, Confidence.CERTAIN, _MACHINE, wans=wans)
    else:
        yield from _forwarding(network, grave)
    for wan in network.wans:
        yield from _behind(wan)


def look_at(mapping: Mapping, problem: Problem | None, listeners: Collection[Listening]) -> Iterator[Finding]:
    """What is to be said of one mapping besides the rules of others.

    Args:
        mapping: as in the ledger.
        problem: why it failed, when it did.
        listeners: the sockets of this machine.
    """
    subject = ",".join(map(str, mapping.claims))
    if problem is not None:
        yield _of_problem("mapping-failed", Severity.ERROR, subject, problem)
        return
    missing = _without_listener(mapping, listeners)
    if missing is not None:
        yield finding(
            "no-listener", Severity.WARNING, Confidence.LIKELY, subject, port=missing, name=mapping.name
        )


def _of_problem(code: str, severity: Severity, subject: str, problem: Problem) -> Finding:
    fix = {language: problem.fix(language) for language in problem.titles}
    return Finding(code, severity, Confidence.CERTAIN, subject, problem.titles, fix)


def _forwarding(network: Network, severity: Severity) -> Iterator[Finding]:
    has6 = any(wan.has6 for wan in network.wans)
    settings = (
        (4, "net.ipv4.ip_forward", network.forwarding4),
        (6, "net.ipv6.conf.all.forwarding", network.forwarding6 or not has6),
    )
    for version, name, on in settings:
        if not on:
            yield finding(
                "forwarding-off",
                severity,
                Confidence.CERTAIN,
                _MACHINE,
                words="forwarding-off-here",
                version=version,
                name=name,
            )


def _behind(wan: Wan) -> Iterator[Finding]:
    """Who stands between a line and the internet; nobody where one of its addresses is its own."""
    kinds = [_kind_of(address) for address in wan.addresses4]
    if not kinds or "" in kinds:
        return
    yield finding(
        kinds[0],
        Severity.NOTICE,
        Confidence.CERTAIN,
        wan.interface,
        interface=wan.interface,
        address=wan.addresses4[0],
    )


def _kind_of(address: ipaddress.IPv4Address) -> str:
    if address in _SHARED:
        return "wan-shared"
    return "wan-private" if any(address in prefix for prefix in _PRIVATE) else ""


def _without_listener(mapping: Mapping, listeners: Collection[Listening]) -> str | None:
    """The ports of this machine that a mapping leads to, where no socket listens on any of them.

    The relay comes to a service of this machine by loopback. What the kernel admits keeps its destination,
    so sockets on loopback do not hear it.
    """
    address = mapping.target.address
    leads_here = mapping.target.kind is TargetKind.SELF or (address is not None and address.is_loopback)
    pairs = [pair for pair in mapping.ports if pair.protocol in _TRANSPORTS]
    if not leads_here or not pairs or mapping.is_dialled_far:
        return None
    relayed = mapping.plane == "relay"
    heard = {(each.protocol, each.port) for each in listeners if _hears(each, relayed=relayed)}
    for pair in pairs:
        inside = range(pair.inside.first, pair.inside.last + 1)
        if any((str(pair.protocol), port) in heard for port in inside):
            return None
    return ", ".join(dict.fromkeys(f"{pair.protocol}/{pair.inside}" for pair in pairs))


def _hears(listening: Listening, *, relayed: bool) -> bool:
    if relayed:
        return listening.address.is_loopback or listening.address.is_unspecified
    return not listening.address.is_loopback
