"""The doors for devices as they run: one task for each that is enabled, started anew when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import structlog

from sekimori.daemon.links import LinkSide
from sekimori.gate.devices import DeviceDoor, Inside
from sekimori.gate.ports import Gate
from sekimori.gate.refusals import Refusal
from sekimori.model.decision import Made
from sekimori.model.door import Door, DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Committed, Event
from sekimori.model.linkfacts import SshFacts
from sekimori.planes.relay.plane import RelayPlane

__all__ = ["Doors", "igd_opener", "open_portmap", "ssh_opener"]

Open = Callable[[Door, Gate, Inside], DeviceDoor]
"""What makes a door of its setting. Called when it is first needed: what it imports is loaded then."""

_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 60.0
"""Seconds until a door that broke is opened again."""

_log = structlog.get_logger("doors")


def igd_opener(packets: Callable[[str], Awaitable[int]]) -> Open:
    """What opens the UPnP door; it tells how many packets came in by a mapping, by its id."""

    def open_igd(setting: Door, gate: Gate, inside: Inside) -> DeviceDoor:
        from sekimori.doors.igd.door import IgdDoor

        return IgdDoor(setting, gate, inside, packets=packets)

    return open_igd


def open_portmap(setting: Door, gate: Gate, inside: Inside) -> DeviceDoor:
    """The door of NAT-PMP and PCP."""
    from sekimori.doors.portmap.door import PortmapDoor

    return PortmapDoor(setting, gate, inside)


def ssh_opener(relay: RelayPlane, far: LinkSide, user: tuple[int, int] | None) -> Open:
    """What opens the SSH door, whose process becomes `user` (UID and GID) where we are root."""

    def open_ssh(setting: Door, gate: Gate, inside: Inside) -> DeviceDoor:
        from sekimori.doors.ssh.door import SshDoor

        return SshDoor(setting, gate, inside, carriers=relay, presence=far.plane, accounts=far, user=user)

    return open_ssh


@runtime_checkable
class _TellsSessions(Protocol):
    """A door that people log in at."""

    def facts(self) -> SshFacts:
        """Its keys, and who is connected."""
        ...


class Doors:
    """Keeps the doors that the ledger has enabled, and no others."""

    def __init__(self, gate: Gate, inside: Inside, opens: Mapping[DoorName, Open]) -> None:
        self._gate = gate
        self._inside = inside
        self._opens = opens
        self._changed = asyncio.Event()
        self._running: dict[DoorName, tuple[Door, asyncio.Task[None]]] = {}
        self._doors: dict[DoorName, DeviceDoor] = {}
        self._broken: dict[DoorName, Problem] = {}
        """Why a door that is enabled does not run."""

    def heed(self, event: Event) -> bool:
        """Take note of what was committed; whether it was about a door."""
        about = isinstance(event, Committed) and any(_is_about_a_door(change) for change in event.changes)
        if about:
            self._changed.set()
        return about

    def reframe(self) -> None:
        """The network changed."""
        for door in self._doors.values():
            door.reframe()

    def problems(self) -> Mapping[DoorName, Mapping[str, Problem]]:
        """Why doors do not answer, by door and interface."""
        found = {name: door.problems() for name, door in self._doors.items()}
        for name, problem in self._broken.items():
            setting = self._running[name][0]
            found[name] = dict.fromkeys(setting.interfaces or setting.listen, problem)
        return found

    def ssh_facts(self) -> SshFacts:
        """The SSH door's keys and sessions; nothing of one that is shut."""
        door = self._doors.get(DoorName.SSH)
        return door.facts() if isinstance(door, _TellsSessions) else SshFacts()

    def refusals(self) -> Sequence[Refusal]:
        """What devices were refused, the newest first."""
        return self._inside.refusals.newest()

    async def run(self) -> None:
        """Keep them until cancelled; then they are shut."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                await self._follow(tasks)
                await self._changed.wait()

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        wanted = self._inside.snapshot().doors
        await self._end([name for name, (door, _) in self._running.items() if wanted.get(name) != door])
        for name, setting in wanted.items():
            if name in self._opens and name not in self._running:
                task = tasks.create_task(self._keep(name, setting), name=f"door {name}")
                self._running[name] = (setting, task)

    async def _end(self, names: list[DoorName]) -> None:
        tasks = [self._running.pop(name)[1] for name in names]
        for name in names:
            self._broken.pop(name, None)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _keep(self, name: DoorName, setting: Door) -> None:
        """Run a door; one that breaks is logged and opened again, and takes nothing else with it."""
        wait = _FIRST_WAIT
        while True:
            try:
                door = self._doors[name] = self._opens[name](setting, self._gate, self._inside)
                self._broken.pop(name, None)
                places = setting.interfaces or setting.listen
                _log.info("door_opened", door=str(name), at=",".join(places))
                await door.run()
            except Exception as error:
                self._broken[name] = Problem("unexpected", what=f"{type(error).__name__}: {error}")
                _log.exception("door_broke", door=str(name), again_in=wait)
            finally:
                self._doors.pop(name, None)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)


def _is_about_a_door(change: Made) -> bool:
    return isinstance(change.subject, Door)
