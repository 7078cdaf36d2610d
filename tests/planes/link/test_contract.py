"""The link plane keeps the contract of planes, for mappings at a link's far end: with the far end of tests,
and with the real process and OpenSSH's server.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sekimori.host.clock import SystemClock
from sekimori.model.address import IpProtocol
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.link import Link, SshPlace
from sekimori.model.mapping import Hop, Owner, OwnerKind
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.planes.link.plane import LinkPlane
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.testing.contract_plane import LOOPBACK, PlaneContract, put, wanted_at
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import Sshd, why_no_sshd

from .farend import Lab, settled


class AtFarEnd:
    """The plane, with every mapping of the suite at the far end of a link."""

    def __init__(self, plane: LinkPlane, link: str) -> None:
        self._plane = plane
        self._link = link
        self.name = plane.name

    def unable(self, mapping: PortMapping) -> Text | None:
        return self._plane.unable(self._at(mapping))

    async def preflight(self, mapping: PortMapping, leaving: Sequence[PortMapping]) -> Problem | None:
        return await self._plane.preflight(self._at(mapping), [self._at(each) for each in leaving])

    async def lay(self, ground: Ground) -> Problem | None:
        return await self._plane.lay(ground)

    def fingerprint(self, wanted: Wanted) -> str:
        return self._plane.fingerprint(self._wanted(wanted))

    async def observe(self) -> Mapping[str, str]:
        return await self._plane.observe()

    async def apply(self, changes: Changes) -> Mapping[str, Problem]:
        return await self._plane.apply(replace(changes, put=tuple(map(self._wanted, changes.put))))

    def _at(self, mapping: PortMapping) -> PortMapping:
        return replace(mapping, at=self._link, path=(Hop("link", self._link), Hop("relay")))

    def _wanted(self, wanted: Wanted) -> Wanted:
        return replace(wanted, mapping=self._at(wanted.mapping))


class ScriptedStand:
    """What is busy, somebody else at the far end has."""

    ends = LOOPBACK
    lacks: frozenset[str] = frozenset()

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.plane = AtFarEnd(lab.plane, "vps")
        self._ports = count(20000)

    def free_ports(self, number: int) -> list[int]:
        return [next(self._ports) for _ in range(number)]

    async def occupy(self, port: int) -> None:
        self.lab.busy.add(port)

    async def vacate(self, port: int) -> None:
        self.lab.busy.discard(port)


class LinkContract(PlaneContract):
    """The suite, where it is about what a link does."""

    @pytest.mark.parametrize("given", ["protocols", "on"])
    async def test_other_terms_are_another_fingerprint(self, stand: Any, given: str) -> None:
        """Those of a far end. The rest is the relay's matter, and changes nothing."""
        every: dict[str, dict[str, Any]] = {
            "protocols": {"protocols": (IpProtocol.TCP, IpProtocol.UDP)},
            "on": {"on": stand.ends.on[1]},
        }
        (port,) = stand.free_ports(1)
        plain, same = wanted_at(stand, 1, port), wanted_at(stand, 1, port)
        other = wanted_at(stand, 1, port, **every[given])
        assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(same)
        assert stand.plane.fingerprint(plain) != stand.plane.fingerprint(other)
        await put(stand.plane, plain)
        await put(stand.plane, other)
        assert len(await stand.plane.observe()) == 1
        matters: list[dict[str, Any]] = [{"targets": stand.ends.targets[1:]}, {"sources": None}, {"idle": 60}]
        for matter in matters:
            elsewhere = wanted_at(stand, 1, port, **matter)
            assert stand.plane.fingerprint(plain) == stand.plane.fingerprint(elsewhere)

    async def test_a_busy_port_is_found_ahead(self, stand: Any) -> None:
        """It is not: a far end tells only when it is asked to listen."""
        (port,) = stand.free_ports(1)
        await stand.occupy(port)
        wanted = wanted_at(stand, 1, port)
        assert await stand.plane.preflight(wanted.mapping, ()) is None
        assert set(await stand.plane.apply(Changes(put=(wanted,)))) == {"01"}


class TestLinkPlane(LinkContract):
    @pytest.fixture
    async def stand(self) -> AsyncIterator[ScriptedStand]:
        lab = Lab("vps")
        async with lab.running():
            await settled(lambda: lab.phase() == "up")
            yield ScriptedStand(lab)


class OwnEnds:
    """Takes carriers, and talks to none: nobody comes to the suite's ports."""

    def __init__(self) -> None:
        self._ours: dict[str, socket.socket] = {}

    async def attach(self, name: str, take: Callable[[int, socket.socket], None]) -> None:
        await self.detach(name)
        self._ours[name], theirs = socket.socketpair()
        take(0, theirs)

    async def detach(self, name: str) -> None:
        if name in self._ours:
            self._ours.pop(name).close()

    def home_of(self, mapping_id: str) -> int:
        return 0


class SshStand:
    """What is busy, another process of the far machine has; that is this one."""

    ends = LOOPBACK
    lacks: frozenset[str] = frozenset()

    def __init__(self, plane: LinkPlane) -> None:
        self.plane = AtFarEnd(plane, "vps")
        self._listening: dict[int, socket.socket] = {}

    def free_ports(self, number: int) -> list[int]:
        return [free_ports() for _ in range(number)]

    async def occupy(self, port: int) -> None:
        self._listening[port] = socket.create_server((str(self.ends.on[0]), port))

    async def vacate(self, port: int) -> None:
        self._listening.pop(port).close()

    def close(self) -> None:
        for each in self._listening.values():
            each.close()


@pytest.mark.loopback
@pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd()))
class TestWithOpenSsh(LinkContract):
    @pytest.fixture
    async def stand(self, tmp_path: Path) -> AsyncIterator[SshStand]:
        with Sshd(tmp_path / "far") as sshd:
            link = Link(
                name="vps",
                owner=Owner(OwnerKind.PERSON, "alice"),
                place=SshPlace.parse(sshd.url),
                identity=(str(sshd.key),),
                config="none",
                host_keys=(sshd.host_key_line,),
            )
            plane = LinkPlane(lambda: {"vps": link}, OwnEnds(), SystemClock())
            made = SshStand(plane)
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(plane.run())
                try:
                    async with asyncio.timeout(20):
                        while "vps" not in plane.told() or plane.told()["vps"].phase != "up":  # noqa: ASYNC110
                            await asyncio.sleep(0.02)
                    yield made
                finally:
                    made.close()
                    task.cancel()

    async def test_what_was_put_is_there(self, stand: Any) -> None:
        """TCP only: such a server carries no datagrams, and says so."""
        one, two = stand.free_ports(2)
        wanted = wanted_at(stand, 1, one)
        await put(stand.plane, wanted)
        assert await stand.plane.observe() == {"01": stand.plane.fingerprint(wanted)}
        datagrams = wanted_at(stand, 2, two, protocols=(IpProtocol.UDP,))
        failed = await stand.plane.apply(Changes(put=(datagrams,)))
        assert failed["02"].code == "link-no-udp"

    @pytest.mark.parametrize("given", ["on"])
    async def test_other_terms_are_another_fingerprint(self, stand: Any, given: str) -> None:
        """An address of its own."""
        await super().test_other_terms_are_another_fingerprint(stand, given)
