"""What the kernel's benchmarks stand on: gateways side by side, mappings to fill them with, datagrams.

Everything is in network namespaces made here. Each gateway has its own cable to the one visitor and its
own LAN, so that peers hold their tables at the same time and take turns in one run.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, Verb
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.planes.relay.libc import HEADER, open_calls
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually

COUNT: Final = 60_000
FIRST_PORT: Final = 2000
"""Mappings have the ports from here on; with 60,000 of them, 62,000 and more are free."""
AFTER: Final = FIRST_PORT + COUNT
BENCH: Final = Owner(OwnerKind.PERSON, "bench")
_AT_ONCE: Final = 512
"""Datagrams of one sendmmsg(2), which takes 1,024 at most."""


@dataclass(frozen=True, slots=True)
class Road:
    """A gateway, with the visitor at one end of its cable and its LAN on the other.

    Attributes:
        outside: its address that the visitor sends to.
        inside: the address of the server in its LAN.
    """

    name: str
    gateway: Host
    outside: str
    inside: str

    def forwarded(self) -> int:
        """Packets that it has sent into its LAN."""

        def read() -> int:
            text = Path("/proc/thread-self/net/dev").read_text()
            found = re.search(r"^\s*home:(.*)$", text, re.MULTILINE)
            assert found, "the gateway has no LAN"
            return int(found[1].split()[9])

        return self.gateway.call(read)

    def forget_flows(self) -> None:
        self.gateway.run(["conntrack", "-F"])


@dataclass(frozen=True, slots=True)
class Roads:
    """A visitor with a road to each gateway, and a server that is in all of their LANs."""

    visitor: Host
    server: Host
    roads: tuple[Road, ...]


def build(lab: Lab, names: Sequence[str], *, serve: bool = True) -> Roads:
    """Gateways of these names. A server that does not serve costs packets next to nothing."""
    visitor, server = lab.host("visitor"), lab.host("server")
    roads = tuple(_road(lab, visitor, server, serve, name, index) for index, name in enumerate(names))
    return Roads(visitor, server, roads)


def _road(lab: Lab, visitor: Host, server: Host, serve: bool, name: str, index: int) -> Road:
    gateway = lab.host(f"gw{index}")
    ours, theirs = f"203.0.113.{4 * index + 2}", f"203.0.113.{4 * index + 1}"
    lab.cable(gateway, visitor, ("wan", f"to{index}"))
    gateway.address("wan", f"{ours}/30")
    visitor.address(f"to{index}", f"{theirs}/30")
    gateway.route(theirs)
    visitor.route(ours, f"192.168.{index}.0/24")
    lab.cable(gateway, server, ("home", f"lan{index}"))
    gateway.address("home", f"192.168.{index}.1/24")
    if serve:
        server.address(f"lan{index}", *(f"192.168.{index}.{last}/24" for last in range(10, 14)))
        server.route(f"192.168.{index}.1", f"203.0.113.{4 * index}/30")
    else:  # a frame for another station is dropped as soon as it is looked at
        gateway.ip(f"neigh add 192.168.{index}.10 lladdr 02:00:00:00:00:01 dev home nud permanent")
    gateway.forward()
    return Road(name, gateway, ours, f"192.168.{index}.10")


def mapping(index: int, inside: str, protocol: IpProtocol, now: float) -> Mapping:
    """One of many: every other one leads to another port, two of four are for the LAN's own list."""
    port = FIRST_PORT + index
    to = port if index % 2 else port - 1000
    return Mapping(
        id=f"m{index:010}",
        name=f"bench-{index}",
        owner=BENCH,
        ports=(PortPair(protocol, PortRange(port, port), PortRange(to, to)),),
        target=Target.parse_host(inside),
        sources=Sources.parse("anyone" if index % 4 < 2 else "lan,203.0.113.0/24"),
        lifetime=Lifetime.lasting(86_400, now),
        via="kernel",
        path=(Hop("kernel"),),
    )


def fill(state: Path, mappings: Iterable[Mapping]) -> None:
    """A ledger that holds these."""
    state.mkdir(exist_ok=True)
    ledger = Ledger.open(state)
    made = [Made(Verb.OPEN, None, each) for each in mappings]
    ledger.commit(made, Context(BENCH, "bench"), time.time())
    ledger.close()


class Volley:
    """Datagrams with the source and destination ports they are given, ready to leave many at a time.

    Sent from a raw socket, so that no socket is needed for each source port. Between namespaces, a packet
    goes all its way to the last queue within the call that sends it.
    """

    def __init__(self, visitor: Host, destination: str, ports: Sequence[tuple[int, int]]) -> None:
        self._count = len(ports)
        self._send = open_calls().send
        # RFC 768; a checksum of 0 is none.
        datagrams = (struct.pack("!HHHH18x", source, to, 26, 0) for source, to in ports)
        self._payload = ctypes.create_string_buffer(b"".join(datagrams))
        start, pieces = ctypes.addressof(self._payload), bytearray()
        for index in range(self._count):
            pieces += struct.pack("@QQ", start + 26 * index, 26)
        self._pieces = ctypes.create_string_buffer(bytes(pieces))
        start, headers = ctypes.addressof(self._pieces), bytearray()
        for index in range(self._count):
            headers += struct.pack("@QIxxxxQQQQ16x", 0, 0, start + 16 * index, 1, 0, 0)
        self._headers = ctypes.create_string_buffer(bytes(headers))
        self._sock = visitor.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
        self._sock.connect((destination, 0))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)

    def fire(self) -> float:
        """Send all of them; the seconds that took."""
        start, fd = ctypes.addressof(self._headers), self._sock.fileno()
        begun = time.perf_counter()
        sent = 0
        while sent < self._count:
            done = self._send(fd, start + sent * HEADER, min(_AT_ONCE, self._count - sent), 0)
            if done < 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            sent += done
        return time.perf_counter() - begun

    def close(self) -> None:
        """Send no more."""
        self._sock.close()


def new_flows(count: int, mapped: int) -> list[tuple[int, int]]:
    """Ports of first packets: each from a source port of its own, to one of the mapped ports by chance."""
    chance = random.Random(1)
    return [(1024 + source, FIRST_PORT + chance.randrange(mapped)) for source in range(count)]


def all_forwarded(road: Road, before: int, count: int) -> None:
    """Make sure that datagrams went through the gateway, every one of them."""
    try:
        eventually(lambda: road.forwarded() - before >= count, deadline=5, every=0.005)
    except AssertionError:
        through = road.forwarded() - before
        raise SystemExit(f"{road.name}: of {count} datagrams, {through} were forwarded") from None


def pss(pid: int) -> int:
    """Bytes of memory that are a process's own share."""
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def quantile(values: Iterable[float], part: float) -> float:
    """The value that `part` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def verdict(value: float, goal: float, *, at_most: bool) -> str:
    """Whether a figure reaches its goal, in words."""
    met = value <= goal if at_most else value >= goal
    return f"(goal {'<=' if at_most else '>='} {goal:g}: {'met' if met else 'MISSED'})"


def in_turns(rounds: int, actions: Sequence[Callable[[], None]]) -> None:
    """Every action once in each round, in the other order every other round."""
    for turn in range(rounds):
        for action in actions[:: -1 if turn % 2 else 1]:
            action()


def cannot(*programs: str) -> str | None:
    """Why the benchmarks cannot run here; None when they can."""
    missing = [each for each in programs if not shutil.which(each)]
    return why_not() or (f"{', '.join(missing)} not installed" if missing else None)
