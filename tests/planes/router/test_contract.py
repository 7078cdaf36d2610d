"""The router plane keeps the contract of planes, by each of the three protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from sekimori.model.address import IpProtocol
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.planes.router.plane import RouterPlane
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.testing.contract_plane import Ends, PlaneContract, put, wanted_at
from sekimori.testing.fakerouter import Quirks
from sekimori.testing.ports import free_ports

from .rig import Rig, rigged


class BeforeKernel:
    """The plane, with another hop after it in every mapping: the suite's have one only, and all lead to one
    inside port, of which a router has one outside port by PCP and NAT-PMP.
    """

    def __init__(self, plane: RouterPlane) -> None:
        self._plane = plane
        self.name = plane.name

    def unable(self, mapping: PortMapping) -> Text | None:
        return self._plane.unable(_two_hops(mapping))

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        return await self._plane.preflight(_two_hops(mapping), [_two_hops(each) for each in leaving])

    async def lay(self, ground: Ground) -> Problem | None:
        return await self._plane.lay(ground)

    def fingerprint(self, wanted: Wanted) -> str:
        return self._plane.fingerprint(_wanted(wanted))

    async def observe(self) -> Mapping[str, str]:
        return await self._plane.observe()

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        return await self._plane.apply(replace(changes, put=tuple(map(_wanted, changes.put))))


def _two_hops(mapping: PortMapping) -> PortMapping:
    return replace(mapping, path=(*mapping.path, Hop("kernel")))


def _wanted(wanted: Wanted) -> Wanted:
    return replace(wanted, mapping=_two_hops(wanted.mapping))


class RouterStand:
    """What is busy, another host of the router's network has."""

    lacks: frozenset[str] = frozenset()

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.plane = BeforeKernel(rig.plane)
        first, second = rig.wan.addresses4
        self.ends = Ends((first, second), ("192.168.77.10", "192.168.77.11"), IPv4Network("198.51.100.0/24"))

    def free_ports(self, count: int) -> list[int]:
        return [free_ports() for _ in range(count)]

    async def occupy(self, port: int) -> None:
        self.rig.router.occupy(port)

    async def vacate(self, port: int) -> None:
        self.rig.router.vacate(port)


class RouterContract(PlaneContract):
    """The suite, where it is about what a router does."""

    @pytest.mark.parametrize("given", ["accept_until", "protocols", "on"])
    async def test_other_terms_are_another_fingerprint(self, stand: Any, given: str) -> None:
        """Those of a router. Targets, sources and limits are the next hop's matter, and change nothing."""
        every: dict[str, dict[str, Any]] = {
            "accept_until": {"accept_until": stand.rig.clock.now() + 1000},
            "protocols": {"protocols": (IpProtocol.TCP, IpProtocol.UDP)},
            "on": {"on": stand.ends.on[1]},
        }
        terms = every[given]
        (port,) = stand.free_ports(1)
        plain, same = wanted_at(stand, 1, port), wanted_at(stand, 1, port)
        other = wanted_at(stand, 1, port, **terms)
        assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(same)
        assert stand.plane.fingerprint(plain) != stand.plane.fingerprint(other)
        assert stand.plane.unable(other.mapping) is None
        await put(stand.plane, plain)
        await put(stand.plane, other)
        assert len(await stand.plane.observe()) == 1
        matters: list[dict[str, Any]] = [{"targets": stand.ends.targets[1:]}, {"sources": None}, {"idle": 60}]
        for matter in matters:
            elsewhere = wanted_at(stand, 1, port, **matter)
            assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(elsewhere)

    async def test_a_busy_port_is_found_ahead(self, stand: Any) -> None:
        """Where the protocol can tell, with who has it."""
        (port,) = stand.free_ports(1)
        mapping = wanted_at(stand, 1, port).mapping
        await stand.occupy(port)
        problem = await stand.plane.preflight(mapping, ())
        if stand.rig.router.quirks.pcp or stand.rig.router.quirks.natpmp:
            assert problem is None
            return
        assert problem is not None
        assert (problem.code, problem.exit_code) == ("router-port-taken", 10)
        assert f"192.168.1.99:{port} (NAS)" in problem.title()
        await stand.vacate(port)
        assert await stand.plane.preflight(mapping, ()) is None


class TestByPcp(RouterContract):
    @pytest.fixture
    async def stand(self) -> AsyncIterator[RouterStand]:
        async with rigged(Quirks(natpmp=False, upnp=False)) as rig:
            yield RouterStand(rig)


class TestByNatPmp(RouterContract):
    @pytest.fixture
    async def stand(self) -> AsyncIterator[RouterStand]:
        async with rigged(Quirks(pcp=False, upnp=False)) as rig:
            yield RouterStand(rig)


class TestByUpnp(RouterContract):
    @pytest.fixture
    async def stand(self) -> AsyncIterator[RouterStand]:
        async with rigged(Quirks(pcp=False, natpmp=False)) as rig:
            yield RouterStand(rig)
