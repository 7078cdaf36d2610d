"""TCP flows through a real worker: bytes, ends, resets."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekimori.planes.relay.entry import Entry
from sekimori.wire import proxyproto

from .relay_rig import (
    Peer,
    Relay,
    Target,
    cpu_seconds,
    dial,
    ended,
    eventually,
    pair,
    port_of,
    running,
    turned_away,
)

pytestmark = pytest.mark.loopback


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


async def pour(peer: Peer, data: bytes, seed: int) -> None:
    """Send in pieces of odd sizes with pauses, then end."""
    dice, sent = random.Random(seed), 0
    while sent < len(data):
        piece = dice.choice((1, 7, 1400, 65_536, 65_537, 300_000, 2_000_000))
        await peer.send(data[sent : sent + piece])
        sent += piece
        if dice.random() < 0.3:
            await asyncio.sleep(0.002)
    peer.end()


async def drink(peer: Peer, seed: int) -> bytes:
    """Receive in gulps of odd sizes with pauses; the digest."""
    dice, digest = random.Random(seed), hashlib.sha256()
    while data := await peer.receive(dice.choice((1, 500, 65_536, 1_000_000))):
        digest.update(data)
        if dice.random() < 0.05:
            await asyncio.sleep(0.005)
    return digest.digest()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 9_000_000])
async def test_bytes_are_equal_both_ways_at_once(relay: Relay, size: int) -> None:
    up, down = os.urandom(size), os.urandom(size)
    with Target() as target:
        entry, client, server = await pair(relay, target)
        _, _, seen, got = await asyncio.gather(
            pour(client, up, 1), pour(server, down, 2), drink(server, 3), drink(client, 4)
        )
        assert seen == hashlib.sha256(up).digest()
        assert got == hashlib.sha256(down).digest()
        client.close()
        stats = await eventually(lambda: ended(relay, entry))
        assert (stats["bytes_in"], stats["bytes_out"], stats["flows_total"]) == (size, size, 1)


@pytest.mark.parametrize("first", ["client", "server"])
async def test_either_side_may_speak_first_and_small_talk_goes_on(relay: Relay, first: str) -> None:
    with Target() as target:
        _, client, server = await pair(relay, target)
        one, other = (client, server) if first == "client" else (server, client)
        for turn in range(50):
            await one.send(b"%d" % turn)
            assert await other.receive() == b"%d" % turn
            one, other = other, one
        client.close()


async def test_a_stalled_reader_costs_a_bounded_buffer_and_loses_nothing(relay: Relay) -> None:
    data = os.urandom(1 << 20)
    rss_before = memory(relay.control.pid)
    with Target() as target:
        entry, client, server = await pair(relay, target)
        sent = 0
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await asyncio.get_running_loop().sock_sendall(client.sock, data[:65_536])
            except TimeoutError:
                break
            sent += 65_536
        taken = (await relay.stats(entry))["bytes_in"]
        # The kernel's four socket buffers and one pipe; nothing grows in the worker.
        assert taken >= 65_536
        assert memory(relay.control.pid) - rss_before < 2 << 20
        assert (await relay.control.flows(entry.id))[0]["bytes_in"] == taken
        client.end()
        total = len(await server.rest())
        assert total >= sent
        assert total == (await relay.stats(entry))["bytes_in"]
        client.close()


def memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("side", ["client", "server"])
async def test_half_close_leaves_the_other_direction_open(relay: Relay, side: str) -> None:
    with Target() as target:
        entry, client, server = await pair(relay, target)
        one, other = (client, server) if side == "client" else (server, client)
        await one.send(b"last words")
        one.end()
        assert await other.rest() == b"last words"
        assert (await relay.control.flows(entry.id))[0]["state"] == "half-closed"
        answer = os.urandom(3_000_000)
        digest, _ = await asyncio.gather(drink(one, 1), pour(other, answer, 2))
        assert digest == hashlib.sha256(answer).digest()
        assert await eventually(lambda: ended(relay, entry))
        client.close()


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("when", ["at once", "half-closed", "stalled"])
async def test_a_reset_stays_a_reset(relay: Relay, side: str, when: str) -> None:
    with Target() as target:
        entry, client, server = await pair(relay, target)
        one, other = (client, server) if side == "client" else (server, client)
        if when == "half-closed":
            other.end()
            assert await one.rest() == b""
        if when == "stalled":
            await stall(one)
        one.reset()
        assert await other.was_reset()
        stats = await eventually(lambda: ended(relay, entry))
        assert stats["flows_total"] == 1
        if one is server:
            client.close()


async def stall(peer: Peer) -> None:
    """Send until nobody takes more."""
    while True:
        try:
            async with asyncio.timeout(0.2):
                await asyncio.get_running_loop().sock_sendall(peer.sock, bytes(1 << 16))
        except TimeoutError:
            return


async def test_what_a_server_said_before_its_reset_is_delivered(relay: Relay) -> None:
    with Target() as target:
        _, client, server = await pair(relay, target)
        await client.send(b"request")
        assert await server.receive() == b"request"
        await server.send(b"413 too large")
        assert await client.receive() == b"413 too large"
        server.reset()
        assert await client.was_reset()
        client.close()


async def test_a_target_that_refuses_gives_the_client_a_reset(relay: Relay) -> None:
    with Target() as target:
        port = target.port
    entry = await relay.serve(port)
    assert await turned_away(port_of(entry))
    assert (await relay.stats(entry))["failed"]["refused"] == 1
    assert (await relay.stats(entry))["flows_active"] == 0


async def test_several_targets_the_first_that_answers_wins(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, targets=("127.0.0.3", "::1", "127.0.0.1"))
        _, client, server = await pair(relay, target, entry)
        await client.send(b"through")
        assert await server.receive() == b"through"
        assert (await relay.control.flows(entry.id))[0]["target"] == "127.0.0.1"
        client.close()


async def test_a_silent_target_is_overtaken_after_a_quarter_of_a_second(relay: Relay) -> None:
    with Target("127.0.0.1") as target, Silent("127.0.0.2", target.port):
        entry = await relay.serve(target.port, targets=("127.0.0.2", "127.0.0.1"))
        begun = time.monotonic()
        client = await dial(port_of(entry))
        await target.accept()
        assert 0.24 <= time.monotonic() - begun < 2.0
        client.close()


class Silent:
    """A port whose handshakes are not answered: its queue is full."""

    def __init__(self, address: str, port: int) -> None:
        import socket

        self.sockets = [socket.create_server((address, port), backlog=0)]
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((address, port))
            self.sockets.append(sock)

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_proxy_protocol_header_comes_before_anything_else(relay: Relay, version: int) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, proxy_protocol=version)
        client = await dial(port_of(entry), source="127.0.0.9")
        server = await target.accept()
        header = proxyproto.decode_untrusted(await server.receive())  # the client has said nothing yet
        assert header is not None
        assert header.version == version
        assert header.source == client.sock.getsockname()
        assert header.destination == ("127.0.0.1", port_of(entry))
        await client.send(b"and then")
        assert await server.receive() == b"and then"
        client.close()


async def test_a_dual_socket_shows_ipv4_clients_as_ipv4(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(
            target.port, address="::", dual=True, sources=("127.0.0.0/8", "::1"), proxy_protocol=2
        )
        for address, plain in (("127.0.0.1", "127.0.0.1"), ("::1", "::1")):
            client = await dial(port_of(entry), address)
            server = await target.accept()
            header = proxyproto.decode_untrusted(await server.receive())
            assert header is not None
            assert header.source is not None
            assert header.source[0] == plain
            client.close()


async def test_ipv4_client_reaches_an_ipv6_target(relay: Relay) -> None:
    with Target("::1") as target:
        entry = await relay.serve(target.port, targets=("::1",))
        _, client, server = await pair(relay, target, entry)
        await client.send(b"across")
        assert await server.receive() == b"across"
        client.close()


async def test_silence_ends_a_flow_and_traffic_keeps_it(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, idle=0.6)
        _, quiet, _ = await pair(relay, target, entry)
        _, lively, server = await pair(relay, target, entry)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            end = group.create_task(quiet.was_reset())
            while not end.done():
                await lively.send(b".")
                assert await server.receive() == b"."
                await asyncio.sleep(0.05)
        assert end.result()
        assert 0.55 <= time.monotonic() - begun < 2.0
        assert await lively.was_reset()
        quiet.close()
        lively.close()


async def test_with_too_few_descriptors_newcomers_wait_and_all_are_served(tmp_path: Path) -> None:
    async with running(tmp_path / "worker.sock", "--descriptors", "40") as relay:
        with Target() as target:
            entry = await relay.serve(target.port)
            clients = [await dial(port_of(entry)) for _ in range(40)]
            used = cpu_seconds(relay.control.pid)
            begun = time.monotonic()
            for number, client in enumerate(clients):
                await client.send(b"%d" % number)
                server = await target.accept()
                await server.receive()
                if number >= 10:  # hold some, so that descriptors stay scarce
                    clients[number - 10].close()
                    target.peers[number - 10].close()
            took = time.monotonic() - begun
            stats = await relay.stats(entry)
            assert stats["flows_total"] == 40
            assert stats["failed"]["descriptors"] > 0
            assert cpu_seconds(relay.control.pid) - used < max(0.1, took / 2)
            for client in clients:
                client.close()


async def test_with_no_descriptors_at_all_the_worker_does_not_spin(tmp_path: Path) -> None:
    async with running(tmp_path / "worker.sock", "--descriptors", "30") as relay:
        with Target() as target:
            entry = await relay.serve(target.port)
            clients = [await dial(port_of(entry)) for _ in range(30)]
            await eventually(lambda: scarce(relay, entry))
            before, begun = cpu_seconds(relay.control.pid), time.monotonic()
            await eventually(lambda: time.monotonic() - begun > 0.5)
            assert cpu_seconds(relay.control.pid) - before < 0.1
            for client in clients:
                client.close()


async def scarce(relay: Relay, entry: Entry) -> bool:
    return bool((await relay.stats(entry))["failed"]["descriptors"])


async def test_an_entry_without_targets_turns_newcomers_away(relay: Relay) -> None:
    entry = await relay.serve(9, targets=())
    assert await turned_away(port_of(entry))
    assert (await relay.stats(entry))["failed"]["unreachable"] == 1


async def test_a_client_that_gives_up_while_its_target_is_dialled_costs_nothing_for_long(
    relay: Relay,
) -> None:
    with Target() as target, Silent("127.0.0.2", target.port):
        entry = await relay.serve(target.port, targets=("127.0.0.2",))
        client = await dial(port_of(entry))
        (flow,) = await eventually(lambda: relay.control.flows(entry.id))
        assert (flow["state"], flow["target"]) == ("dialling", "127.0.0.2")
        assert await relay.control.cut(entry.id) == 1
        assert await client.was_reset()
        client.close()
