"""What every plane promises the engine, as tests: one suite for the fake and for the real ones.

Subclass `PlaneContract` in a test module, and give it a fixture `stand`:

    class TestMemoryPlane(PlaneContract):
        @pytest.fixture
        def stand(self) -> MemoryStand: ...
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import replace
from typing import Any, Protocol

import pytest

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.reconcile.ports import Changes, Plane, Wanted

__all__ = ["PlaneContract", "PlaneStand"]

GRACE = 10.0


class PlaneStand(Protocol):
    """A plane under test and the machine it stands on."""

    @property
    def plane(self) -> Plane:
        """The plane, empty at the start of a test."""
        ...

    def free_ports(self, count: int) -> list[int]:
        """So many ports that nothing holds, for TCP and UDP."""
        ...

    async def occupy(self, port: int) -> None:
        """Have something else on the machine listen on a TCP port."""
        ...

    async def vacate(self, port: int) -> None:
        """Have it let go of the port."""
        ...


def wanted_for(number: int, port: int, plane: Plane, **given: Any) -> Wanted:
    """The nth mapping on a port of that plane, with fields of the mapping or of Wanted put over it."""
    protocols = given.pop("protocols", (IpProtocol.TCP,))
    span = PortRange(port, port)
    mapping = Mapping(
        id=f"0{number}",
        name=f"contract-{number}",
        owner=Owner(OwnerKind.PERSON, "contract"),
        ports=tuple(PortPair(protocol, span, PortRange(9, 9)) for protocol in protocols),
        target=Target.parse_host("127.0.0.1"),
        sources=Sources.parse("127.0.0.0/8"),
        lifetime=Lifetime.permanent("contract"),
        on=ipaddress.ip_address("127.0.0.1"),
        path=(Hop(plane.name),),
        revision=number,
    )
    of_wanted = {
        key: given.pop(key) for key in ("accept_until", "targets", "sources", "grace") if key in given
    }
    mapping = replace(mapping, **given)
    wanted = Wanted(mapping, None, ("127.0.0.1",), (ipaddress.ip_network("127.0.0.0/8"),), GRACE)
    return replace(wanted, **of_wanted)


async def put(plane: Plane, *wanted: Wanted) -> None:
    """Put, and see it there."""
    assert await plane.apply(Changes(put=wanted)) == {}
    actual = await plane.observe()
    for each in wanted:
        assert actual[each.mapping.id] == plane.fingerprint(each)


class PlaneContract:
    """The suite. Every test begins with an empty plane."""

    async def test_nothing_is_there_at_first(self, stand: PlaneStand) -> None:
        """And no change changes nothing."""
        assert await stand.plane.observe() == {}
        assert await stand.plane.apply(Changes()) == {}
        assert await stand.plane.observe() == {}

    async def test_what_was_put_is_there(self, stand: PlaneStand) -> None:
        """Under its fingerprint, TCP and UDP, and to look does not disturb it."""
        one, two, three = stand.free_ports(3)
        both = (IpProtocol.TCP, IpProtocol.UDP)
        wanted = (
            wanted_for(1, one, stand.plane),
            wanted_for(2, two, stand.plane, protocols=(IpProtocol.UDP,)),
            wanted_for(3, three, stand.plane, protocols=both),
        )
        await put(stand.plane, *wanted)
        expected = {each.mapping.id: stand.plane.fingerprint(each) for each in wanted}
        assert await stand.plane.observe() == expected
        assert await stand.plane.observe() == expected

    async def test_putting_again_is_nothing_new(self, stand: PlaneStand) -> None:
        """The same terms twice are no failure, and leave the same."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_for(1, port, stand.plane))
        before = await stand.plane.observe()
        await put(stand.plane, wanted_for(1, port, stand.plane))
        assert await stand.plane.observe() == before

    @pytest.mark.parametrize(
        "given",
        [
            {"accept_until": 2_000_000_000.0},
            {"targets": ("127.0.0.2",)},
            {"targets": ("127.0.0.1", "127.0.0.2")},
            {"sources": None},
            {"sources": ()},
            {"sources": (ipaddress.ip_network("127.0.0.1/32"),)},
            {"limits": Limits(per_source=Rate(5, 60))},
            {"limits": Limits(total=Rate(5, 60))},
            {"limits": Limits(connections=5)},
            {"proxy_protocol": 2},
            {"idle": 60},
            {"protocols": (IpProtocol.TCP, IpProtocol.UDP)},
            {"on": ipaddress.ip_address("127.0.0.2")},
        ],
        ids=lambda given: "-".join(map(str, given)),
    )
    async def test_other_terms_are_another_fingerprint(
        self, stand: PlaneStand, given: dict[str, Any]
    ) -> None:
        """Equal terms have equal ones, and an update to others takes effect."""
        (port,) = stand.free_ports(1)
        plain, same = wanted_for(1, port, stand.plane), wanted_for(1, port, stand.plane)
        other = wanted_for(1, port, stand.plane, **given)
        assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(same)
        assert stand.plane.fingerprint(plain) != stand.plane.fingerprint(other)
        await put(stand.plane, plain)
        await put(stand.plane, other)
        assert len(await stand.plane.observe()) == 1

    async def test_a_mapping_moves_to_another_port(self, stand: PlaneStand) -> None:
        """And leaves the old one to others."""
        old, new = stand.free_ports(2)
        await put(stand.plane, wanted_for(1, old, stand.plane))
        await put(stand.plane, wanted_for(1, new, stand.plane))
        await put(stand.plane, wanted_for(2, old, stand.plane))

    async def test_what_was_removed_is_gone(self, stand: PlaneStand) -> None:
        """With grace or without, alone; and to remove it again, or the unknown, is no failure."""
        one, two, three = stand.free_ports(3)
        for number, port in enumerate((one, two, three), start=1):
            await put(stand.plane, wanted_for(number, port, stand.plane))
        assert await stand.plane.apply(Changes(remove={"01": 0.0, "02": GRACE})) == {}
        assert set(await stand.plane.observe()) == {"03"}
        assert await stand.plane.apply(Changes(remove={"01": 0.0, "02": 0.0, "unknown": GRACE})) == {}
        assert set(await stand.plane.observe()) == {"03"}

    async def test_what_was_removed_can_be_put_again(self, stand: PlaneStand) -> None:
        """At once, under the same id, though its flows may still live out their grace."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_for(1, port, stand.plane))
        assert await stand.plane.apply(Changes(remove={"01": GRACE})) == {}
        await put(stand.plane, wanted_for(1, port, stand.plane))

    async def test_a_port_passes_on_within_one_apply(self, stand: PlaneStand) -> None:
        """From one that goes to one that comes."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_for(1, port, stand.plane))
        heir = wanted_for(2, port, stand.plane)
        assert await stand.plane.apply(Changes(put=(heir,), remove={"01": GRACE})) == {}
        assert await stand.plane.observe() == {"02": stand.plane.fingerprint(heir)}

    async def test_two_swap_their_ports_within_one_apply(self, stand: PlaneStand) -> None:
        """Neither waits for the other."""
        one, two = stand.free_ports(2)
        await put(stand.plane, wanted_for(1, one, stand.plane), wanted_for(2, two, stand.plane))
        await put(stand.plane, wanted_for(1, two, stand.plane), wanted_for(2, one, stand.plane))

    async def test_a_free_port_has_no_obstacle(self, stand: PlaneStand) -> None:
        """To look ahead changes nothing."""
        (port,) = stand.free_ports(1)
        wanted = wanted_for(1, port, stand.plane)
        assert stand.plane.unable(wanted.mapping) is None
        assert await stand.plane.preflight(wanted.mapping, ()) is None
        assert await stand.plane.observe() == {}

    async def test_a_busy_port_is_found_ahead(self, stand: PlaneStand) -> None:
        """With who holds it; and no longer once it was let go."""
        (port,) = stand.free_ports(1)
        mapping = wanted_for(1, port, stand.plane).mapping
        await stand.occupy(port)
        problem = await stand.plane.preflight(mapping, ())
        assert problem is not None
        assert (problem.code, problem.exit_code) == ("port-busy", 5)
        assert str(port) in problem.title()
        await stand.vacate(port)
        assert await stand.plane.preflight(mapping, ()) is None

    async def test_what_the_plane_holds_itself_is_no_obstacle_to_who_takes_its_place(
        self, stand: PlaneStand
    ) -> None:
        """A mapping does not stand in its own way, nor does one that leaves."""
        (port,) = stand.free_ports(1)
        wanted = wanted_for(1, port, stand.plane)
        await put(stand.plane, wanted)
        changed = replace(wanted.mapping, idle=60)
        assert await stand.plane.preflight(changed, (wanted.mapping,)) is None
        heir = wanted_for(2, port, stand.plane).mapping
        assert await stand.plane.preflight(heir, (wanted.mapping,)) is None

    async def test_one_failure_is_its_own(self, stand: PlaneStand) -> None:
        """What cannot be made real is told by its id; the rest takes effect, and it can be tried again."""
        busy, free, leaving = stand.free_ports(3)
        await put(stand.plane, wanted_for(3, leaving, stand.plane))
        await stand.occupy(busy)
        stuck, fine = wanted_for(1, busy, stand.plane), wanted_for(2, free, stand.plane)
        failed = await stand.plane.apply(Changes(put=(stuck, fine), remove={"03": 0.0}))
        assert set(failed) == {"01"}
        assert failed["01"].title()
        actual = await stand.plane.observe()
        assert actual.get("01") != stand.plane.fingerprint(stuck)
        assert actual["02"] == stand.plane.fingerprint(fine)
        assert "03" not in actual
        await stand.vacate(busy)
        await put(stand.plane, stuck)

    async def test_a_failed_update_does_not_look_done(self, stand: PlaneStand) -> None:
        """So that the engine tries again."""
        free, busy = stand.free_ports(2)
        await put(stand.plane, wanted_for(1, free, stand.plane))
        await stand.occupy(busy)
        moved = wanted_for(1, busy, stand.plane)
        assert set(await stand.plane.apply(Changes(put=(moved,)))) == {"01"}
        assert (await stand.plane.observe()).get("01") != stand.plane.fingerprint(moved)
        await stand.vacate(busy)
        await put(stand.plane, moved)

    async def test_calls_may_come_at_once(self, stand: PlaneStand) -> None:
        """Looks and changes side by side end as one after the other would."""
        ports = stand.free_ports(4)
        wanted = [wanted_for(number, port, stand.plane) for number, port in enumerate(ports, start=1)]
        calls: list[Any] = [stand.plane.apply(Changes(put=(each,))) for each in wanted]
        results = await asyncio.gather(*calls, stand.plane.observe(), stand.plane.observe())
        assert results[:4] == [{}] * 4
        assert set(await stand.plane.observe()) == {each.mapping.id for each in wanted}
