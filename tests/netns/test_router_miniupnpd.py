"""Debian's miniupnpd as the router above: bytes from the internet get to this machine through it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pytest

from sekimori.host.clock import SystemClock
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.network import Network
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.planes.router.facts import Presence
from sekimori.planes.router.plane import RouterPlane
from sekimori.reconcile.ports import Changes, Wanted
from sekimori.testing.peers import Peers

from .abovehome import MACHINE, MACHINE_TOO, OUTSIDE, AboveHome, above_home, why_no_miniupnpd
from .home import moved_into

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.skipif(why_no_miniupnpd() is not None, reason=str(why_no_miniupnpd())),
]

EACH = pytest.mark.parametrize("protocol", ["pcp", "natpmp", "upnp"])


@pytest.fixture(scope="module")
def above() -> Iterator[AboveHome]:
    with above_home() as net:
        yield net


class Keeper:
    """A plane, and what the engine does with it: what it wakes for is put again until it stands."""

    def __init__(self, net: AboveHome) -> None:
        self.network: Network = net.network()
        self.plane = RouterPlane(lambda: self.network, b"secret", SystemClock())
        self.plane.on_change = self._wake
        self.wanted: dict[str, Wanted] = {}
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()

    def _wake(self, _ids: Iterable[str]) -> None:
        self._woken.set()

    async def open(self, *wanted: Wanted) -> dict[str, str]:
        """What failed, in words."""
        self.wanted |= {each.mapping.id: each for each in wanted}
        async with self._turn:
            failed = await self.plane.apply(Changes(put=wanted))
        return {key: problem.title() for key, problem in failed.items()}

    async def heal(self) -> None:
        """As long as this runs."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            async with self._turn:
                marks = await self.plane.observe()
                put = [w for key, w in self.wanted.items() if marks.get(key) != self.plane.fingerprint(w)]
                failed = await self.plane.apply(Changes(put=tuple(put)))
            if failed:
                await asyncio.sleep(0.2)
                self._woken.set()

    async def stand(self) -> None:
        """Wait until everything is there."""
        await until(lambda: all(each.sure for key in self.wanted for each in self.plane.standing(key)))


@contextlib.asynccontextmanager
async def keeping(net: AboveHome) -> AsyncIterator[Keeper]:
    with moved_into(net.machine):
        keeper = Keeper(net)
        keeper.plane.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(keeper.plane.run()), group.create_task(keeper.heal())]
                yield keeper
                for task in tasks:
                    task.cancel()
        finally:
            await keeper.plane.close()


async def until(condition: Callable[[], object], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.05)


def wanted(number: int, outside: str, inside: str, accept_until: float | None = None) -> Wanted:
    pair = (PortRange.parse(outside), PortRange.parse(inside))
    mapping = Mapping(
        id=f"m{number}",
        name=f"web-{number}",
        owner=Owner(OwnerKind.PERSON, "test"),
        ports=tuple(PortPair(protocol, *pair) for protocol in (IpProtocol.TCP, IpProtocol.UDP)),
        target=Target.parse_host("self"),
        sources=Sources.parse("anyone"),
        lifetime=Lifetime.permanent("test"),
        path=(Hop("router"),),
    )
    return Wanted(mapping, accept_until, ("127.0.0.1",), None, 10.0)


def talk(visitor: Peers, port: int, tag: bytes) -> None:
    """TCP and UDP from the internet get there and back."""
    talker = visitor.dial(port, OUTSIDE)
    assert talker.exactly(len(tag)) == tag
    assert talker.says_back(b"by TCP")
    assert visitor.datagrams(port, OUTSIDE).ask(b"by UDP") == tag + b"by UDP"


@EACH
async def test_bytes_pass_until_it_is_closed(above: AboveHome, protocol: str, tmp_path: Path) -> None:
    with (
        above.miniupnpd(tmp_path, protocol),
        Peers(above.machine.call) as here,
        Peers(above.visitor.call) as out,
    ):
        tcp = here.tcp_echo(MACHINE, tag=b"here ")
        here.udp_echo(MACHINE, tcp.port, tag=b"here ")
        async with keeping(above) as keeper:
            assert await keeper.open(wanted(1, "8080", str(tcp.port))) == {}
            [facts] = keeper.plane.told()
            assert (facts.protocol, facts.presence) == (protocol, Presence.THERE)
            assert str(facts.address or OUTSIDE) == OUTSIDE
            await asyncio.to_thread(talk, out, 8080, b"here ")
            assert tcp.seen[0][0] == "20.30.40.1"
            assert await keeper.open(wanted(2, "9001", "9001")) == {}
            await keeper.plane.apply(Changes(remove={"m1": 0.0}))
            assert "8080" not in above.mapped()
            with pytest.raises(OSError):  # refused or lost, as the router likes
                await asyncio.to_thread(out.datagrams(8080, OUTSIDE).ask, b"gone", 1.0)
            assert "9001" in above.mapped()
        assert "dnat" not in above.mapped()


@EACH
async def test_a_restart_of_the_router_heals(above: AboveHome, protocol: str, tmp_path: Path) -> None:
    with Peers(above.machine.call) as here, Peers(above.visitor.call) as out:
        tcp = here.tcp_echo(MACHINE, tag=b"here ")
        here.udp_echo(MACHINE, tcp.port, tag=b"here ")
        async with keeping(above) as keeper:
            with above.miniupnpd(tmp_path, protocol):
                assert await keeper.open(wanted(1, "8080", str(tcp.port))) == {}
                # Its epoch must get so far that beginning anew is told from rounding and drift (RFC 6887
                # §8.5) by a look half a minute later too: the announcement of a restart may be lost.
                await asyncio.sleep(6.5)
            with above.miniupnpd(tmp_path, protocol):
                await until(lambda: "8080" in above.mapped(), 40)
                await keeper.stand()
                await asyncio.to_thread(talk, out, 8080, b"here ")
                await keeper.plane.close()
                assert "dnat" not in above.mapped()


@pytest.fixture
def second_address(above: AboveHome) -> Iterator[str]:
    above.machine.address("router", f"{MACHINE_TOO}/24")
    yield MACHINE_TOO
    above.machine.ip(f"address del {MACHINE_TOO}/24 dev router")


@EACH
async def test_another_address_of_the_machine(
    above: AboveHome, protocol: str, tmp_path: Path, second_address: str
) -> None:
    with (
        above.miniupnpd(tmp_path, protocol),
        Peers(above.machine.call) as here,
        Peers(above.visitor.call) as out,
    ):
        tcp = here.tcp_echo(second_address, tag=b"here ")
        here.udp_echo(second_address, tcp.port, tag=b"here ")
        async with keeping(above) as keeper:
            assert await keeper.open(wanted(1, "8080", str(tcp.port))) == {}
            keeper.wanted.clear()
            keeper.network = above.network(second_address)
            keeper.plane.reframe()
            assert keeper.plane.standing("m1") == ()
            assert await keeper.open(wanted(2, "8082", str(tcp.port))) == {}
            await asyncio.to_thread(talk, out, 8082, b"here ")
        assert "8082" not in above.mapped()


async def test_its_refusal_is_told(above: AboveHome, tmp_path: Path) -> None:
    """A port that its rules deny."""
    for protocol, code in (
        ("pcp", "PCP 11 CANNOT_PROVIDE_EXTERNAL"),
        ("natpmp", "it gives tcp/86 instead"),  # it never says no while a port is left
        ("upnp", "UPnP "),
    ):
        with above.miniupnpd(tmp_path, protocol, "deny 80-85 192.168.50.0/24 1-65535"):
            async with keeping(above) as keeper:
                failed = await keeper.open(wanted(1, "80", "80"))
                assert code in failed["m1"]
                keeper.wanted.clear()
