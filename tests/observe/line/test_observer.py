"""When the line is looked at, from where, and what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.line import Above, Answer, FactName
from sekimori.model.linesettings import LineSettings
from sekimori.model.linesettings import StunServer as Named
from sekimori.model.mapset import PortSet, parse_rules
from sekimori.model.network import Lan, Network, Wan
from sekimori.model.target import Resolution
from sekimori.observe.line.observer import LineObserver
from sekimori.testing.clock import FakeClock
from sekimori.testing.stunserver import Manner, StunServer
from sekimori.wire.natbehaviour import Timing

pytestmark = pytest.mark.loopback

QUICK = Timing(first=0.05, times=2, last=0.1)
WAN = Wan("lo", addresses4=(IPv4Address("127.0.0.1"),), has4=True)
MOVED = Wan("lo", addresses4=(IPv4Address("127.0.0.7"),), has4=True)


class Names:
    """Knows one name."""

    def __init__(self, **known: str) -> None:
        self._known = known

    async def resolve(self, host: str) -> Resolution:
        if host not in self._known:
            raise Problem("no-such-host", host=host, why=cause("name-unknown"))
        return Resolution((self._known[host],), 60.0)


class Place:
    """A machine's place in the network, and the observer that runs there."""

    def __init__(self, *servers: Named, names: Names | None = None, **more: object) -> None:
        self.network = Network(wans=(WAN,))
        self.clock = FakeClock()
        self.changes = 0
        self.above: Above | None = None
        self.observer = LineObserver(
            settings=LineSettings(stun=servers, every=600, **more),  # type: ignore[arg-type]
            network=lambda: self.network,
            above=lambda interface: self.above,
            resolver=names or Names(),
            clock=self.clock,
            changed=self._changed,
            timing=QUICK,
        )

    def _changed(self) -> None:
        self.changes += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.observer.run())
            yield
            task.cancel()


def named(server: StunServer) -> Named:
    return Named(str(server.endpoint.address), server.endpoint.port)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_the_line_is_known_before_anything_is_asked_and_better_after() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place(named(server))
        assert place.observer.line().fact(FactName.PUBLIC4) is None
        assert place.observer.looks == ()
        await place.observer.look()
        public = place.observer.line().fact(FactName.PUBLIC4)
        assert public is not None
        assert (public.value, public.at) == ("127.0.0.1", place.clock.now())
        assert place.changes == 1
        assert [line.interface for line in place.observer.lines()] == ["lo"]


async def test_nothing_is_sent_unless_servers_are_configured() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place()
        await place.observer.look()
        async with place.running():
            place.observer.look_again()
            await asyncio.sleep(0)
        assert server.asked == 0
        assert place.observer.looks == ()


async def test_a_look_is_not_repeated_before_its_time() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place(named(server))
        await place.observer.look()
        asked = server.asked
        place.clock.advance(599)
        await place.observer.look()
        assert server.asked == asked
        place.clock.advance(1)
        await place.observer.look()
        assert server.asked == 2 * asked
        assert place.changes == 1  # nothing new was found


async def test_what_came_to_nothing_is_tried_again_sooner_and_says_why() -> None:
    with StunServer("127.0.0.1", "127.0.0.2", Manner.SILENT) as server:
        place = Place(named(server))
        await place.observer.look()
        (look,) = place.observer.looks
        assert look.why == cause("line-look-silent", servers=str(server.endpoint))
        assert server.asked == QUICK.times
        place.clock.advance(119)
        await place.observer.look()
        assert server.asked == QUICK.times
        place.clock.advance(1)
        await place.observer.look()
        assert server.asked == 2 * QUICK.times
        assert place.changes == 0


async def test_a_refusal_is_told() -> None:
    with StunServer("127.0.0.1", "127.0.0.2", Manner.REFUSES) as server:
        place = Place(named(server))
        await place.observer.look()
        (look,) = place.observer.looks
        assert look.why == cause("line-look-refused", server=server.endpoint, code=401)


async def test_an_address_that_nothing_can_be_sent_from() -> None:
    place = Place(Named("127.0.0.1"))
    place.network = Network(wans=(Wan("lo", addresses4=(IPv4Address("192.0.2.77"),), has4=True),))
    await place.observer.look()
    (look,) = place.observer.looks
    assert look.behaviour is None
    assert look.why is not None
    assert "192.0.2.77" in look.why["ja"]


async def test_servers_by_name() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        port = server.endpoint.port
        place = Place(Named("gone", port), Named("stun", port), names=Names(stun="127.0.0.1"))
        await place.observer.look()
        (look,) = place.observer.looks
        assert look.why is None
        assert look.behaviour is not None
        assert [each.server for each in look.behaviour.seen] == [server.endpoint]
    lost = Place(Named("gone"))
    await lost.observer.look()
    assert (
        lost.observer.looks[0].why == Problem("no-such-host", host="gone", why=cause("name-unknown")).titles
    )
    six = Place(Named("::1"))
    await six.observer.look()
    assert six.observer.looks[0].why == cause("line-look-no-server", family=4)


async def test_a_new_address_is_looked_from_at_once_and_the_old_look_is_dropped() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place(named(server))
        async with place.running():
            await until(lambda: len(place.observer.looks) == 1)
            place.network = Network(wans=(MOVED,))
            assert place.observer.looks == ()  # at once, before any look
            place.observer.wake()
            await until(lambda: [each.local for each in place.observer.looks] == list(MOVED.addresses4))
        public = place.observer.line().fact(FactName.PUBLIC4)
        assert public is not None
        assert public.value == "127.0.0.7"


async def test_a_line_that_changed_is_looked_at_again_but_servers_are_spared() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place(named(server))
        async with place.running():
            await until(lambda: len(place.observer.looks) == 1)
            asked, first = server.asked, place.observer.looks[0].at
            for metric in range(1, 20):  # a line that flaps
                place.network = Network(wans=(Wan("lo", WAN.addresses4, has4=True, metric=metric),))
                place.observer.wake()
                await asyncio.sleep(0)
            assert server.asked == asked
            place.clock.advance(15)
            await until(lambda: place.observer.looks[0].at > first)
            assert server.asked == 2 * asked
            place.observer.look_again()
            place.clock.advance(15)
            await until(lambda: server.asked == 3 * asked)


async def test_the_router_above_and_the_rules_are_judged_at_once() -> None:
    rules = parse_rules([{"ipv6": "2001:db8::/40", "ipv4": "192.0.2.0/24", "ea": 16}])
    place = Place(map_rules=rules)
    lan = Lan("lan0", prefixes=(ipaddress.ip_network("2001:db8:12:3401::/64"),))
    wan = Wan("eth0", addresses4=(IPv4Address("192.168.0.5"),), has4=True)
    place.network = Network(wans=(wan,), lans=(lan,))
    line = place.observer.line()
    assert line.outside_ports == PortSet(6, 8, 0x34)
    assert line.inbound4.answer is Answer.UNKNOWN
    place.above = Above("pcp", IPv4Address("192.0.2.18"), place.clock.now())
    assert place.observer.line().inbound4.answer is Answer.YES


async def test_a_line_is_judged_anew_only_where_something_changed() -> None:
    place = Place()
    first = place.observer.line()
    place.clock.advance(9)
    assert place.observer.line() is first
    place.clock.advance(1)
    later = place.observer.line()
    assert later is not first
    assert later.fact(FactName.WAN4) != first.fact(FactName.WAN4)  # it tells its age
    place.network = Network(wans=(MOVED,))
    assert place.observer.line().facts != later.facts
    assert place.observer.lines() == (place.observer.line(),)
    for number in range(100):  # interfaces that come and go are not kept for ever
        place.network = Network(wans=(Wan(f"ppp{number}", WAN.addresses4, has4=True),))
        assert place.observer.line().interface == f"ppp{number}"


async def test_a_look_from_each_family_of_each_wan() -> None:
    with StunServer("127.0.0.1", "127.0.0.2") as server:
        place = Place(named(server))
        six = (IPv6Address("fd00::1"), IPv6Address("2001:db8::77"))
        place.network = Network(wans=(Wan("lo", WAN.addresses4, six, has4=True, has6=True), Wan("gone0")))
        await place.observer.look()
        four, from6 = place.observer.looks
        assert four.why is None
        assert (from6.local, from6.why) == (six[1], cause("line-look-no-server", family=6))
