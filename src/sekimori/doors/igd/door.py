"""The door at which devices ask by UPnP, on every LAN interface that it is enabled on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Final

import structlog

from sekimori.doors.igd.connection import Connection
from sekimori.doors.igd.control import Control
from sekimori.doors.igd.delivery import deliver
from sekimori.doors.igd.desk import Desk
from sekimori.doors.igd.discovery import Sign
from sekimori.doors.igd.entries import Entries
from sekimori.doors.igd.guests import Guests
from sekimori.doors.igd.identity import describe, read_identity, write_identity
from sekimori.doors.igd.line import Line
from sekimori.doors.igd.near import find_lan
from sekimori.doors.igd.pinholes import Packets, Pinholes, UniqueIds
from sekimori.doors.igd.post import Post, listen
from sekimori.doors.igd.state import GatewayState
from sekimori.doors.igd.subscriptions import Subscriptions
from sekimori.gate.devices import Inside, Leases
from sekimori.gate.ports import Gate
from sekimori.host.traffic import read_speed, read_traffic
from sekimori.model.address import IPAddress
from sekimori.model.causes import os_cause
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.policy.doors import why_not_on
from sekimori.wire import ssdp
from sekimori.wire.igdservices import IgdVersion

__all__ = ["IgdDoor"]

_AGAIN: Final = 5.0
"""Seconds until an interface that cannot be answered on is tried again."""
_LOOK: Final = 30.0
"""Seconds between looks at the outside address, where nobody said that the network has changed."""
_BOOT_ID: Final = 0x7FFF_FFFF  # 31 bits
_log = structlog.get_logger("igd")

_Frame = tuple[int, tuple[IPAddress, ...]]


class IgdDoor:
    """Fulfils `sekimori.gate.devices.DeviceDoor`.

    Args:
        setting: the door as it was enabled.
        gate: the gate.
        inside: what is known of this machine and of who asks.
        packets: what counts a mapping's packets; None where nothing does.
        ssdp_port: where searches come to.
        clock: seconds of a clock that only goes on.
    """

    def __init__(
        self,
        setting: Door,
        gate: Gate,
        inside: Inside,
        *,
        packets: Packets | None = None,
        ssdp_port: int = ssdp.PORT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._setting = setting
        self._inside = inside
        self._ssdp_port = ssdp_port
        self._clock = clock
        self._versions: tuple[IgdVersion, ...] = (1,) if setting.version == 1 else (1, 2)
        self._identity = read_identity(inside.directory)
        number = version("sekimori")
        self._gateway = gateway = describe(self._identity, number)
        self._software = f"Linux/{os.uname().release.partition('.')[0]}", f"Sekimori/{number}"
        self._entries = entries = Entries(inside.snapshot)
        self._ids = UniqueIds(inside.snapshot)
        self._state = state = GatewayState(inside, entries, gateway, clock)
        leases = Leases(gate, inside, str(setting.door))
        self._control = Control(
            Connection(leases, inside, entries, state),
            Pinholes(leases, inside, self._ids, state, packets),
            Line(gateway, state, read_traffic, read_speed),
            clock,
        )
        self._guests = Guests()
        self._subscriptions: Subscriptions | None = None
        self._changed = {name: asyncio.Event() for name in setting.interfaces}
        self._problems: dict[str, Problem] = {}

    async def run(self) -> None:
        """Answer until cancelled (`DeviceDoor.run`)."""
        write_identity(self._inside.directory, self._identity)
        async with asyncio.TaskGroup() as tasks:
            subscriptions = Subscriptions(self._state.evented, deliver, tasks, self._clock)
            self._subscriptions = subscriptions
            desk = Desk(self._versions, self._gateway, self._control, subscriptions)
            loaded = asyncio.Event()
            tasks.create_task(self._follow_ledger(loaded))
            await loaded.wait()
            for name in self._setting.interfaces:
                tasks.create_task(self._keep(name, desk))
            while True:
                await asyncio.sleep(_LOOK)
                self._look()

    def reframe(self) -> None:
        """The network changed (`DeviceDoor.reframe`)."""
        for changed in self._changed.values():
            changed.set()
        self._look()

    def problems(self) -> Mapping[str, Problem]:
        """Why it does not answer, by interface (`DeviceDoor.problems`)."""
        return dict(self._problems)

    # -- what is told --------------------------------------------------------------------

    def _look(self) -> None:
        self._state.look()
        if self._subscriptions is not None:
            self._subscriptions.heed()

    async def _follow_ledger(self, loaded: asyncio.Event) -> None:
        while True:
            async with self._inside.subscribe() as events:
                self._entries.load()
                self._ids.load()
                loaded.set()
                self._look()
                try:
                    async for event in events:
                        if isinstance(event, Committed):
                            self._entries.take(event)
                            self._ids.take(event)
                            self._look()
                except Exception as error:  # what it has lost it finds in the ledger
                    _log.warning("events_lost", why=repr(error))
                else:  # there will be none any more: the daemon ends
                    return

    # -- where ---------------------------------------------------------------------------

    async def _keep(self, name: str, desk: Desk) -> None:
        """Answer on an interface whenever that can be."""
        changed = self._changed[name]
        while True:
            changed.clear()
            problem = self._why_not(name)
            if problem is None:
                problem = await self._answer(name, desk)
            self._note(name, problem)
            if problem is None:  # it is another interface, or has other addresses
                continue
            try:
                async with asyncio.timeout(_AGAIN):
                    await changed.wait()
            except TimeoutError:  # time to try again, whether anybody said so or not
                continue

    async def _answer(self, name: str, desk: Desk) -> Problem | None:
        """Answer on an interface until it is not what it was; why, where it cannot be answered on."""
        failed: list[OSError] = []
        try:
            frame = self._frame(name)
            listener = listen(name, self._identity.ports.get(name, 0))
        except OSError as error:
            return self._shut(name, error)
        self._remember(name, listener.getsockname()[1])
        sign = Sign(self._gateway, self._versions, int(self._inside.now()) & _BOOT_ID, self._software)
        post = Post(name, self._inside, self._guests, desk, sign, self._clock, self._ssdp_port)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(post.run(listener))
                self._note(name, None)
                await self._until_other(name, frame)
                running.cancel()
        except* OSError as group:
            failed += _leaves(group)
        return self._shut(name, failed[0]) if failed else None

    async def _until_other(self, name: str, frame: _Frame) -> None:
        changed = self._changed[name]
        while True:
            await changed.wait()
            changed.clear()
            try:
                if self._frame(name) != frame:
                    return
            except OSError:  # it has gone
                return

    def _frame(self, name: str) -> _Frame:
        """What answering on an interface depends on: which one it is, and our addresses there.

        Raises:
            OSError: there is no such interface.
        """
        lan = find_lan(self._inside.network(), name)
        return socket.if_nametoindex(name), () if lan is None else lan.addresses

    def _why_not(self, name: str) -> Problem | None:
        """Why an interface is not to be answered on."""
        network = self._inside.network()
        problem = why_not_on(name, self._setting.door, network)
        lan = find_lan(network, name)
        if problem is not None or lan is None:
            return problem
        if not lan.addresses:  # there is nothing that devices could be told to come to
            return self._shut(name, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)))
        return None

    def _shut(self, name: str, error: OSError) -> Problem:
        return Problem("door-not-open", door=str(self._setting.door), interface=name, why=os_cause(error))

    def _note(self, name: str, problem: Problem | None) -> None:
        before = self._problems.pop(name, None)
        if problem is None:
            return
        self._problems[name] = problem
        if before is None or before.title() != problem.title():
            _log.warning("not_answering", interface=name, why=problem.title())

    def _remember(self, name: str, port: int) -> None:
        if self._identity.ports.get(name) != port:
            self._identity = replace(self._identity, ports={**self._identity.ports, name: port})
            write_identity(self._inside.directory, self._identity)


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    """The errors in a group and the groups in it."""
    found: list[OSError] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
