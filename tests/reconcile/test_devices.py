"""Devices followed: found, moved, asleep, displaced."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from sekimori.model.address import IPAddress
from sekimori.model.device import Announced
from sekimori.model.errors import Problem
from sekimori.model.network import Neighbour, NeighbourState
from sekimori.model.target import Target
from sekimori.reconcile.devices import Devices
from sekimori.testing.clock import FakeClock
from sekimori.testing.lan import FakeLan

NAS, TV = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"
BY_MAC = Target.parse_host(NAS)
BY_NAME = Target.parse_host("device:nas")
PINNED = BY_NAME.pinned(NAS)


class FaithfulLan(FakeLan):
    """A LAN whose kernel asks the MAC address that it believes in, and nobody else, before it forgets it.

    Attributes:
        held: probes of these addresses do not return until the event.
        mute: mDNS questions do not return.
        changed: told that a probe has changed the table.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[IPAddress, asyncio.Event] = {}
        self.mute = False
        self.changed: Callable[[], None] = lambda: None

    async def probe(self, address: IPAddress, interface: str | None) -> None:
        believed, there = self.table.get(address), self.standing.get(address)
        if believed is None or believed.mac in (None, there):
            await super().probe(address, interface)
        else:
            self.probed.append(address)
            self.table[address] = Neighbour(address, None, "lan0", NeighbourState.FAILED)
        self.changed()
        if address in self.held:
            await self.held[address].wait()

    async def ask_mdns(self, name: str) -> Sequence[Announced]:
        if self.mute:
            self.asked.append(name)
            await asyncio.Event().wait()
        return await super().ask_mdns(name)


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.lan = FaithfulLan()
        self.moved: list[Target] = []
        self.devices = Devices(self.lan, self.clock, self.moved.append)
        self.lan.changed = self.devices.wake

    def problem(self, target: Target = PINNED) -> str | None:
        problem = self.devices.problem(target)
        return problem.code if problem else None

    @asynccontextmanager
    async def following(self, *targets: Target) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self.devices.run())
            self.devices.keep(targets)
            try:
                yield
            finally:
                loop.cancel()

    async def until(self, condition: Callable[[], bool], step: float = 0.0) -> None:
        """Wait for the loop; with a step, let so many seconds pass again and again."""
        async with asyncio.timeout(5):
            while not condition():
                self.clock.advance(step)
                await self.settle()

    async def settle(self) -> None:
        """Give every task all the turns it can use while time stands still."""
        for _ in range(100):
            await asyncio.sleep(0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


# -- learning ----------------------------------------------------------------------------


async def test_a_name_is_pinned_to_the_mac_address_of_its_lease(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    scene.lan.place(NAS, "192.168.1.50")
    assert await scene.devices.learn(BY_NAME) == PINNED
    assert scene.devices.addresses(PINNED) == ("192.168.1.50",)
    assert scene.problem() is None
    assert scene.lan.asked == []


async def test_a_name_that_no_lease_has_is_asked_of_the_devices_and_proved_by_a_probe(scene: Scene) -> None:
    scene.lan.announced["nas"] = ("192.168.1.50", "2001:db8:3::50")
    scene.lan.place(NAS, "2001:db8:3::50")
    assert await scene.devices.learn(BY_NAME) == PINNED
    assert scene.lan.asked == ["nas"]
    assert scene.devices.addresses(PINNED) == ("2001:db8:3::50",)


@pytest.mark.parametrize("state", [NeighbourState.STALE, NeighbourState.DELAY, NeighbourState.REACHABLE])
async def test_a_name_that_only_mdns_knows_is_not_pinned_to_who_was_there_before(
    scene: Scene, state: NeighbourState
) -> None:
    scene.lan.meet(TV, "192.168.1.50", state)
    scene.lan.place(NAS, "192.168.1.50")  # the other has left, and the table does not know
    scene.lan.announced["nas"] = ("192.168.1.50",)
    assert await scene.devices.learn(BY_NAME) == PINNED
    assert scene.devices.addresses(PINNED) == ("192.168.1.50",)


@pytest.mark.parametrize("told", ["mdns", "lease"])
async def test_a_name_is_pinned_to_nobody_while_nobody_answers(scene: Scene, told: str) -> None:
    scene.lan.meet(TV, "192.168.1.50", NeighbourState.STALE)
    scene.lan.leave("192.168.1.50")
    if told == "mdns":
        scene.lan.announced["nas"] = ("192.168.1.50",)
    else:
        scene.lan.lease(None, "192.168.1.50", "nas")
    for _ in range(2):  # the second time mDNS is still believed
        with pytest.raises(Problem) as caught:
            await scene.devices.learn(BY_NAME)
        assert caught.value.code == "device-not-found"
    assert scene.lan.probed.count(ipaddress.ip_address("192.168.1.50")) <= 6


async def test_a_lease_without_a_mac_address_says_where_to_look(scene: Scene) -> None:
    scene.lan.lease(None, "2001:db8:3::50", "nas")
    scene.lan.place(NAS, "2001:db8:3::50")
    assert await scene.devices.learn(BY_NAME) == PINNED


async def test_a_name_that_nobody_has_is_not_found(scene: Scene) -> None:
    with pytest.raises(Problem) as caught:
        await scene.devices.learn(BY_NAME)
    assert caught.value.code == "device-not-found"
    assert scene.problem(BY_NAME) == "device-not-found"


async def test_a_name_that_two_have_is_ambiguous(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    scene.lan.lease(TV, "192.168.1.60", "nas")
    with pytest.raises(Problem) as caught:
        await scene.devices.learn(BY_NAME)
    assert (caught.value.code, caught.value.facts["macs"]) == ("device-ambiguous", f"{NAS}, {TV}")


async def test_a_name_that_is_followed_stays_the_device_it_was(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    await scene.devices.learn(BY_NAME)
    scene.lan.leases_now.clear()
    scene.lan.lease(TV, "192.168.1.60", "nas")  # an impostor
    assert await scene.devices.learn(BY_NAME) == PINNED
    scene.devices.keep([])
    assert await scene.devices.learn(BY_NAME) == BY_NAME.pinned(TV)


async def test_a_mac_address_need_not_be_there(scene: Scene) -> None:
    assert await scene.devices.learn(BY_MAC) == BY_MAC
    assert scene.problem(BY_MAC) == "device-not-found"


async def test_a_device_that_is_there_is_reserved_its_address(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    assert scene.devices.reservation(PINNED) is None
    await scene.devices.learn(BY_NAME)
    assert scene.devices.reservation(PINNED) == f"dhcp-host={NAS},192.168.1.50,nas"
    scene.lan.leases_now.clear()
    scene.lan.meet(NAS, "192.168.1.50")
    await scene.devices.learn(PINNED)
    assert scene.devices.reservation(PINNED) is None  # no server of ours gave it the address


def test_owned_is_what_the_table_says_at_this_moment(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    assert scene.devices.owned(NAS) == frozenset()
    scene.lan.meet(NAS, "2001:db8:3::50", NeighbourState.STALE)
    assert scene.devices.owned(NAS) == {ipaddress.ip_address("2001:db8:3::50")}
    scene.lan.meet(TV, "2001:db8:3::50")
    assert scene.devices.owned(NAS) == frozenset()


# -- following ---------------------------------------------------------------------------


async def test_at_the_start_devices_are_found_before_anything_else(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50", NeighbourState.STALE)
    await scene.devices.start([PINNED])
    assert scene.devices.addresses(PINNED) == ("192.168.1.50",)


async def test_a_new_lease_is_followed_within_a_second(scene: Scene) -> None:
    scene.lan.lease(NAS, "192.168.1.50", "nas")
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.50",))
        begin = scene.clock.now()
        scene.lan.leave("192.168.1.50")
        scene.lan.place(NAS, "192.168.1.51")
        scene.lan.lease(NAS, "192.168.1.51", "nas")
        await scene.until(lambda: scene.devices.addresses(PINNED)[0] == "192.168.1.51", step=0.5)
        # The old entry is still in the neighbour table, so the probe is what decides.
        assert scene.clock.now() - begin <= 2.5
        assert scene.moved[-1] == PINNED
        assert scene.problem() is None


async def test_a_device_that_moved_by_itself_is_followed_when_it_is_seen(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(BY_MAC):
        await scene.until(lambda: scene.devices.addresses(BY_MAC) == ("192.168.1.50",))
        scene.lan.leave("192.168.1.50")
        scene.lan.meet(NAS, "192.168.1.51", NeighbourState.STALE)
        scene.devices.wake()
        await scene.until(lambda: scene.devices.addresses(BY_MAC) == ("192.168.1.51",), step=0.5)


async def test_when_another_takes_the_address_nothing_goes_there(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.50",))
        scene.lan.meet(TV, "192.168.1.50")
        scene.moved.clear()
        scene.devices.wake()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ())
        assert scene.problem() == "device-moved-away"
        assert scene.moved == [PINNED]
        # It is seen again, elsewhere.
        scene.lan.meet(NAS, "192.168.1.51")
        scene.devices.wake()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.51",))
        assert scene.problem() is None


async def test_a_taker_that_says_nothing_is_found_by_a_probe_as_soon_as_the_device_is_silent(
    scene: Scene,
) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: scene.lan.probed != [] and scene.devices.addresses(PINNED) != ())
        await scene.settle()
        scene.lan.place(TV, "192.168.1.50")
        address = ipaddress.ip_address("192.168.1.50")
        entry = scene.lan.table[address]
        scene.lan.table[address] = type(entry)(address, None, "lan0", NeighbourState.FAILED)
        scene.devices.wake()
        await scene.until(lambda: scene.problem() == "device-moved-away")  # no time has passed


async def test_a_silent_device_stays_where_it_was(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.50",))
        scene.moved.clear()
        scene.lan.leave("192.168.1.50")
        for _ in range(20):
            scene.clock.advance(1)
            await scene.settle()
        address = ipaddress.ip_address("192.168.1.50")
        assert scene.lan.table[address].state is NeighbourState.FAILED
        assert (scene.devices.addresses(PINNED), scene.problem(), scene.moved) == (
            ("192.168.1.50",),
            None,
            [],
        )


async def moved_where_another_was(scene: Scene) -> None:
    """NAS was at .5, and gets a lease of .30, where the table believes TV to be."""
    await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.5",))
    await scene.settle()
    scene.moved.clear()
    scene.lan.leave("192.168.1.5")
    scene.lan.lease(NAS, "192.168.1.30", "nas")


async def test_a_device_is_followed_to_an_address_that_the_table_believes_to_be_anothers(
    scene: Scene,
) -> None:
    scene.lan.meet(NAS, "192.168.1.5")
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    async with scene.following(PINNED):
        await moved_where_another_was(scene)
        scene.lan.place(NAS, "192.168.1.30")
        begin = scene.clock.now()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.30",), step=0.5)
        assert scene.clock.now() - begin <= 1.0
        assert scene.problem() is None
        assert scene.lan.table[ipaddress.ip_address("192.168.1.30")].mac == NAS


async def test_a_lease_of_an_address_where_another_answers_moves_nothing(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.5")
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    async with scene.following(PINNED):
        await moved_where_another_was(scene)
        for _ in range(20):
            scene.clock.advance(0.5)
            await scene.settle()
        answer = scene.lan.table[ipaddress.ip_address("192.168.1.30")]
        assert (answer.mac, answer.state) == (TV, NeighbourState.REACHABLE)
        assert (scene.devices.addresses(PINNED), scene.moved) == (("192.168.1.5",), [])
        # It goes on being asked about, so that it is followed there once the other has left.
        scene.lan.place(NAS, "192.168.1.30")
        begin = scene.clock.now()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.30",), step=0.5)
        assert scene.clock.now() - begin <= 2.5


async def test_a_dispute_is_not_kept_waiting_by_probes_under_way(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.5")
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    scene.lan.held[ipaddress.ip_address("192.168.1.5")] = asyncio.Event()  # for ever
    async with scene.following(PINNED):
        await moved_where_another_was(scene)
        scene.lan.place(NAS, "192.168.1.30")
        scene.devices.wake()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.30",))  # no time has passed


async def test_a_dispute_is_not_kept_waiting_by_a_question_to_all(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.5")
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    scene.lan.mute = True
    async with scene.following(PINNED):
        await moved_where_another_was(scene)
        scene.lan.place(NAS, "192.168.1.30")
        scene.lan.meet(TV, "192.168.1.5")  # so that it is nowhere for a moment, and is asked for by name
        scene.devices.wake()
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.30",))  # no time has passed
        assert scene.lan.asked == ["nas"]


async def test_what_a_device_says_of_itself_is_tried_until_the_table_has_forgotten_the_other(
    scene: Scene,
) -> None:
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    scene.lan.place(NAS, "192.168.1.30")
    scene.lan.announced["nas"] = ("192.168.1.30",)
    async with scene.following(PINNED):
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.30",), step=0.5)
        assert scene.lan.asked == ["nas"]


async def test_a_name_is_opened_to_where_its_lease_is_though_the_table_believes_in_another(
    scene: Scene,
) -> None:
    scene.lan.meet(TV, "192.168.1.30", NeighbourState.STALE)
    scene.lan.place(NAS, "192.168.1.30")
    scene.lan.lease(NAS, "192.168.1.30", "nas")
    assert await scene.devices.learn(BY_NAME) == PINNED
    assert scene.devices.addresses(PINNED) == ("192.168.1.30",)


async def test_known_addresses_are_probed_every_one_and_a_half_seconds_and_no_oftener(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: len(scene.lan.probed) == 1)
        for expected in (1, 1, 2, 2):
            scene.clock.advance(0.5)
            scene.devices.wake()
            await scene.settle()
            assert len(scene.lan.probed) == expected


async def test_a_device_that_is_nowhere_is_asked_for_by_its_name_now_and_then(scene: Scene) -> None:
    async with scene.following(PINNED, BY_MAC):
        await scene.until(lambda: scene.lan.asked == ["nas"])
        for _ in range(8):
            scene.clock.advance(1)
            await scene.settle()
        assert scene.lan.asked == ["nas"]
        scene.lan.announced["nas"] = ("192.168.1.50",)
        scene.lan.place(NAS, "192.168.1.50")
        await scene.until(lambda: scene.devices.addresses(PINNED) == ("192.168.1.50",), step=1)
        assert scene.devices.addresses(BY_MAC) == ("192.168.1.50",)


async def test_an_impostor_that_answers_to_the_name_gets_nothing(scene: Scene) -> None:
    scene.lan.announced["nas"] = ("192.168.1.60",)
    scene.lan.place(TV, "192.168.1.60")
    async with scene.following(PINNED):
        await scene.until(lambda: ipaddress.ip_address("192.168.1.60") in scene.lan.probed, step=1)
        await scene.settle()
        assert scene.devices.addresses(PINNED) == ()
        assert scene.problem() == "device-not-found"


async def test_what_is_not_followed_costs_nothing(scene: Scene) -> None:
    scene.lan.meet(NAS, "192.168.1.50")
    async with scene.following(PINNED):
        await scene.until(lambda: scene.lan.probed != [])
        scene.devices.keep([])
        await scene.settle()
        probes = len(scene.lan.probed)
        scene.clock.advance(60)
        await scene.settle()
        assert len(scene.lan.probed) == probes
        assert scene.devices.addresses(PINNED) == ()
