"""Doors run while they are enabled, start anew when they change, and one that breaks is opened again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from sekimori.daemon import doors as module
from sekimori.daemon.doors import Doors
from sekimori.gate.devices import Inside
from sekimori.gate.ports import Gate
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.testing.inside import FakeInside
from sekimori.testing.world import ALICE, World


class _Door:
    """Runs until it is ended, or breaks when told to."""

    def __init__(self, setting: Door) -> None:
        self.setting = setting
        self.running = asyncio.Event()
        self.broken = asyncio.Event()
        self.ended = False
        self.reframed = 0

    async def run(self) -> None:
        self.running.set()
        try:
            await self.broken.wait()
            raise OSError("it broke")
        finally:
            self.ended = True

    def reframe(self) -> None:
        self.reframed += 1

    def problems(self) -> Mapping[str, Problem]:
        return {}


class _Opened(list[_Door]):
    """Every door that was opened, in order."""

    def open(self, setting: Door, gate: Gate, inside: Inside) -> _Door:
        self.append(_Door(setting))
        return self[-1]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with contextlib.closing(made):
        yield made


@pytest.fixture
def opened() -> _Opened:
    return _Opened()


@pytest.fixture
def doors(world: World, opened: _Opened) -> Doors:
    return Doors(world.gate, FakeInside(world), {DoorName.IGD: opened.open, DoorName.PORTMAP: opened.open})


async def enable(world: World, doors: Doors, *interfaces: str, version: int = 1) -> None:
    door = Door(door=DoorName.IGD, owner=ALICE.actor, interfaces=interfaces, version=version)
    outcome = await world.ask(EnableDoor(door))
    assert outcome.committed is not None
    doors.heed(outcome.committed)


@contextlib.asynccontextmanager
async def running(doors: Doors) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(doors.run())
        try:
            yield
        finally:
            task.cancel()


async def test_a_door_runs_while_it_is_enabled(world: World, doors: Doors, opened: _Opened) -> None:
    async with running(doors):
        await enable(world, doors, "lan0")
        await world.until(lambda: len(opened) == 1 and opened[0].running.is_set())
        doors.reframe()
        assert opened[0].reframed == 1
        outcome = await world.ask(DisableDoor(DoorName.IGD))
        assert outcome.committed is not None
        doors.heed(outcome.committed)
        await world.until(lambda: opened[0].ended)
    assert len(opened) == 1


async def test_a_door_that_was_enabled_before_is_opened_at_the_start_and_shut_at_the_end(
    world: World, doors: Doors, opened: _Opened
) -> None:
    await enable(world, doors, "lan0")
    async with running(doors):
        await world.until(lambda: len(opened) == 1 and opened[0].running.is_set())
    assert opened[0].ended


async def test_a_change_opens_it_anew_with_the_new_setting(
    world: World, doors: Doors, opened: _Opened
) -> None:
    await enable(world, doors, "lan0")
    async with running(doors):
        await world.until(lambda: len(opened) == 1)
        await enable(world, doors, "lan0", version=2)
        await world.until(lambda: len(opened) == 2)
        assert opened[0].ended or not opened[0].running.is_set()
        assert opened[1].setting.version == 2


async def test_one_that_breaks_says_so_and_is_opened_again(
    world: World, doors: Doors, opened: _Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.05)
    await enable(world, doors, "lan0", "lan1")
    async with running(doors):
        await world.until(lambda: len(opened) == 1 and opened[0].running.is_set())
        assert doors.problems() == {DoorName.IGD: {}}
        opened[0].broken.set()
        await world.until(lambda: bool(doors.problems().get(DoorName.IGD)))
        told = doors.problems()[DoorName.IGD]
        assert told.keys() == {"lan0", "lan1"}
        assert "it broke" in told["lan0"].title()
        await world.until(lambda: len(opened) == 2 and opened[1].running.is_set())
        assert doors.problems() == {DoorName.IGD: {}}
