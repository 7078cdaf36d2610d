"""Replies leave by the line that the flow came in by: a rule and a routing table for each of several WANs.

Packets that carry a WAN's mark are routed by a table that knows that WAN only: its default route and what is
on its link. Made and removed here is only what carries our protocol number in our range of tables; what an
administrator or another program has set stays.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.causes import os_cause
from sekimori.model.errors import Problem
from sekimori.model.network import HIGHEST_WAN_INDEX, MARK_MASK, Wan, wan_mark

__all__ = ["FIRST_TABLE", "PROTOCOL", "WanRoute", "route_by_wan"]

PROTOCOL: Final = 199
"""Who made a route or a rule (RTPROT_*, linux/rtnetlink.h): a number that nobody there has."""

FIRST_TABLE: Final = 4700
"""WAN `index` has the table, and the rule of the priority, `FIRST_TABLE + index`. That is before the rules of
Tailscale (5210), wg-quick (32764) and the main table (32766), which would send replies elsewhere."""

_TABLES: Final = range(FIRST_TABLE + 1, FIRST_TABLE + 1 + HIGHEST_WAN_INDEX)
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_DEFAULTS: Final[dict[int, IPNetwork]] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
_SCOPE_LINK: Final = 253  # RT_SCOPE_LINK
_ONLINK: Final = 4  # RTNH_F_ONLINK
_IFF_UP: Final = 0x1
_GOES: Final = frozenset({errno.ENODEV, errno.ENETDOWN})
_GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
_THERE: Final = frozenset({errno.EEXIST})


@dataclass(frozen=True, slots=True)
class WanRoute:
    """One of several WANs, as replies are to leave by it."""

    index: int
    """1 to 15: `wan_mark(index)` is the mark of its flows."""
    interface: str
    gateway4: IPAddress | None = None
    """None: the line needs no gateway (PPP)."""
    gateway6: IPv6Address | None = None
    has4: bool = True
    has6: bool = True
    on_link: tuple[IPNetwork, ...] = ()
    """What is reached there without the gateway."""

    @classmethod
    def of(cls, index: int, wan: Wan) -> WanRoute:
        """A WAN as it was found, with the index that its flows are marked with."""
        return cls(index, wan.interface, wan.gateway4, wan.gateway6, wan.has4, wan.has6, wan.on_link)


@dataclass(frozen=True, slots=True, order=True)
class _Rule:
    family: int
    priority: int
    mark: int
    mask: int
    table: int

    def __str__(self) -> str:
        return f"{_name(self.family)} rule {self.priority}: {self.mark:#x}/{self.mask:#x} to {self.table}"

    def attributes(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "priority": self.priority,
            "fwmark": self.mark,
            "fwmask": self.mask,
            "table": self.table,
            "protocol": PROTOCOL,
        }


@dataclass(frozen=True, slots=True)
class _Route:
    table: int
    destination: IPNetwork
    oif: int
    gateway: IPAddress | None

    def __str__(self) -> str:
        way = f"via {self.gateway} " if self.gateway else ""
        return f"route {self.destination} {way}by interface {self.oif} in {self.table}"

    @property
    def place(self) -> tuple[int, IPNetwork]:
        """What only one route can have."""
        return self.table, self.destination

    def attributes(self) -> dict[str, Any]:
        four = self.destination.version == 4
        found: dict[str, Any] = {
            "family": socket.AF_INET if four else socket.AF_INET6,
            "dst": str(self.destination),
            "table": self.table,
            "oif": self.oif,
            "proto": PROTOCOL,
        }
        if self.gateway is None:
            return found | ({"scope": _SCOPE_LINK} if four else {})
        # On the link whatever the addresses say: a provider's gateway may be outside the prefix.
        found["flags"] = _ONLINK
        if four and isinstance(self.gateway, IPv6Address):
            return found | {"via": {"family": socket.AF_INET6, "addr": str(self.gateway)}}
        return found | {"gateway": str(self.gateway)}


def route_by_wan(wanted: Iterable[WanRoute]) -> tuple[str, ...]:
    """Have exactly these rules and routes of ours in the network of this thread; without any, none.

    Routes are there before the rule that leads to them. An interface that is not there or is switched off has
    its rule without routes (its packets go by the main table meanwhile); the kernel forgets routes when an
    interface goes down, so call again when interfaces, gateways or prefixes changed. Blocks for some
    milliseconds; for a thread without an event loop.

    Returns:
        What was changed, in words for a log; empty when all was as wanted.

    Raises:
        ValueError: an index is not 1 to 15, or is there twice.
        Problem: `routes-not-set`.
    """
    lines = tuple(wanted)
    if len({line.index for line in lines}) < len(lines):
        raise ValueError("two WANs with one index")
    rules = {rule for line in lines for rule in _rules(line)}
    with _telling(), IPRoute(strict_check=True) as rtnl:
        links = {str(link.get_attr("IFLA_IFNAME")): link for link in rtnl.get_links()}
        up = {name: int(link["index"]) for name, link in links.items() if link["flags"] & _IFF_UP}
        routes = {route for line in lines if line.interface in up for route in _routes(line, up)}
        return tuple(_apply(rtnl, rules, routes))


def _rules(line: WanRoute) -> Iterator[_Rule]:
    number = FIRST_TABLE + line.index
    for family, has in zip(_FAMILIES, (line.has4, line.has6), strict=True):
        if has:
            yield _Rule(family, number, wan_mark(line.index), MARK_MASK, number)


def _routes(line: WanRoute, up: dict[str, int]) -> Iterator[_Route]:
    table, oif = FIRST_TABLE + line.index, up[line.interface]
    for version, has, gateway in ((4, line.has4, line.gateway4), (6, line.has6, line.gateway6)):
        if has:
            yield _Route(table, _DEFAULTS[version], oif, gateway)
            for prefix in line.on_link:
                if prefix.version == version:
                    yield _Route(table, prefix, oif, None)


def _apply(rtnl: Any, rules: set[_Rule], routes: set[_Route]) -> Iterator[str]:
    present, standing = set(_read_rules(rtnl)), set(_read_routes(rtnl))
    places = {route.place for route in routes}
    for rule in sorted(present - rules):
        if _done(rtnl.rule, "del", rule, unless=_GONE):
            yield f"- {rule}"
    for route in sorted(standing - routes, key=str):
        # One whose place is wanted for another is replaced in one step below.
        if route.place not in places and _done(rtnl.route, "del", route, unless=_GONE):
            yield f"- {route}"
    for route in sorted(routes - standing, key=str):
        if _done(rtnl.route, "replace", route, unless=_GOES):
            yield f"+ {route}"
    for rule in sorted(rules - present):
        if _done(rtnl.rule, "add", rule, unless=_THERE):
            yield f"+ {rule}"


def _done(ask: Callable[..., object], command: str, what: _Rule | _Route, unless: Container[int]) -> bool:
    """Whether it was done; False where the network changed under our hands: the next call sees how it is."""
    try:
        ask(command, **what.attributes())
    except NetlinkError as error:
        if error.code not in unless:
            raise
        return False
    return True


def _read_rules(rtnl: Any) -> Iterator[_Rule]:
    for family in _FAMILIES:
        for message in rtnl.get_rules(family=family):
            priority, table = message.get_attr("FRA_PRIORITY") or 0, message.get_attr("FRA_TABLE") or 0
            if message.get_attr("FRA_PROTOCOL") == PROTOCOL and priority in _TABLES:
                mark, mask = message.get_attr("FRA_FWMARK") or 0, message.get_attr("FRA_FWMASK") or 0
                yield _Rule(int(family), priority, mark, mask, table)


def _read_routes(rtnl: Any) -> Iterator[_Route]:
    for family, version in zip(_FAMILIES, _DEFAULTS, strict=True):
        for message in rtnl.get_routes(family=family, proto=PROTOCOL):
            table = message.get_attr("RTA_TABLE") or message["table"]
            if message["proto"] == PROTOCOL and table in _TABLES:
                yield _route(message, version, table)


def _route(message: Any, version: int, table: int) -> _Route:
    every = _DEFAULTS[version]
    text = f"{message.get_attr('RTA_DST') or every.network_address}/{message['dst_len']}"
    via = message.get_attr("RTA_VIA")
    gateway = via["addr"] if via else message.get_attr("RTA_GATEWAY")
    return _Route(
        table,
        ipaddress.ip_network(text),
        int(message.get_attr("RTA_OIF")),
        ipaddress.ip_address(gateway) if gateway else None,
    )


def _name(family: int) -> str:
    return "IPv4" if family == socket.AF_INET else "IPv6"


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise Problem("routes-not-set", why=os_cause(OSError(error.code, os.strerror(error.code)))) from None
    except OSError as error:
        raise Problem("routes-not-set", why=os_cause(error)) from None
