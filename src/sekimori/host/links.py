"""Interfaces, addresses, routes and neighbours of this machine, read over rtnetlink and followed live.

The kernel's notices are only a wake-up: what changed is read again, whole. So a lost notice (ENOBUFS), and
what the kernel does not tell at all (the IPv4 routes that go with an address or with a link that is
switched off), cannot leave a wrong picture.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Final

import structlog
from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from sekimori.host.sysctl import read_sysctl
from sekimori.model.address import IPAddress, IPNetwork
from sekimori.model.causes import os_cause
from sekimori.model.errors import Problem
from sekimori.model.network import Address, Facts, InterfaceFacts, Neighbour, NeighbourState, Route

__all__ = ["Links", "read_facts", "read_neighbours"]

_log = structlog.get_logger(__name__)

_DEBOUNCE: Final = 0.02  # an interface that comes up makes a dozen notices in a few milliseconds
_SHARE: Final = 4  # at most one part in five of the time goes into reading, however busy the network is
_RETRY: Final = 1.0

_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_GROUPS: Final = (1, 3, 5, 7, 9, 11, 24, 25)
"""RTNLGRP_ LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF
(linux/rtnetlink.h); the last two tell when forwarding is switched."""
_RECEIVE: Final = 1 << 16
_BUFFER: Final = 1 << 20
_HEADER: Final = struct.Struct("=LHHLL")  # struct nlmsghdr: length, type, flags, sequence, port
_NEIGHBOUR_TYPES: Final = (28, 29)  # RTM_NEWNEIGH, RTM_DELNEIGH
_LINK_TYPES: Final = (16, 17)  # RTM_NEWLINK, RTM_DELLINK

_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_ARPHRD_ETHER: Final = 1
_TEMPORARY: Final = 0x01  # IFA_F_TEMPORARY; for IPv4 the same bit means "secondary"
_OPTIMISTIC: Final = 0x04
_DAD_FAILED: Final = 0x08
_DEPRECATED: Final = 0x20
_TENTATIVE: Final = 0x40
_RTN_UNICAST: Final = 1
_RT_TABLE_MAIN: Final = 254
_RTM_F_CLONED: Final = 0x200
_RTNH_F_DEAD: Final = 0x1
_STATES: Final = {
    0x00: NeighbourState.NONE,
    0x01: NeighbourState.INCOMPLETE,
    0x02: NeighbourState.REACHABLE,
    0x04: NeighbourState.STALE,
    0x08: NeighbourState.DELAY,
    0x10: NeighbourState.PROBE,
    0x20: NeighbourState.FAILED,
    0x40: NeighbourState.NOARP,
    0x80: NeighbourState.PERMANENT,
}


def read_facts() -> Facts:
    """Read interfaces, addresses and routes. Blocks for some milliseconds; for a thread without a loop.

    Raises:
        Problem: `network-not-read` or `sysctl-not-read`.
    """
    read = _read(_Part.FACTS)
    assert read.facts is not None
    return read.facts


def read_neighbours() -> tuple[Neighbour, ...]:
    """Read the neighbour table (ARP and NDP), by address. Blocks as `read_facts` does.

    Raises:
        Problem: `network-not-read`.
    """
    read = _read(_Part.NEIGHBOURS)
    assert read.neighbours is not None
    return read.neighbours


class Links:
    """Follows the network of the thread that calls `start`, until `close`.

    A change is seen within a few hundredths of a second, later only where the tables are so long
    that reading them takes longer (a thousand neighbours: 0.05 s).

    Args:
        on_change: called in the event loop with the facts when they differ from the last: first by `start`.
        on_neighbours: likewise with the neighbours.
    """

    def __init__(
        self,
        on_change: Callable[[Facts], object] | None = None,
        on_neighbours: Callable[[tuple[Neighbour, ...]], object] | None = None,
    ) -> None:
        self._on_change = on_change
        self._on_neighbours = on_neighbours
        self._facts: Facts | None = None
        self._neighbours: tuple[Neighbour, ...] = ()
        self._socket: socket.socket | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._dirty = _Part(0)
        self._timer: asyncio.TimerHandle | None = None
        self._reading: asyncio.Future[_Read] | None = None
        self._took = 0.0

    async def start(self) -> None:
        """Read everything, and follow it from here on. Nothing that changes meanwhile is missed.

        Raises:
            Problem: `network-not-read` or `sysctl-not-read`; nothing is left open.
        """
        loop = asyncio.get_running_loop()
        # A thread is in the network of the thread that started it. One of our own, started here, is in ours.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="links")
        try:
            self._socket = _listen()
            self._take(await loop.run_in_executor(self._executor, _read, _Part.FACTS | _Part.NEIGHBOURS))
        except BaseException:
            await self.close()
            raise
        loop.add_reader(self._socket, self._hear, self._socket)

    @property
    def facts(self) -> Facts:
        """The latest; `start` must have been awaited."""
        assert self._facts is not None
        return self._facts

    def neighbours(self) -> tuple[Neighbour, ...]:
        """The latest neighbour table, by address."""
        return self._neighbours

    async def close(self) -> None:
        """Stop following; no callback comes after. Closing twice is fine."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reading is not None:
            await asyncio.wait([self._reading])
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _hear(self, sock: socket.socket) -> None:
        parts, overrun = _drain(sock)
        if overrun:
            # libuv, so uvloop, stops to watch a descriptor that has had an error (POLLERR in uv__poll_io).
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            loop.add_reader(sock, self._hear, sock)
        self._dirty |= parts
        self._schedule()

    def _schedule(self, at_least: float = _DEBOUNCE) -> None:
        if self._dirty and self._socket is not None and self._timer is None and self._reading is None:
            delay = max(at_least, self._took * _SHARE)
            self._timer = asyncio.get_running_loop().call_later(delay, self._read_again)

    def _read_again(self) -> None:
        self._timer = None
        parts, self._dirty = self._dirty, _Part(0)
        loop = asyncio.get_running_loop()
        self._reading = loop.run_in_executor(self._executor, _read, parts)
        self._reading.add_done_callback(functools.partial(self._have_read, parts))

    def _have_read(self, parts: _Part, future: asyncio.Future[_Read]) -> None:
        self._reading = None
        if self._socket is None:  # closed meanwhile; a failure matters to nobody any more
            future.exception()
            return
        error = future.exception()
        if isinstance(error, Problem):
            _log.warning("network-not-read", why=error.title(), again_in=_RETRY)
            self._dirty |= parts
            self._schedule(_RETRY)
            return
        read = future.result()
        self._schedule()
        self._take(read)

    def _take(self, read: _Read) -> None:
        """Keep what was read, and tell what is new of it."""
        self._took = read.took
        facts, neighbours = self._facts, self._neighbours
        self._facts = read.facts or facts
        self._neighbours = neighbours if read.neighbours is None else read.neighbours
        if self._on_change is not None and self._facts is not None and self._facts != facts:
            self._on_change(self._facts)
        if self._on_neighbours is not None and self._neighbours != neighbours:
            self._on_neighbours(self._neighbours)


class _Part(Flag):
    """What may have changed."""

    FACTS = auto()
    NEIGHBOURS = auto()


@dataclass(frozen=True, slots=True)
class _Read:
    """The parts that were asked for, and how long it took in seconds."""

    facts: Facts | None
    neighbours: tuple[Neighbour, ...] | None
    took: float


def _listen() -> socket.socket:
    """A socket that hears of changes in the network of this thread (rtnetlink(7))."""
    sock = None
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind((0, 0))  # before joining: bind leaves the groups that its address does not name
        for group in _GROUPS:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise Problem("network-not-read", why=os_cause(error)) from None
    return sock


def _drain(sock: socket.socket) -> tuple[_Part, bool]:
    """What the notices that wait are about, and whether some were lost; then that may be anything."""
    parts, overrun = _Part(0), False
    while True:
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return parts, overrun
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            parts, overrun = _Part.FACTS | _Part.NEIGHBOURS, True
            continue
        for kind, family in _notices(data):
            parts |= _concerns(kind, family)


def _notices(data: bytes) -> Iterator[tuple[int, int]]:
    """Type and address family of each message. Every rtnetlink body starts with its family."""
    at = 0
    while at + _HEADER.size < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length <= _HEADER.size:
            return
        yield kind, data[at + _HEADER.size]
        at += (length + 3) & ~3


def _concerns(kind: int, family: int) -> _Part:
    if kind in _NEIGHBOUR_TYPES:  # a bridge's forwarding table comes by the same group
        return _Part.NEIGHBOURS if family in (socket.AF_INET, socket.AF_INET6) else _Part(0)
    return _Part.FACTS | _Part.NEIGHBOURS if kind in _LINK_TYPES else _Part.FACTS


def _read(parts: _Part) -> _Read:
    """Read some parts in the network of this thread; blocking.

    A dump that a change broke into (NLM_F_DUMP_INTR) is not asked for again: that change has a notice
    of its own, which has it read anew.
    """
    begin = time.monotonic()
    try:
        with IPRoute(strict_check=True) as rtnl:
            links = list(rtnl.get_links())
            names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in links}
            facts = _facts(rtnl, links, names) if _Part.FACTS in parts else None
            neighbours = _neighbours(rtnl, names) if _Part.NEIGHBOURS in parts else None
    except NetlinkError as error:
        raise Problem(
            "network-not-read", why=os_cause(OSError(error.code, os.strerror(error.code)))
        ) from None
    except OSError as error:
        raise Problem("network-not-read", why=os_cause(error)) from None
    return _Read(facts, neighbours, time.monotonic() - begin)


def _facts(rtnl: Any, links: Iterable[Any], names: dict[int, str]) -> Facts:
    addresses: dict[int, list[Address]] = {}
    for message in rtnl.get_addr():
        addresses.setdefault(message["index"], []).append(_address(message))
    return Facts(
        interfaces=tuple(_interface(link, addresses.get(link["index"], ())) for link in links),
        routes=tuple(
            route for message in rtnl.get_routes(table=_RT_TABLE_MAIN) for route in _routes(message, names)
        ),
        forwarding4=read_sysctl("net.ipv4.ip_forward") == "1",
        forwarding6=read_sysctl("net.ipv6.conf.all.forwarding") == "1",
    )


def _interface(link: Any, addresses: Iterable[Address]) -> InterfaceFacts:
    # A tunnel's "hardware address" is an IP address.
    mac = link.get_attr("IFLA_ADDRESS") if link["ifi_type"] == _ARPHRD_ETHER else None
    return InterfaceFacts(
        name=str(link.get_attr("IFLA_IFNAME")),
        index=int(link["index"]),
        up=bool(link["flags"] & _IFF_UP),
        addresses=tuple(addresses),
        loopback=bool(link["flags"] & _IFF_LOOPBACK),
        mac=str(mac).lower() if mac else None,
    )


def _address(message: Any) -> Address:
    # IFA_ADDRESS is the other end where IFA_LOCAL is there and differs (linux/if_addr.h).
    other = ipaddress.ip_address(message.get_attr("IFA_ADDRESS") or message.get_attr("IFA_LOCAL"))
    local = message.get_attr("IFA_LOCAL")
    own = ipaddress.ip_address(local) if local else other
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    return Address(
        own,
        int(message["prefixlen"]),
        peer=other if other != own else None,
        temporary=own.version == 6 and bool(flags & _TEMPORARY),
        deprecated=bool(flags & _DEPRECATED),
        tentative=bool(flags & _DAD_FAILED) or flags & (_TENTATIVE | _OPTIMISTIC) == _TENTATIVE,
    )


def _routes(message: Any, names: dict[int, str]) -> Iterator[Route]:
    if message["type"] != _RTN_UNICAST or message["flags"] & _RTM_F_CLONED:
        return
    every = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    destination: IPNetwork = ipaddress.ip_network(
        f"{message.get_attr('RTA_DST') or every}/{message['dst_len']}", strict=False
    )
    source = message.get_attr("RTA_PREFSRC")
    hops = message.get_attr("RTA_MULTIPATH")
    for hop in hops or (message,):
        interface = names.get(hop["oif"] if hops else hop.get_attr("RTA_OIF"))
        if interface is None or (hops and hop["flags"] & _RTNH_F_DEAD):
            continue
        yield Route(
            destination,
            interface,
            gateway=_gateway(hop),
            metric=message.get_attr("RTA_PRIORITY") or 0,
            source=ipaddress.ip_address(source) if source else None,
        )


def _gateway(hop: Any) -> IPAddress | None:
    via = hop.get_attr("RTA_VIA")
    text = via["addr"] if via else hop.get_attr("RTA_GATEWAY")
    return ipaddress.ip_address(text) if text else None


def _neighbours(rtnl: Any, names: dict[int, str]) -> tuple[Neighbour, ...]:
    found = []
    for message in rtnl.get_neighbours():
        text, interface = message.get_attr("NDA_DST"), names.get(message["ifindex"])
        if not text or interface is None:
            continue
        address = ipaddress.ip_address(text)
        if not address.is_multicast:
            mac = message.get_attr("NDA_LLADDR")
            state = _STATES.get(message["state"], NeighbourState.NONE)
            found.append(Neighbour(address, str(mac).lower() if mac else None, interface, state))
    return tuple(sorted(found, key=lambda each: (each.address.version, each.address, each.interface)))
