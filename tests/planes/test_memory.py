"""The memory plane keeps the contract, and fails when told to."""

from __future__ import annotations

import pytest

from sekimori.model.errors import Problem
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.contract_plane import LOOPBACK, PlaneContract, wanted_for


class MemoryStand:
    """Ports are numbers here, and what holds them is a word."""

    ends = LOOPBACK
    lacks: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.plane = MemoryPlane()

    def free_ports(self, count: int) -> list[int]:
        return list(range(40000, 40000 + count))

    async def occupy(self, port: int) -> None:
        self.plane.busy[port] = "nginx (pid 12)"

    async def vacate(self, port: int) -> None:
        del self.plane.busy[port]


class TestMemoryPlane(PlaneContract):
    @pytest.fixture
    def stand(self) -> MemoryStand:
        return MemoryStand()


async def test_it_tells_what_it_was_asked_and_with_what_grace() -> None:
    plane = MemoryPlane()
    changes = Changes(put=(wanted_for(1, 80, plane), wanted_for(2, 81, plane)))
    await plane.apply(changes)
    await plane.apply(Changes(remove={"01": 0.0}))
    assert plane.applied == [changes, Changes(remove={"01": 0.0})]
    assert plane.graces == {"01": 0.0}
    assert set(plane.held) == {"02"}


async def test_it_refuses_to_put_and_to_remove_what_it_was_told() -> None:
    plane = MemoryPlane()
    await plane.apply(Changes(put=(wanted_for(1, 80, plane),)))
    problem = Problem("unexpected", what="a test")
    plane.refuses = {"01": problem, "02": problem}
    changes = Changes(put=(wanted_for(2, 81, plane), wanted_for(3, 82, plane)), remove={"01": 0.0})
    assert await plane.apply(changes) == {"01": problem, "02": problem}
    assert set(plane.held) == {"01", "03"}


async def test_broken_it_says_so_to_everything() -> None:
    plane = MemoryPlane()
    plane.broken = Problem("unexpected", what="a test")
    with pytest.raises(Problem, match="a test"):
        await plane.observe()
    with pytest.raises(Problem, match="a test"):
        await plane.apply(Changes(put=(wanted_for(1, 80, plane),)))
    assert plane.held == {}


async def test_what_it_tells_is_a_view_that_goes_on_changing() -> None:
    plane = MemoryPlane()
    seen = await plane.observe()
    assert seen == {}
    wanted = wanted_for(1, 80, plane)
    await plane.apply(Changes(put=(wanted,)))
    assert seen == {"01": plane.fingerprint(wanted)}
    before = dict(seen)
    await plane.apply(Changes(put=(wanted,)))
    assert seen == before
