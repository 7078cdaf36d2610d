"""The machine's place in the network: which interfaces lead outside, which inside, and what is its own.

`Facts` are what was read from the kernel; `find_roles` makes the `Network` of them. The rules stand in
the docstrings of `find_roles`, `Wan` and `Lan`, and nowhere else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeVar

from sekimori.model.address import IPAddress, IPNetwork

__all__ = [
    "HIGHEST_WAN_INDEX",
    "MARK_MASK",
    "MARK_SHIFT",
    "Address",
    "Facts",
    "InterfaceFacts",
    "Lan",
    "Neighbour",
    "NeighbourState",
    "Network",
    "NetworkSettings",
    "Route",
    "Wan",
    "find_roles",
    "wan_mark",
]

A = TypeVar("A", IPv4Address, IPv6Address)

MARK_MASK: Final = 0x0F000000
"""The bits of packet and conntrack marks that are ours; every other bit belongs to others and is kept.

Tailscale has bits 16 to 23, Kubernetes 14 and 15, mwan3 8 to 13 in its default."""

MARK_SHIFT: Final = (MARK_MASK & -MARK_MASK).bit_length() - 1
HIGHEST_WAN_INDEX: Final = MARK_MASK >> MARK_SHIFT

_GLOBAL6: Final = IPv6Network("2000::/3")  # what IANA has given out of RFC 4291's global unicast
_MAKE_A_LAN: Final[tuple[IPNetwork, ...]] = (
    *map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),  # RFC 1918
    IPv6Network("fc00::/7"),  # RFC 4193, unique local
    _GLOBAL6,
)


def wan_mark(index: int) -> int:
    """The mark of flows that belong to one of several WANs, within `MARK_MASK`.

    Args:
        index: 1 to 15, the same for a line as long as flows of it live. 0 is "no WAN's".

    Raises:
        ValueError: another index.
    """
    if not 0 < index <= HIGHEST_WAN_INDEX:
        raise ValueError(f"a WAN's index is 1 to {HIGHEST_WAN_INDEX}, not {index}")
    return index << MARK_SHIFT


@dataclass(frozen=True, slots=True)
class Address:
    """One address of an interface, as rtnetlink tells it (`struct ifaddrmsg`, linux/if_addr.h)."""

    address: IPAddress
    prefixlen: int
    peer: IPAddress | None = None
    """The other end of a point-to-point line; the prefix is then that end's."""
    temporary: bool = False
    """A privacy address (RFC 8981): made for going out, gone in a day."""
    deprecated: bool = False
    """Its preferred lifetime is over (RFC 4862 §5.5.4): not to be used for anything new."""
    tentative: bool = False
    """Duplicate address detection has not passed it, or refused it: it receives nothing."""

    @property
    def network(self) -> IPNetwork:
        """The prefix that is on the link."""
        return ipaddress.ip_network((self.peer or self.address, self.prefixlen), strict=False)


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """One interface and its addresses, in the kernel's order (primary before secondary)."""

    name: str
    index: int
    up: bool
    """Switched on (IFF_UP). A cable that is out does not change it, nor what the interface is for."""
    addresses: tuple[Address, ...] = ()
    loopback: bool = False
    mac: str | None = None
    """Lower case with colons; None where the link has none."""


@dataclass(frozen=True, slots=True)
class Route:
    """One unicast route of the main table; one of several next hops is a route of its own."""

    destination: IPNetwork
    interface: str
    gateway: IPAddress | None = None
    """None: the destination is on the link. An IPv4 route may go by an IPv6 gateway (RFC 8950)."""
    metric: int = 0
    source: IPAddress | None = None
    """The address that packets of this machine take by this route, where the route says."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read from the kernel, all at one time."""

    interfaces: tuple[InterfaceFacts, ...] = ()
    routes: tuple[Route, ...] = ()
    forwarding4: bool = False
    """`net.ipv4.ip_forward`"""
    forwarding6: bool = False
    """`net.ipv6.conf.all.forwarding`"""


class NeighbourState(StrEnum):
    """What the kernel believes of a neighbour (NUD_*, linux/neighbour.h)."""

    INCOMPLETE = "incomplete"
    REACHABLE = "reachable"
    STALE = "stale"
    DELAY = "delay"
    PROBE = "probe"
    FAILED = "failed"
    NOARP = "noarp"
    PERMANENT = "permanent"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who has an address on a link (RFC 826, RFC 4861)."""

    address: IPAddress
    mac: str | None
    """Lower case with colons; None where nobody answered."""
    interface: str
    state: NeighbourState


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """`[network]` of the config file; None leaves it to `find_roles`."""

    wan: tuple[str, ...] | None = None
    lan: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Wan:
    """A line to the internet: an interface that a default route leaves by, or that the settings name.

    `addresses4` are all IPv4 addresses of the interface but link-local ones (169.254/16), whether public,
    private or shared (RFC 6598): behind another router the WAN address is a private one. `addresses6` are
    its global and unique local ones, without temporary, deprecated, tentative and link-local ones: those
    that others may be told. The address that the default route itself names as source comes first.
    """

    interface: str
    addresses4: tuple[IPv4Address, ...] = ()
    addresses6: tuple[IPv6Address, ...] = ()
    gateway4: IPAddress | None = None
    """None: no IPv4 default route, or one without a gateway (PPP); `has4` tells the two apart."""
    gateway6: IPv6Address | None = None
    """Mostly link-local; so it means something together with `interface` only."""
    metric: int = 0
    """Of the IPv4 default route, or of the IPv6 one where there is no other; lower is preferred."""
    has4: bool = False
    """An IPv4 default route leaves by it."""
    has6: bool = False
    """An IPv6 default route leaves by it."""
    prefixes: tuple[IPNetwork, ...] = ()
    """What is reached by it apart from the internet: on its link, and by other routes."""
    on_link: tuple[IPNetwork, ...] = ()
    """What the routes say is on its link, without a gateway; link-local prefixes too."""

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """Those of both families, IPv4 first."""
        return (*self.addresses4, *self.addresses6)


@dataclass(frozen=True, slots=True)
class Lan:
    """A network inside: an interface that is up, is no WAN, and reaches a private prefix (RFC 1918, unique
    local) or a global IPv6 one, on its link or by a route; or an interface that the settings name.

    So bridges of containers and virtual machines and tunnels of VPNs are LANs too. A host's own prefix
    (/32, /128) makes no LAN: nobody else is in it.
    """

    interface: str
    prefixes: tuple[IPNetwork, ...] = ()
    """On the link and reached through it by routes of the main table, none inside another, IPv4 first."""
    addresses: tuple[IPAddress, ...] = ()
    """This machine's own there, link-local ones excepted."""


@dataclass(frozen=True)
class Network:
    """The machine's place in the network."""

    wans: tuple[Wan, ...] = ()
    """The preferred one first."""
    lans: tuple[Lan, ...] = ()
    """By name."""
    forwarding4: bool = False
    forwarding6: bool = False
    own: frozenset[IPAddress] = frozenset()
    """Every address of the machine, whatever its interface is for."""
    outside: frozenset[str] = frozenset()
    """The interfaces that are or once were WANs, or have a default route: none becomes a LAN unasked."""

    @property
    def is_gateway(self) -> bool:
        """Whether it stands between an outside and an inside. Whether it forwards is another question."""
        return bool(self.wans and self.lans)

    def wan_addresses(self) -> tuple[IPAddress, ...]:
        """Those of all WANs, the preferred WAN's first."""
        return tuple(dict.fromkeys(address for wan in self.wans for address in wan.addresses))

    def is_wan_address(self, address: IPAddress) -> bool:
        """Whether it is one of `wan_addresses`."""
        return address in self._wan_addresses

    def is_own(self, address: IPAddress) -> bool:
        """Whether packets to it end at this machine."""
        return address in self.own or address.is_loopback

    def lan_of(self, address: IPAddress) -> Lan | None:
        """The LAN that an address is reached by; as in routing, the longest prefix decides.

        None for what is outside, for a WAN's address, and for link-local addresses, which are in every LAN.
        """
        if address.is_link_local or self.is_wan_address(address):
            return None
        for prefix, lan in self._by_length:
            if address in prefix:
                return lan
        return None

    @cached_property
    def _wan_addresses(self) -> frozenset[IPAddress]:
        return frozenset(self.wan_addresses())

    @cached_property
    def _by_length(self) -> tuple[tuple[IPNetwork, Lan | None], ...]:
        """Every prefix with its LAN (None: a WAN's), the longest first."""
        pairs: list[tuple[IPNetwork, Lan | None]] = []
        pairs += ((prefix, lan) for lan in self.lans for prefix in lan.prefixes)
        pairs += ((prefix, None) for wan in self.wans for prefix in wan.prefixes)
        return tuple(sorted(pairs, key=lambda pair: -pair[0].prefixlen))


def find_roles(
    facts: Facts, settings: NetworkSettings = NetworkSettings(), before: Network | None = None
) -> Network:
    """Tell WANs and LANs among the interfaces.

    - Loopback, and what is switched off, has no role.
    - A WAN is an interface that a default route of the main table leaves by, of either family. As default
      count the whole address space, its halves (/1, with which VPN clients override a default route) and
      2000::/3. Several are in the order that the kernel prefers them: IPv4 before IPv6, longer prefix, lower
      metric; equals as they stand in the table.
    - A LAN is any other interface that meets the description of `Lan`. An interface that is neither, such
      as one with public IPv4 addresses only and no default route, has no role.
    - `settings.wan` names the WANs, in order, and no other interface is one; `settings.lan` likewise. An
      interface named as WAN is no LAN. A name that is not there (yet) is left out.
    - What has a default route, or was a WAN in `before`, is no LAN unless named: a line that has lost its
      route for a moment must not be trusted as if it were inside.
    """
    candidates = {each.name: each for each in facts.interfaces if each.up and not each.loopback}
    defaults = _defaults(facts.routes)
    inside = set(settings.lan or ()) - set(settings.wan or ())
    chosen = [name for name in defaults if name not in inside] if settings.wan is None else settings.wan
    wans = {name: candidates[name] for name in chosen if name in candidates}
    outside = frozenset({*wans, *defaults, *(before.outside if before else ())}) - inside
    lans = (
        _lan(candidates[name], facts.routes) for name in sorted(candidates.keys() - wans.keys() - outside)
    )
    return Network(
        wans=tuple(_wan(each, facts.routes, defaults.get(name, ())) for name, each in wans.items()),
        lans=tuple(lan for lan in lans if _is_lan(lan, settings.lan)),
        forwarding4=facts.forwarding4,
        forwarding6=facts.forwarding6,
        own=frozenset(each.address for interface in facts.interfaces for each in interface.addresses),
        outside=outside,
    )


def _is_lan(lan: Lan, named: tuple[str, ...] | None) -> bool:
    """Whether the settings name it; where they name none, whether it reaches what makes a LAN."""
    if named is not None:
        return lan.interface in named
    return any(_within(prefix, each) for prefix in lan.prefixes for each in _MAKE_A_LAN)


def _defaults(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """The default routes by interface, the preferred interface and the preferred route first."""
    found = [route for route in routes if _is_default(route.destination)]
    found.sort(key=lambda route: (route.destination.version, -route.destination.prefixlen, route.metric))
    by_interface: dict[str, list[Route]] = {}
    for route in found:
        by_interface.setdefault(route.interface, []).append(route)
    return by_interface


def _is_default(destination: IPNetwork) -> bool:
    return destination.prefixlen <= 1 or destination == _GLOBAL6


def _wan(interface: InterfaceFacts, routes: Iterable[Route], defaults: Iterable[Route]) -> Wan:
    four = next((route for route in defaults if route.destination.version == 4), None)
    six = next((route for route in defaults if route.destination.version == 6), None)
    preferred = four or six
    usable = [each for each in interface.addresses if not each.address.is_link_local]
    return Wan(
        interface.name,
        addresses4=_ordered((each.address for each in usable if isinstance(each.address, IPv4Address)), four),
        addresses6=_ordered(
            (each.address for each in usable if isinstance(each.address, IPv6Address) and _lasts(each)), six
        ),
        gateway4=four.gateway if four else None,
        gateway6=six.gateway if six and isinstance(six.gateway, IPv6Address) else None,
        metric=preferred.metric if preferred else 0,
        has4=four is not None,
        has6=six is not None,
        prefixes=_prefixes(interface, routes),
        on_link=tuple(
            route.destination
            for route in routes
            if route.interface == interface.name and not (route.gateway or _is_default(route.destination))
        ),
    )


def _lan(interface: InterfaceFacts, routes: Iterable[Route]) -> Lan:
    addresses = (each.address for each in interface.addresses if not each.address.is_link_local)
    return Lan(interface.name, _prefixes(interface, routes), tuple(addresses))


def _lasts(address: Address) -> bool:
    return not (address.temporary or address.deprecated or address.tentative)


def _ordered(addresses: Iterable[A], route: Route | None) -> tuple[A, ...]:
    """The address that the route names first; else in the order they had."""
    source = route.source if route else None
    return tuple(sorted(addresses, key=lambda address: address != source))


def _prefixes(interface: InterfaceFacts, routes: Iterable[Route]) -> tuple[IPNetwork, ...]:
    """What an interface reaches, none inside another, without defaults and multicast."""
    found = {each.network for each in interface.addresses if _has_others(each)}
    found |= {route.destination for route in routes if route.interface == interface.name}
    kept: list[IPNetwork] = []
    for prefix in sorted(found, key=lambda each: (each.version, each.prefixlen, each.network_address)):
        if _is_default(prefix) or prefix.is_link_local or prefix.is_multicast:
            continue
        if not any(_within(prefix, each) for each in kept):
            kept.append(prefix)
    return tuple(kept)


def _has_others(address: Address) -> bool:
    return address.peer is not None or address.prefixlen < address.address.max_prefixlen


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)
