"""Bans and kills on real flows: those meant end, and every near miss goes on."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.gateway import Ban
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.source import Sources
from sekimori.model.target import Target as ModelTarget
from sekimori.planes.relay.control import WorkerRefusedError, connect
from sekimori.planes.relay.plane import RelayPlane
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.testing.ports import free_ports

from .relay_rig import Peer, Relay, Target, dial, eventually, port_of, running, turned_away

pytestmark = pytest.mark.loopback
ALICE = Owner(OwnerKind.PERSON, "alice")


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


_OPENED: list[Peer] = []


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


async def dialled(port: int, source: str | None = None) -> Peer:
    """A client that is closed with the test."""
    peer = await dial(port, source=source)
    _OPENED.append(peer)
    return peer


async def alive(client: Peer, server: Peer) -> bool:
    await client.send(b"still there?")
    return await server.exactly(12) == b"still there?"


async def test_a_ban_ends_the_flows_from_there_and_keeps_newcomers_out(relay: Relay) -> None:
    with Target() as target:
        one, two = await relay.serve(target.port), await relay.serve(target.port)
        banned = [await dialled(port_of(entry), source="127.0.0.2") for entry in (one, two)]
        _ = [await target.accept() for _ in banned]
        near = await dialled(port_of(one), source="127.0.0.3"), await target.accept()
        assert await relay.control.ban([("127.0.0.2/32", None)]) == 2
        for client in banned:
            assert await client.was_reset()
        assert await alive(*near)
        assert await turned_away(port_of(one), "127.0.0.2")
        assert (await relay.stats(one))["refused"]["banned"] == 1
        assert (await relay.stats(one))["flows_active"] == 1
        assert target.untouched()
        assert await relay.control.ban([]) == 0
        again = await dialled(port_of(one), source="127.0.0.2"), await target.accept()
        assert await alive(*again)


async def test_a_ban_ends_on_its_second_with_the_daemon_gone(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        end = time.time() + 0.5
        await relay.control.ban([("127.0.0.0/8", end)])
        relay.control.close()
        assert await turned_away(port_of(entry))
        assert time.time() < end  # else it proves nothing
        await eventually(lambda: time.time() >= end)
        assert await alive(await dialled(port_of(entry)), await target.accept())
        relay.control = await connect(relay.control.path)


async def test_a_ban_that_makes_no_sense_is_refused_and_changes_nothing(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        await relay.control.ban([("127.0.0.2/32", None)])
        with pytest.raises(WorkerRefusedError):
            await relay.control.ban([("nonsense", None)])
        assert await turned_away(port_of(entry), "127.0.0.2")


# -- the plane: two workers ------------------------------------------------------------------


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


def ground(*prefixes: str, expires_at: int | None = None) -> Ground:
    networks = map(ipaddress.ip_network, prefixes)
    return Ground(bans=tuple(Ban(prefix=each, owner=ALICE, expires_at=expires_at) for each in networks))


def wanted(name: str, port: int, inside: int, protocol: IpProtocol = IpProtocol.TCP) -> Wanted:
    mapping = Mapping(
        id=name,
        name=name,
        owner=ALICE,
        ports=(PortPair(protocol, PortRange(port, port), PortRange(inside, inside)),),
        target=ModelTarget.parse_host("127.0.0.1"),
        sources=Sources(anyone=True),
        lifetime=Lifetime.permanent("a test"),
        on=ipaddress.ip_address("127.0.0.1"),
        path=(Hop("relay"),),
    )
    return Wanted(mapping, None, ("127.0.0.1",), None, 0.0)


async def many(port: int, target: Target, source: str, count: int = 8) -> list[tuple[Peer, Peer]]:
    """Flows enough that both workers have some of them."""
    return [(await dialled(port, source=source), await target.accept()) for _ in range(count)]


async def test_the_plane_tells_every_worker_and_a_new_one_before_it_serves(plane: RelayPlane) -> None:
    with Target() as target:
        port = free_ports()
        assert await plane.lay(ground()) is None
        assert await plane.apply(Changes(put=(wanted("web", port, target.port),))) == {}
        banned = await many(port, target, "127.0.0.2")
        near = await many(port, target, "127.0.0.3", 3)
        assert await plane.lay(ground("127.0.0.2/32")) is None
        for client, _ in banned:
            assert await client.was_reset()
        for pair in near:
            assert await alive(*pair)
        for pid in plane.worker_pids:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: plane.worker_pids == [])
        await plane.observe()  # no word about the ground: a new worker knows all the same
        assert await plane.apply(Changes(put=(wanted("web", port, target.port),))) == {}
        for _ in range(8):
            assert await turned_away(port, "127.0.0.2")
        assert await alive(*(await many(port, target, "127.0.0.3", 1))[0])


async def test_a_later_daemon_lifts_what_an_earlier_one_banned(directory: Path) -> None:
    with Target() as target:
        port = free_ports()
        first = RelayPlane(directory, 2, None)
        await first.start(0.0)
        await first.lay(ground("127.0.0.2/32"))
        await first.apply(Changes(put=(wanted("web", port, target.port),)))
        await first.stop(leave=True)
        assert await turned_away(port, "127.0.0.2")
        second = RelayPlane(directory, 2, None)
        await second.start(0.0)
        try:
            assert await second.lay(ground()) is None
            assert await second.apply(Changes(put=(wanted("web", port, target.port),))) == {}
            for pair in await many(port, target, "127.0.0.2"):
                assert await alive(*pair)
        finally:
            await second.stop(leave=False)


async def test_a_kill_ends_exactly_what_it_names(plane: RelayPlane) -> None:
    with Target() as target:
        ports = [free_ports(), free_ports()]
        puts = [wanted(f"web{number}", port, target.port) for number, port in enumerate(ports)]
        assert await plane.apply(Changes(put=tuple(puts))) == {}
        one = await many(ports[0], target, "127.0.0.2")
        other = await many(ports[0], target, "127.0.0.3")
        elsewhere = await many(ports[1], target, "127.0.0.2")
        assert await plane.kill("web0", ipaddress.ip_network("127.0.0.2/32")) == 8
        assert [await client.was_reset() for client, _ in one] == [True] * 8
        assert [await alive(*pair) for pair in other + elsewhere] == [True] * 16
        assert await plane.kill(None, ipaddress.ip_network("127.0.0.2/31")) == 16
        assert [await client.was_reset() for client, _ in other + elsewhere] == [True] * 16
        again = await many(ports[0], target, "127.0.0.2", 2)
        assert await plane.kill("web1", None) == 0
        assert await plane.kill("web0", None) == 2
        assert [await client.was_reset() for client, _ in again] == [True] * 2
        assert await plane.kill("nobody", None) == 0


async def test_datagrams_of_the_banned_and_the_killed_find_no_flow(plane: RelayPlane) -> None:
    port = free_ports()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as banned,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        target.bind(("127.0.0.1", 0))
        target.settimeout(10)
        banned.bind(("127.0.0.2", 0))
        near.bind(("127.0.0.3", 0))
        udp = wanted("dns", port, target.getsockname()[1], IpProtocol.UDP)
        assert await plane.apply(Changes(put=(udp,))) == {}
        for peer in (banned, near):
            peer.sendto(b"first", ("127.0.0.1", port))
            assert await receive(target) == b"first"
        assert await plane.lay(ground("127.0.0.2/32")) is None
        assert len(await plane.flows("dns")) == 1
        banned.sendto(b"banned", ("127.0.0.1", port))
        near.sendto(b"near", ("127.0.0.1", port))
        assert await receive(target) == b"near"  # the datagram before it is not there
        assert (await plane.counters(["dns"]))["dns"].refused == {"banned": 1}
        assert await plane.kill("dns", None) == 1
        assert await plane.flows("dns") == []
        await plane.lay(ground())
        banned.sendto(b"again", ("127.0.0.1", port))
        assert await receive(target) == b"again"


async def receive(sock: socket.socket) -> bytes:
    peer = Peer(sock)
    return await peer.receive()
