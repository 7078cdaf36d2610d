"""The relay plane and carriers: introductions, newcomers' homes, unix sockets' files."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekimori.host.carrier import Carriage, Dial, DialFailed, Dialled
from sekimori.model.address import WHOLE, IpProtocol, PortPair, PortRange, UnixPath
from sekimori.model.mapping import Hop
from sekimori.model.target import Target
from sekimori.planes.relay.plane import RelayPlane
from sekimori.reconcile.ports import Changes, Wanted
from sekimori.testing.contract_plane import wanted_for
from sekimori.testing.ports import free_ports
from tests.loopback.relay_rig import Peer, dial, eventually, turned_away
from tests.loopback.relay_rig import Target as Listening

pytestmark = pytest.mark.loopback

FAR = (Hop("relay"), Hop("link", "vps"))


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sk") as name:  # short: it holds unix sockets
        yield Path(name)


@pytest.fixture
async def plane(directory: Path) -> AsyncIterator[RelayPlane]:
    made = RelayPlane(directory, 2, None)
    await made.start(0.0)
    yield made
    await made.stop(leave=False)


class Echoing:
    """A real carrier whose far side says everything back."""

    def __init__(self) -> None:
        self.dials: list[Dial] = []
        self.carriage = Carriage(self._serve)

    async def _serve(self, dial: Dial) -> Dialled:
        self.dials.append(dial)
        if dial.host == "closed.example":
            raise DialFailed("refused")
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        self.carriage._tasks.create_task(_echo(reader, writer))
        return Dialled(theirs, on_aborted=lambda: None)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def echoing() -> AsyncIterator[Echoing]:
    one = Echoing()
    async with one.carriage:
        yield one


def through(number: int, port: int, plane: RelayPlane, host: str = "db.example", **given: Any) -> Wanted:
    target = Target.parse_host(host)
    return wanted_for(number, port, plane, target=target, targets=(host,), path=FAR, sources=None, **given)


async def says_back(port: int, data: bytes) -> bool:
    client = await dial(port)
    try:
        await client.send(data)
        return await client.exactly(len(data)) == data
    finally:
        client.close()


async def test_every_worker_dials_through_a_carrier(plane: RelayPlane, echoing: Echoing) -> None:
    await plane.attach("vps", echoing.carriage.add_worker)
    assert echoing.carriage.workers == (0, 1)
    port = free_ports()
    assert await plane.apply(Changes(put=(through(1, port, plane),))) == {}

    async def both() -> bool:
        assert await says_back(port, b"hello")
        return {dial.worker for dial in echoing.dials} == {0, 1}

    await eventually(both)
    assert {(dial.id, dial.host, dial.port) for dial in echoing.dials} == {("01", "db.example", 9)}


async def test_a_carrier_that_comes_later_or_again_is_introduced(plane: RelayPlane) -> None:
    port = free_ports()
    assert await plane.apply(Changes(put=(through(1, port, plane),))) == {}
    assert await turned_away(port)
    assert (await plane.counters())["01"].failed == {"down": 1}
    for _ in range(2):
        one = Echoing()
        async with one.carriage:
            await plane.attach("vps", one.carriage.add_worker)
            assert await says_back(port, b"hello")
    await plane.detach("vps")
    await plane.detach("vps")
    assert await turned_away(port)


async def test_a_worker_that_is_replaced_is_introduced_too(plane: RelayPlane, echoing: Echoing) -> None:
    await plane.attach("vps", echoing.carriage.add_worker)
    port = free_ports()
    wanted = through(1, port, plane)
    assert await plane.apply(Changes(put=(wanted,))) == {}
    for pid in plane.worker_pids:
        os.kill(pid, signal.SIGKILL)

    async def lost() -> bool:
        await plane.counters()
        return not plane.worker_pids

    await eventually(lost)
    await plane.observe()
    assert await plane.apply(Changes(put=(wanted,))) == {}
    assert await eventually(lambda: echoing.carriage.workers == (0, 1))
    for _ in range(8):
        assert await says_back(port, b"hello")


async def test_a_channel_that_broke_is_made_anew(plane: RelayPlane) -> None:
    made: list[tuple[int, socket.socket]] = []
    await plane.attach("vps", lambda index, sock: made.append((index, sock)))
    assert [index for index, _ in made] == [0, 1]
    await plane.observe()
    assert len(made) == 2
    made[1][1].send(b"\xff" * 8)  # no frame
    assert await asyncio.to_thread(made[1][1].recv, 1) == b""
    await plane.observe()
    assert [index for index, _ in made] == [0, 1, 1]
    for _, sock in made:
        sock.close()


async def test_the_next_daemon_introduces_its_own(directory: Path, echoing: Echoing) -> None:
    first = RelayPlane(directory, 1, None)
    await first.start(0.0)
    await first.attach("vps", echoing.carriage.add_worker)
    port = free_ports()
    wanted = through(1, port, first)
    assert await first.apply(Changes(put=(wanted,))) == {}
    client = await dial(port)
    await client.send(b"x")
    assert await client.exactly(1) == b"x"
    await first.stop(leave=True)
    second = RelayPlane(directory, 1, None)
    await second.start(0.0)
    try:
        await client.send(b"y")  # what carried it is still there
        assert await client.exactly(1) == b"y"
        other = Echoing()
        async with other.carriage:
            await second.attach("vps", other.carriage.add_worker)
            assert await client.was_reset()
            assert await second.apply(Changes(put=(wanted,))) == {}
            assert await says_back(port, b"hello")
            assert len(other.dials) == 1
    finally:
        client.close()
        await second.stop(leave=False)


async def test_newcomers_at_a_far_end_go_to_the_mappings_home(plane: RelayPlane, echoing: Echoing) -> None:
    await plane.attach("vps", echoing.carriage.add_worker)
    with Listening() as target:
        pair = PortPair(IpProtocol.TCP, PortRange(8080, 8080), PortRange(target.port, target.port))
        given = {"ports": (pair,), "at": "vps", "on": None, "path": (Hop("link", "vps"), Hop("relay"))}
        wanted = [wanted_for(number, 8080, plane, sources=None, **given) for number in range(1, 5)]
        assert await plane.preflight(wanted[0].mapping, ()) is None
        assert await plane.apply(Changes(put=tuple(wanted))) == {}
        actual = await plane.observe()
        homes = {each.mapping.id: plane.home_of(each.mapping.id) for each in wanted}
        assert set(homes.values()) == {0, 1}
        for each in wanted:
            key = each.mapping.id
            assert actual[key] == plane.fingerprint(each)
            assert await arrives(echoing, target, key, homes[key])
            assert not await arrives(echoing, target, key, 1 - homes[key])
        assert await plane.apply(Changes(remove={"01": 0.0})) == {}
        assert not await arrives(echoing, target, "01", homes["01"])


async def arrives(echoing: Echoing, target: Listening, key: str, worker: int) -> bool:
    """Whether a newcomer brought to this worker is let in."""
    ours, theirs = socket.socketpair()
    turned, peer = asyncio.Event(), Peer(ours)
    await peer.send(b"x")
    echoing.carriage.arrive(
        worker, key, "tcp", ("192.0.2.1", 5), ("203.0.113.1", 8080), theirs, turned.set, lambda: None
    )
    try:
        server = await eventually(lambda: turned.is_set() or target.take())
        return isinstance(server, Peer) and await server.exactly(1) == b"x"
    finally:
        peer.close()


async def test_a_worker_of_an_older_version_is_not_given_what_it_would_not_understand(
    plane: RelayPlane, echoing: Echoing
) -> None:
    for _, control in plane._crew.live:
        control.knows_carriers = False  # as it is told by one that says nothing of them
    port = free_ports()
    failed = await plane.apply(Changes(put=(through(1, port, plane),)))
    assert "older version" in str(failed["01"].facts)
    with pytest.raises(ConnectionRefusedError):
        await dial(port)


# -- unix sockets ---------------------------------------------------------------------


def at_path(path: Path, plane: RelayPlane, number: int = 1, **given: Any) -> Wanted:
    pair = PortPair(IpProtocol.UNIX, WHOLE, given.pop("inside", WHOLE))
    return wanted_for(number, 9, plane, ports=(pair,), on=UnixPath(str(path)), **given)


async def test_a_path_is_made_kept_moved_and_removed(plane: RelayPlane, directory: Path) -> None:
    first, second = directory / "first.sock", directory / "second.sock"
    with Listening() as target:
        inside = PortRange(target.port, target.port)
        wanted = at_path(first, plane, inside=inside)
        assert await plane.preflight(wanted.mapping, ()) is None
        assert await plane.apply(Changes(put=(wanted,))) == {}
        assert stat.S_IMODE(first.stat().st_mode) == 0o660
        number = first.stat().st_ino
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(first))
        peer = Peer(client)
        server = await target.accept()
        await peer.send(b"x")
        assert await server.exactly(1) == b"x"
        assert await plane.preflight(wanted.mapping, (wanted.mapping,)) is None
        again = replace(wanted, mapping=replace(wanted.mapping, idle=600))
        assert await plane.apply(Changes(put=(again,))) == {}
        assert first.stat().st_ino == number
        moved = at_path(second, plane, inside=inside)
        assert await plane.apply(Changes(put=(moved,))) == {}
        assert (first.exists(), second.exists()) == (False, True)
        await peer.send(b"y")
        assert await server.exactly(1) == b"y"
        peer.close()
        assert await plane.apply(Changes(remove={"01": 60.0})) == {}
        assert not second.exists()


async def test_a_clean_stop_leaves_no_path(directory: Path) -> None:
    plane = RelayPlane(directory, 1, None)
    await plane.start(0.0)
    path = directory / "in.sock"
    try:
        assert await plane.apply(Changes(put=(at_path(path, plane),))) == {}
        assert path.is_socket()
    finally:
        await plane.stop(leave=False)
    assert not path.exists()


async def test_what_stands_at_a_path_is_told(plane: RelayPlane, directory: Path) -> None:
    path = directory / "in.sock"
    wanted = at_path(path, plane, target=Target.parse_host("unix:/run/app.sock"))
    path.write_text("a file")
    problem = await plane.preflight(wanted.mapping, ())
    assert problem is not None
    assert (problem.code, problem.facts["path"]) == ("path-unusable", str(path))
    failed = await plane.apply(Changes(put=(wanted,)))
    assert failed["01"].code == "path-unusable"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        problem = await plane.preflight(wanted.mapping, ())
        assert problem is not None
        assert problem.code == "path-busy"
    assert await plane.preflight(wanted.mapping, ()) is None  # whoever had it is gone
    nowhere = at_path(directory / "no" / "in.sock", plane)
    problem = await plane.preflight(nowhere.mapping, ())
    assert problem is not None
    assert problem.code == "path-unusable"
