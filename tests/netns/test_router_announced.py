"""What a router announces on its network is heard, and others' announcements are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from sekimori.host.clock import SystemClock
from sekimori.model.address import IpProtocol
from sekimori.planes.router.plane import RouterPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.fakerouter import FakeRouter, Quirks
from sekimori.testing.fakerouter_upnp import announce_alive, announce_byebye
from sekimori.testing.netlab import why_not
from sekimori.wire import natpmp, pcp

from .abovehome import INSIDE, MACHINE, AboveHome, above_home
from .home import moved_into
from .test_router_miniupnpd import until, wanted

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def above() -> Iterator[AboveHome]:
    with above_home() as net:
        yield net


@dataclass
class Heard:
    plane: RouterPlane
    router: FakeRouter
    changed: list[str] = field(default_factory=list)

    def loses(self) -> None:
        """The router starts anew, and has nothing."""
        self.router.restart()
        self.changed.clear()


@contextlib.asynccontextmanager
async def hearing(net: AboveHome, quirks: Quirks) -> AsyncIterator[Heard]:
    """A plane with one mapping at a fake router on a real link."""
    router = await FakeRouter(INSIDE, quirks, call=net.router.call, interface="machine").start()
    with moved_into(net.machine):
        plane = RouterPlane(lambda: net.network(), b"secret", SystemClock())
        heard = Heard(plane, router)
        plane.on_change = heard.changed.extend
        plane.start()
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(plane.run())
                assert await plane.apply(Changes(put=(wanted(1, "8080", "80"),))) == {}
                entry = router.entry(IpProtocol.TCP, 8080)
                assert entry is not None
                assert entry.client == MACHINE
                await asyncio.sleep(2.0)  # it has looked around to the end, and sleeps for a minute now
                yield heard
                running.cancel()
        finally:
            await plane.close(leave=True)
            await router.close()


async def test_upnp_is_found_on_a_real_link(above: AboveHome) -> None:
    async with hearing(above, Quirks(pcp=False, natpmp=False)) as heard:
        assert heard.plane.told()[0].model == "Acme Router <One> 7"


@pytest.mark.parametrize("only", ["pcp", "natpmp"])
async def test_a_lost_state_that_is_announced(above: AboveHome, only: str) -> None:
    quirks = Quirks(pcp=only == "pcp", natpmp=only == "natpmp", upnp=False)
    async with hearing(above, quirks) as heard:
        heard.loses()
        answer = {
            "pcp": pcp.encode_response(pcp.Response(0, 0, pcp.Announce())),
            "natpmp": natpmp.encode_response(natpmp.AddressResponse(0, IPv4Address("20.30.40.50"))),
        }[only]
        heard.router.announce(answer, pcp.ANNOUNCE_GROUP4, pcp.ANNOUNCE_PORT)
        await until(lambda: "m1" in heard.changed, 5)


@pytest.mark.parametrize("announce", [announce_byebye, announce_alive], ids=["byebye", "another boot id"])
async def test_a_restart_that_upnp_announces(
    above: AboveHome, announce: Callable[[FakeRouter], None]
) -> None:
    async with hearing(above, Quirks(pcp=False, natpmp=False)) as heard:
        announce_alive(heard.router)
        await asyncio.sleep(0.3)
        assert heard.changed == []
        heard.loses()
        await asyncio.sleep(0.8)  # announcements are heeded once a second
        announce(heard.router)
        await until(lambda: "m1" in heard.changed, 5)


async def test_what_another_host_announces_is_passed_over(above: AboveHome) -> None:
    """Nothing is asked for it."""
    async with hearing(above, Quirks(natpmp=False, upnp=False)) as heard:
        asked = len(heard.router.asked)
        above.router.address("machine", "192.168.50.9/24")
        try:
            sock = above.router.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with sock:
                sock.bind(("192.168.50.9", 0))
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("192.168.50.9"))
                answer = pcp.encode_response(pcp.Response(0, 0, pcp.Announce()))
                for _ in range(3):
                    sock.sendto(answer, (pcp.ANNOUNCE_GROUP4, pcp.ANNOUNCE_PORT))
            # The router's own comes after them by the same cable, so they have been heard when it has.
            heard.router.announce(answer, pcp.ANNOUNCE_GROUP4, pcp.ANNOUNCE_PORT)
            await until(lambda: len(heard.router.asked) > asked, 5)
            await asyncio.sleep(0.2)
            assert heard.router.asked[asked:] == ["pcp announce"]
        finally:
            above.router.ip("address del 192.168.50.9/24 dev machine")
