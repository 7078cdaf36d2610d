"""What every plane promises the engine, as tests: one suite for the fake and for the real ones.

Subclass `PlaneContract` in a test module, and give it a fixture `stand`:

    class TestMemoryPlane(PlaneContract):
        @pytest.fixture
        def stand(self) -> MemoryStand: ...
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final, Protocol

import pytest

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.gateway import Ban
from sekimori.model.lifetime import Lifetime
from sekimori.model.limits import Limits, Rate
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.source import Sources
from sekimori.model.target import Target
from sekimori.reconcile.ports import Changes, Ground, Plane, Wanted

__all__ = ["LOOPBACK", "Ends", "PlaneContract", "PlaneStand"]

GRACE = 10.0


@dataclass(frozen=True)
class Ends:
    """Where the suite's mappings are, and where they lead: places that the plane under test can serve.

    Attributes:
        on: two addresses outside.
        targets: two addresses inside, neither of them a mapping's own.
        source: who may come in.
    """

    on: tuple[IPv4Address, IPv4Address]
    targets: tuple[str, str]
    source: IPv4Network


LOOPBACK: Final = Ends(
    (IPv4Address("127.0.0.1"), IPv4Address("127.0.0.2")),
    ("127.0.0.1", "127.0.0.2"),
    IPv4Network("127.0.0.0/8"),
)
"""The ends of a plane that does not mind: it relays, or only remembers."""


class PlaneStand(Protocol):
    """A plane under test and the machine it stands on."""

    @property
    def plane(self) -> Plane:
        """The plane, empty at the start of a test."""
        ...

    @property
    def ends(self) -> Ends:
        """Where its mappings are and lead."""
        ...

    @property
    def lacks(self) -> frozenset[str]:
        """Terms that the plane has to say it is unable for, as fields of a mapping."""
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
    ends: Ends = given.pop("ends", LOOPBACK)
    span = PortRange(port, port)
    mapping = Mapping(
        id=f"0{number}",
        name=f"contract-{number}",
        owner=Owner(OwnerKind.PERSON, "contract"),
        ports=tuple(PortPair(protocol, span, PortRange(9, 9)) for protocol in protocols),
        target=Target.parse_host(ends.targets[0]),
        sources=Sources.parse(str(ends.source)),
        lifetime=Lifetime.permanent("contract"),
        on=ends.on[0],
        path=(Hop(plane.name),),
        revision=number,
    )
    of_wanted = {
        key: given.pop(key) for key in ("accept_until", "targets", "sources", "grace") if key in given
    }
    mapping = replace(mapping, **given)
    wanted = Wanted(mapping, None, ends.targets[:1], (ends.source,), GRACE)
    return replace(wanted, **of_wanted)


def wanted_at(stand: PlaneStand, number: int, port: int, **given: Any) -> Wanted:
    """The same between the ends of a stand."""
    return wanted_for(number, port, stand.plane, ends=stand.ends, **given)


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
            wanted_at(stand, 1, one),
            wanted_at(stand, 2, two, protocols=(IpProtocol.UDP,)),
            wanted_at(stand, 3, three, protocols=both),
        )
        await put(stand.plane, *wanted)
        expected = {each.mapping.id: stand.plane.fingerprint(each) for each in wanted}
        assert await stand.plane.observe() == expected
        assert await stand.plane.observe() == expected

    async def test_ground_is_laid_again_and_again_under_what_is_there(self, stand: PlaneStand) -> None:
        """Bans come, change and go, and no mapping looks different for it."""
        plane = stand.plane
        [port] = stand.free_ports(1)
        owner = Owner(OwnerKind.PERSON, "contract")
        bans = [Ban(prefix=ipaddress.ip_network(text), owner=owner) for text in ("192.0.2.0/24", "::2/128")]
        assert await plane.lay(Ground(bans=(bans[0],))) is None
        wanted = wanted_at(stand, 1, port)
        assert await plane.apply(Changes(put=(wanted,))) == {}
        before = dict(await plane.observe())
        for ground in (Ground(bans=(bans[0],)), Ground(bans=tuple(bans)), Ground(bans=(bans[1],)), Ground()):
            assert await plane.lay(ground) is None
            assert await plane.lay(ground) is None
            assert dict(await plane.observe()) == before

    async def test_putting_again_is_nothing_new(self, stand: PlaneStand) -> None:
        """The same terms twice are no failure, and leave the same."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_at(stand, 1, port))
        before = dict(await stand.plane.observe())
        await put(stand.plane, wanted_at(stand, 1, port))
        assert await stand.plane.observe() == before

    @pytest.mark.parametrize(
        "given",
        [
            lambda ends: {"accept_until": 2_000_000_000.0},
            lambda ends: {"targets": ends.targets[1:]},
            lambda ends: {"targets": ends.targets},
            lambda ends: {"sources": None},
            lambda ends: {"sources": ()},
            lambda ends: {"sources": (IPv4Network((ends.source.network_address, 32)),)},
            lambda ends: {"limits": Limits(per_source=Rate(5, 60))},
            lambda ends: {"limits": Limits(total=Rate(5, 60))},
            lambda ends: {"limits": Limits(connections=5)},
            lambda ends: {"proxy_protocol": 2},
            lambda ends: {"idle": 60},
            lambda ends: {"protocols": (IpProtocol.TCP, IpProtocol.UDP)},
            lambda ends: {"on": ends.on[1]},
        ],
        ids=lambda given: "-".join(given(LOOPBACK)),
    )
    async def test_other_terms_are_another_fingerprint(
        self, stand: PlaneStand, given: Callable[[Ends], dict[str, Any]]
    ) -> None:
        """Equal terms have equal ones, and an update to others takes effect."""
        (port,) = stand.free_ports(1)
        terms = given(stand.ends)
        plain, same = wanted_at(stand, 1, port), wanted_at(stand, 1, port)
        other = wanted_at(stand, 1, port, **terms)
        assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(same)
        assert stand.plane.fingerprint(plain) != stand.plane.fingerprint(other)
        assert (stand.plane.unable(other.mapping) is None) == stand.lacks.isdisjoint(terms)
        await put(stand.plane, plain)
        if stand.lacks.isdisjoint(terms):
            await put(stand.plane, other)
            assert len(await stand.plane.observe()) == 1

    async def test_a_mapping_moves_to_another_port(self, stand: PlaneStand) -> None:
        """And leaves the old one to others."""
        old, new = stand.free_ports(2)
        await put(stand.plane, wanted_at(stand, 1, old))
        await put(stand.plane, wanted_at(stand, 1, new))
        await put(stand.plane, wanted_at(stand, 2, old))

    async def test_what_was_removed_is_gone(self, stand: PlaneStand) -> None:
        """With grace or without, alone; and to remove it again, or the unknown, is no failure."""
        one, two, three = stand.free_ports(3)
        for number, port in enumerate((one, two, three), start=1):
            await put(stand.plane, wanted_at(stand, number, port))
        assert await stand.plane.apply(Changes(remove={"01": 0.0, "02": GRACE})) == {}
        assert set(await stand.plane.observe()) == {"03"}
        assert await stand.plane.apply(Changes(remove={"01": 0.0, "02": 0.0, "unknown": GRACE})) == {}
        assert set(await stand.plane.observe()) == {"03"}

    async def test_what_was_removed_can_be_put_again(self, stand: PlaneStand) -> None:
        """At once, under the same id, though its flows may still live out their grace."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_at(stand, 1, port))
        assert await stand.plane.apply(Changes(remove={"01": GRACE})) == {}
        await put(stand.plane, wanted_at(stand, 1, port))

    async def test_a_port_passes_on_within_one_apply(self, stand: PlaneStand) -> None:
        """From one that goes to one that comes."""
        (port,) = stand.free_ports(1)
        await put(stand.plane, wanted_at(stand, 1, port))
        heir = wanted_at(stand, 2, port)
        assert await stand.plane.apply(Changes(put=(heir,), remove={"01": GRACE})) == {}
        assert await stand.plane.observe() == {"02": stand.plane.fingerprint(heir)}

    async def test_two_swap_their_ports_within_one_apply(self, stand: PlaneStand) -> None:
        """Neither waits for the other."""
        one, two = stand.free_ports(2)
        await put(stand.plane, wanted_at(stand, 1, one), wanted_at(stand, 2, two))
        await put(stand.plane, wanted_at(stand, 1, two), wanted_at(stand, 2, one))

    async def test_a_free_port_has_no_obstacle(self, stand: PlaneStand) -> None:
        """To look ahead changes nothing."""
        (port,) = stand.free_ports(1)
        wanted = wanted_at(stand, 1, port)
        assert stand.plane.unable(wanted.mapping) is None
        assert await stand.plane.preflight(wanted.mapping, ()) is None
        assert await stand.plane.observe() == {}

    async def test_a_busy_port_is_found_ahead(self, stand: PlaneStand) -> None:
        """With who holds it; and no longer once it was let go."""
        (port,) = stand.free_ports(1)
        mapping = wanted_at(stand, 1, port).mapping
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
        wanted = wanted_at(stand, 1, port)
        await put(stand.plane, wanted)
        changed = replace(wanted.mapping, idle=60)
        assert await stand.plane.preflight(changed, (wanted.mapping,)) is None
        heir = wanted_at(stand, 2, port).mapping
        assert await stand.plane.preflight(heir, (wanted.mapping,)) is None

    async def test_one_failure_is_its_own(self, stand: PlaneStand) -> None:
        """What cannot be made real is told by its id; the rest takes effect, and it can be tried again."""
        busy, free, leaving = stand.free_ports(3)
        await put(stand.plane, wanted_at(stand, 3, leaving))
        await stand.occupy(busy)
        stuck, fine = wanted_at(stand, 1, busy), wanted_at(stand, 2, free)
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
        await put(stand.plane, wanted_at(stand, 1, free))
        await stand.occupy(busy)
        moved = wanted_at(stand, 1, busy)
        assert set(await stand.plane.apply(Changes(put=(moved,)))) == {"01"}
        assert (await stand.plane.observe()).get("01") != stand.plane.fingerprint(moved)
        await stand.vacate(busy)
        await put(stand.plane, moved)

    async def test_calls_may_come_at_once(self, stand: PlaneStand) -> None:
        """Looks and changes side by side end as one after the other would."""
        ports = stand.free_ports(4)
        wanted = [wanted_at(stand, number, port) for number, port in enumerate(ports, start=1)]
        calls: list[Any] = [stand.plane.apply(Changes(put=(each,))) for each in wanted]
        results = await asyncio.gather(*calls, stand.plane.observe(), stand.plane.observe())
        assert results[:4] == [{}] * 4
        assert set(await stand.plane.observe()) == {each.mapping.id for each in wanted}
