"""What is kept of refusals."""

from __future__ import annotations

import ipaddress
import weakref

import pytest

from sekimori.gate.devices import Leases
from sekimori.gate.refusals import Refusals
from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import Asker, LeaseProtocol, LeaseTerms, Obtain
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.testing.inside import FakeInside
from sekimori.testing.world import World

PHONE = Owner(OwnerKind.DEVICE, "02:00:00:00:00:05")
HERE = ipaddress.ip_address("192.168.1.5")
FULL = Problem("lease-quota", who=PHONE.label, most=64)


def ask(port: int, outside: int | None = None) -> Obtain:
    return Obtain(
        asker=Asker(HERE, "lan0"),
        protocol=IpProtocol.UDP,
        inside=HERE,
        ports=PortRange(port, port),
        lifetime=3600,
        terms=LeaseTerms(protocol=LeaseProtocol.IGD),
        outside=outside,
    )


def test_the_same_again_is_counted_and_comes_first() -> None:
    kept = Refusals()
    for at, port in enumerate((5000, 5001, 5000)):
        kept.note(PHONE, "igd", ask(port), FULL, at)
    kept.note(PHONE, "portmap", ask(5001), Problem("lease-paused", name="x"), 3)
    assert [(each.door, each.ask.wish, each.times, each.at) for each in kept.newest()] == [
        ("portmap", "udp/5001", 1, 3),
        ("igd", "udp/5000", 2, 2),
        ("igd", "udp/5001", 1, 1),
    ]


def test_who_asks_for_every_port_pushes_out_only_its_own() -> None:
    kept, console = Refusals(of_one=3, altogether=5), Owner(OwnerKind.DEVICE, "02:00:00:00:00:06")
    kept.note(console, "igd", ask(3074), FULL, 0)
    for port in range(1024, 3000):
        kept.note(PHONE, "igd", ask(port), FULL, port)
    found = kept.newest()
    assert [each.ask.wish for each in found] == ["udp/2999", "udp/2998", "udp/2997", "udp/3074"]
    for number in range(100):
        kept.note(Owner(OwnerKind.DEVICE, f"02:00:00:00:01:{number:02x}"), "igd", ask(3074), FULL, 5000)
    assert len(kept.newest()) == 5


def test_a_refusal_keeps_the_words_and_nothing_that_was_in_work() -> None:
    class Work:
        pass

    def refuse() -> weakref.ref[Work]:
        work = Work()
        try:
            raise Problem("lease-quota", who=PHONE.label, most=64)
        except Problem as problem:
            kept.note(PHONE, "igd", ask(5000), problem, 0)
        return weakref.ref(work)

    kept = Refusals()
    assert refuse()() is None
    assert kept.newest()[0].problem.title() == FULL.title()


async def test_a_renewal_of_what_does_not_work_any_more_is_no_yes() -> None:
    world = World()
    try:
        leases = Leases(world.gate, FakeInside(world), "igd")
        lease = await leases.obtain(PHONE, ask(5000))
        world.plane.refuses[lease.id] = Problem("no-such-mapping", ref="x", near="")
        world.plane.held.clear()
        for seconds in (1, 2000):  # answered from what stands, and renewed
            world.clock.advance(seconds)
            world.engine.wake([lease.id])
            await world.engine.ensure()
            with pytest.raises(Problem) as refused:
                await leases.obtain(PHONE, ask(5000))
            assert refused.value.code == "not-applied"
        world.plane.refuses.clear()
        world.engine.wake([lease.id])
        await world.engine.ensure()
        assert (await leases.obtain(PHONE, ask(5000))).id == lease.id
    finally:
        world.close()


async def test_what_the_gate_refuses_a_device_is_noted_for_people() -> None:
    world = World()
    try:
        inside = FakeInside(world)
        leases = Leases(world.gate, inside, "igd")
        await leases.obtain(PHONE, ask(5000))
        assert inside.refusals.newest() == ()
        with pytest.raises(Problem):
            await leases.obtain(PHONE, ask(80, outside=8080))
        (found,) = inside.refusals.newest()
        assert (found.device, found.ask.wish, found.at) == (PHONE, "udp/8080:80", world.clock.now())
        assert found.problem.code == "lease-refused"
    finally:
        world.close()
