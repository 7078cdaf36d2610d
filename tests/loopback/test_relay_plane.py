"""The relay plane keeps the contract of planes, with real workers and real sockets."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.target import Target
from sekimori.planes.relay.plane import RelayPlane
from sekimori.reconcile.ports import Changes
from sekimori.testing.contract_plane import LOOPBACK, PlaneContract, wanted_for
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback


class RelayStand:
    """Two workers of our own on loopback."""

    ends = LOOPBACK
    lacks: frozenset[str] = frozenset()

    def __init__(self, plane: RelayPlane) -> None:
        self.plane = plane
        self._occupied: dict[int, socket.socket] = {}

    def free_ports(self, count: int) -> list[int]:
        """Ports that are this test's alone."""
        return [free_ports() for _ in range(count)]

    async def occupy(self, port: int) -> None:
        """A listener of another program, as far as the plane can tell."""
        self._occupied[port] = socket.create_server(("127.0.0.1", port))

    async def vacate(self, port: int) -> None:
        """Close it."""
        self._occupied.pop(port).close()

    def close(self) -> None:
        """Close them all."""
        for sock in self._occupied.values():
            sock.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sk") as name:  # short: it holds unix sockets
        yield Path(name)


@pytest.fixture
async def stand(directory: Path) -> AsyncIterator[RelayStand]:
    plane = RelayPlane(directory, 2, None)
    await plane.start(0.0)
    stand = RelayStand(plane)
    yield stand
    stand.close()
    await plane.stop(leave=False)


class TestRelayPlane(PlaneContract):
    """The suite, with `stand` from this module."""


async def test_a_second_plane_adopts_what_the_first_left(directory: Path) -> None:
    first = RelayPlane(directory, 2, None)
    await first.start(0.0)
    stand = RelayStand(first)
    [port] = stand.free_ports(1)
    wanted = wanted_for(1, port, first)
    assert await first.apply(Changes(put=(wanted,))) == {}
    pids = first.worker_pids
    await first.stop(leave=True)

    second = RelayPlane(directory, 2, None)
    await second.start(0.0)
    try:
        assert second.worker_pids == pids
        assert list(await second.observe()) == ["01"]
        assert await second.apply(Changes(put=(wanted,))) == {}
        assert await second.observe() == {"01": second.fingerprint(wanted)}
    finally:
        await second.stop(leave=False)


async def test_a_worker_that_dies_is_told_and_replaced(stand: RelayStand) -> None:
    plane = stand.plane
    told: list[bool] = []
    plane.on_change = lambda: told.append(True)
    [port] = stand.free_ports(1)
    wanted = wanted_for(1, port, plane)
    assert await plane.apply(Changes(put=(wanted,))) == {}
    before = plane.worker_pids
    os.kill(before[0], signal.SIGKILL)
    while not told:  # the test's own time limit is the deadline
        await plane.counters()
    assert (await plane.observe())["01"] != plane.fingerprint(wanted)
    assert await plane.apply(Changes(put=(wanted,))) == {}
    assert (await plane.observe())["01"] == plane.fingerprint(wanted)
    assert len(set(plane.worker_pids) - set(before)) == 1


def _runs(pid: int) -> bool:
    """Whether a process is there and not a zombie that nobody has reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_fewer_workers_than_before_end_the_others(directory: Path) -> None:
    three = RelayPlane(directory, 3, None)
    await three.start(0.0)
    pids = three.worker_pids
    await three.stop(leave=True)
    two = RelayPlane(directory, 2, None)
    await two.start(0.0)
    try:
        assert two.worker_pids == pids[:2]
        while _runs(pids[2]):  # the test's own time limit is the deadline
            await two.counters()
    finally:
        await two.stop(leave=False)


async def test_a_target_that_is_this_machine_on_the_same_port_is_refused(stand: RelayStand) -> None:
    [port] = stand.free_ports(1)
    loop = replace(
        wanted_for(1, port, stand.plane).mapping,
        ports=(PortPair(IpProtocol.TCP, PortRange(port, port), PortRange(port, port)),),
        on=None,
        target=Target.parse_host("127.0.0.2"),  # stands for any address of this machine
    )
    problem = await stand.plane.preflight(loop, ())
    assert problem is not None
    assert problem.code == "leads-to-itself"
    elsewhere = replace(loop, on=ipaddress.ip_address("127.0.0.1"))
    assert await stand.plane.preflight(elsewhere, ()) is None
