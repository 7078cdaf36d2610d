"""The door at which devices ask by NAT-PMP and PCP, on UDP 5351 of every LAN interface it is enabled on."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from sekimori.doors.portmap.announcing import announce
from sekimori.doors.portmap.entrance import Entrance
from sekimori.doors.portmap.epoch import Epoch, Instant, has_moved, resume
from sekimori.doors.portmap.link import Link
from sekimori.doors.portmap.natpmp import NatPmpService
from sekimori.doors.portmap.note import read_epoch, read_instant, write_epoch
from sekimori.doors.portmap.pcpserving import PcpService
from sekimori.doors.portmap.turns import Turns
from sekimori.gate.devices import Inside, Leases
from sekimori.gate.ports import Gate
from sekimori.model.causes import os_cause
from sekimori.model.door import Door
from sekimori.model.errors import Problem
from sekimori.policy.doors import why_not_on
from sekimori.wire import pcp

__all__ = ["PortmapDoor"]

_AGAIN: Final = 5.0
"""Seconds until an interface that cannot be listened on is tried again."""
_LOOK: Final = 30.0
"""Seconds between looks at the outside address, where nobody said that the network has changed."""
_WRITE: Final = 600.0
"""Seconds between notes of the epoch. What the wall clock was set by since the last one is an error in the
epoch after the next boot."""
_log = structlog.get_logger("portmap")


class PortmapDoor:
    """Fulfils `sekimori.gate.devices.DeviceDoor`.

    Args:
        setting: the door as it was enabled.
        gate: the gate.
        inside: what is known of this machine and of who asks.
        port: where it listens.
        announce_port: where devices listen for what is told unasked.
        now: the clocks of the machine.
    """

    def __init__(
        self,
        setting: Door,
        gate: Gate,
        inside: Inside,
        *,
        port: int = pcp.PORT,
        announce_port: int = pcp.ANNOUNCE_PORT,
        now: Callable[[], Instant] = read_instant,
    ) -> None:
        self._setting = setting
        self._inside = inside
        self._port = port
        self._announce_port = announce_port
        self._now = now
        self._changed = asyncio.Event()
        self._links: dict[str, Link] = {}
        self._problems: dict[str, Problem] = {}
        self._telling: asyncio.Task[None] | None = None
        leases = Leases(gate, inside, str(setting.door))
        self._natpmp = NatPmpService(leases, inside, self._seconds)
        self._pcp = PcpService(leases, inside, self._seconds)
        self._epoch = Epoch(0.0, Instant("", 0.0, 0.0))

    async def run(self) -> None:
        """Answer until cancelled (`DeviceDoor.run`)."""
        is_new = self._resume()
        try:
            async with asyncio.TaskGroup() as tasks:
                rule = self._setting.nonce
                entrance = Entrance(self._inside, Turns(tasks), self._natpmp, self._pcp, rule)
                self._listen(entrance)
                if is_new:
                    self._announce(tasks)
                await self._follow(entrance, tasks)
        finally:
            self._write()
            for link in self._links.values():
                link.close()
            self._links.clear()

    def reframe(self) -> None:
        """The network changed (`DeviceDoor.reframe`)."""
        self._changed.set()

    def problems(self) -> Mapping[str, Problem]:
        """Why it does not answer, by interface (`DeviceDoor.problems`)."""
        return dict(self._problems)

    async def _follow(self, entrance: Entrance, tasks: asyncio.TaskGroup) -> None:
        written = time.monotonic()
        while True:
            with suppress(TimeoutError):  # then it is time to look, whether anybody said so or not
                async with asyncio.timeout(_AGAIN if self._problems else _LOOK):
                    await self._changed.wait()
            self._changed.clear()
            self._listen(entrance)
            self._follow_outside(tasks)
            if time.monotonic() - written >= _WRITE:
                written = time.monotonic()
                self._write()

    # -- where ---------------------------------------------------------------------------

    def _listen(self, entrance: Entrance) -> None:
        """Listen where it is enabled and can be, and nowhere else."""
        for name in [*self._links]:
            if self._why_not(name) is not None:
                self._links.pop(name).close()
        for name in self._setting.interfaces:
            problem = self._why_not(name)
            if problem is None and name not in self._links:
                problem = self._open(name, entrance)
            self._note(name, problem)

    def _why_not(self, name: str) -> Problem | None:
        """Why an interface is not to be listened on, or what listens there hears nothing any more."""
        problem = why_not_on(name, self._setting.door, self._inside.network())
        if problem is not None:
            return problem
        try:
            index = socket.if_nametoindex(name)
        except OSError:  # it has just gone
            return self._shut(name, errno.ENODEV)
        link = self._links.get(name)
        return self._shut(name, errno.ENODEV) if link is not None and link.index != index else None

    def _open(self, name: str, entrance: Entrance) -> Problem | None:
        def lost(error: OSError) -> None:
            _log.warning("interface_lost", interface=name, why=str(error))
            link = self._links.pop(name, None)
            if link is not None:
                link.close()
            self._changed.set()

        try:
            self._links[name] = Link(name, self._port, entrance.take, entrance.heed, lost)
        except OSError as error:
            return self._shut(name, error.errno or errno.EIO)
        _log.info("listening", interface=name, port=self._port)
        return None

    def _shut(self, name: str, number: int) -> Problem:
        why = os_cause(OSError(number, os.strerror(number)))
        return Problem("door-not-open", door=str(self._setting.door), interface=name, why=why)

    def _note(self, name: str, problem: Problem | None) -> None:
        before = self._problems.pop(name, None)
        if problem is None:
            return
        self._problems[name] = problem
        if before is None or before.title() != problem.title():
            _log.warning("not_listening", interface=name, why=problem.title())

    # -- the epoch -----------------------------------------------------------------------

    def _seconds(self) -> int:
        return self._epoch.seconds(self._now().up)

    def _resume(self) -> bool:
        """Go on counting where that is right; whether a new count was begun."""
        saved = read_epoch(self._inside.directory)
        self._epoch, is_new = resume(saved, self._moment(), self._outside())
        self._write()
        return is_new

    def _follow_outside(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a new epoch when the outside address is another one (RFC 6887 §8.5), and tell of it."""
        before, outside = self._epoch.outside, self._outside()
        if has_moved(before, outside):
            self._epoch, _ = resume(None, self._moment(), outside)
        else:
            four, six = outside[0] or before[0], outside[1] or before[1]
            if (four, six) == before:
                return
            self._epoch = replace(self._epoch, outside=(four, six))
        _log.info("outside_address", address4=outside[0], address6=outside[1])
        self._write()
        self._announce(tasks)

    def _outside(self) -> tuple[str, str]:
        four, six = self._inside.outside_address(4), self._inside.outside_address(6)
        return str(four or ""), str(six or "")

    def _moment(self) -> Instant:
        return replace(self._now(), revision=self._inside.revision())

    def _write(self) -> None:
        write_epoch(self._inside.directory, self._epoch.at(self._moment()))

    def _announce(self, tasks: asyncio.TaskGroup) -> None:
        """Tell what is so now, instead of what was to be told until now."""
        if self._telling is not None:
            self._telling.cancel()
        self._telling = tasks.create_task(announce(self._tell))

    def _tell(self) -> None:
        """PCP's announcement in both families, and NAT-PMP's where there is an address to tell."""
        news = self._pcp.announce()
        for link in self._links.values():
            for version in (4, 6):
                link.announce(news, version, self._announce_port)
            if self._inside.outside_address(4) is not None:
                link.announce(self._natpmp.address(), 4, self._announce_port)
