"""A router plane and the router above it, on two addresses of loopback that are this test's alone."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.network import Network, Wan
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.planes.router.plane import RouterPlane
from sekimori.reconcile.ports import Changes, Wanted
from sekimori.testing.clock import FakeClock
from sekimori.testing.fakerouter import FakeRouter, Quirks

SECRET = b"a secret of the test"
_numbers = itertools.count(1)


@dataclass
class Rig:
    """The plane, the router, and the time that both go by."""

    plane: RouterPlane
    router: FakeRouter
    clock: FakeClock
    network: Network
    changed: list[str] = field(default_factory=list)

    @property
    def wan(self) -> Wan:
        return self.network.wans[0]

    @property
    def local(self) -> str:
        return str(self.wan.addresses4[0])

    def move_to(self, *addresses: IPv4Address) -> None:
        """Have the machine get other addresses on its line."""
        self.network = replace(self.network, wans=(replace(self.wan, addresses4=addresses),))
        self.plane.reframe()

    def table(self) -> dict[str, str]:
        """What the router maps: `tcp/8080` to `ADDRESS:PORT`."""
        found = {}
        for protocol, outside in list(self.router.table):
            entry = self.router.entry(protocol, outside)
            if entry is not None:
                found[f"{protocol}/{outside}"] = f"{entry.client}:{entry.port}"
        return found

    async def put(self, *wanted: Wanted) -> dict[str, Any]:
        return dict(await self.plane.apply(Changes(put=wanted)))

    async def remove(self, *keys: str) -> dict[str, Any]:
        return dict(await self.plane.apply(Changes(remove=dict.fromkeys(keys, 0.0))))


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Wait for something to come true.

    Raises:
        AssertionError: it did not.
    """
    end = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not come true"
        await asyncio.sleep(0.01)


def wanted(
    number: int,
    ports: str = "tcp/8080",
    accept_until: float | None = None,
    path: str = "router,kernel",
    **given: Any,
) -> Wanted:
    """The nth mapping: `tcp/8080`, `udp/8080:53`, several with spaces."""
    mapping = Mapping(
        id=f"m{number}",
        name=f"web-{number}",
        owner=Owner(OwnerKind.PERSON, "test"),
        ports=tuple(map(_pair, ports.split())),
        target=Target.parse_host(given.pop("target", "192.168.77.10")),
        sources=Sources.parse("anyone"),
        lifetime=Lifetime.permanent("test"),
        path=tuple(map(Hop.parse, path.split(","))),
        revision=number,
    )
    return Wanted(replace(mapping, **given), accept_until, ("192.168.77.10",), None, 10.0)


def _pair(text: str) -> PortPair:
    word, _, ports = text.partition("/")
    outside, _, inside = ports.partition(":")
    outer = PortRange.parse(outside)
    protocol = next(each for each in IpProtocol if each == word)
    return PortPair(protocol, outer, PortRange.parse(inside) if inside else outer)


def addresses() -> tuple[str, list[IPv4Address]]:
    """A router's address, and four more beside it."""
    stem = f"127.{os.getpid() % 120 + 64}.{os.getpid() // 120 % 250}"
    first = next(_numbers) * 6 % 240
    return f"{stem}.{first + 1}", [IPv4Address(f"{stem}.{first + step}") for step in (2, 3, 4, 5)]


@asynccontextmanager
async def rigged(quirks: Quirks | None = None, *, outside: str = "20.30.40.50") -> AsyncIterator[Rig]:
    """A plane that runs, and its router."""
    clock = FakeClock()
    gateway, [local, other, *_] = addresses()
    router = await FakeRouter(gateway, quirks, outside, now=clock.now).start()
    wan = Wan("lo", (local, other), gateway4=IPv4Address(gateway), has4=True)
    rig: Rig

    def note(ids: Iterable[str]) -> None:
        rig.changed.extend(ids)

    plane = RouterPlane(lambda: rig.network, SECRET, clock, clock.now)
    plane.on_change = note
    rig = Rig(plane, router, clock, Network((wan,)))
    plane.start()
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(plane.run())
            yield rig
            running.cancel()
    finally:
        await plane.close(leave=True)
        await router.close()
