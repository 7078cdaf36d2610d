"""SOCKS 5 through a real worker and a real dialler: what is said when, and what is never reached."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.model.socks import make_verifier
from sekimori.planes.dialler.keeper import Dialler
from tests.loopback.relay_rig import Peer, Relay, Target, dial, ended, eventually, port_of
from tests.loopback.socks_rig import HERE, Client, packed, serve, socks_relay

pytestmark = pytest.mark.loopback

USER = make_verifier("user:correct horse", b"salt")
USERS = ((USER.name, USER.text),)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Relay, Dialler]]:
    async with socks_relay(tmp_path / "worker.sock") as both:
        yield both


@pytest.fixture
def relay(pair: tuple[Relay, Dialler]) -> Relay:
    return pair[0]


def login(password: bytes, name: bytes = b"user") -> bytes:
    return bytes((1, len(name))) + name + bytes((len(password),)) + password


async def carried(relay: Relay, target: Target) -> tuple[Client, Peer]:
    """A client that is connected, and the target's end."""
    client = await Client.connect(await serve(relay))
    code, local = await client.ask(1, "127.0.0.1", target.port)
    assert code == 0
    server = await target.accept()
    assert server.sock.getpeername() == local
    return client, server


async def test_bytes_half_close_and_figures(relay: Relay) -> None:
    entry = await serve(relay)
    with Target() as target:
        client = await Client.connect(entry)
        assert (await client.ask(1, "127.0.0.1", target.port))[0] == 0
        server = await target.accept()
        await client.peer.send(b"question")
        client.peer.end()
        assert await server.rest() == b"question"
        await server.send(b"answer")
        [flow] = await relay.control.flows(entry.id)
        assert (flow["target"], flow["target_port"], flow["state"]) == (
            "127.0.0.1",
            target.port,
            "half-closed",
        )
        server.end()
        assert await client.peer.rest() == b"answer"
        client.close()
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["bytes_in"], stats["bytes_out"]) == (8, 6)


async def test_what_was_said_early_arrives_once_and_in_order(relay: Relay) -> None:
    entry = await serve(relay)
    with Target() as target:
        peer = await dial(port_of(entry))
        await peer.send(b"\x05\x01\x00\x05\x01\x00" + packed("127.0.0.1", target.port) + b"early ")
        server = await target.accept()
        await peer.send(b"and late")
        assert await server.exactly(14) == b"early and late"
        peer.close()
    assert (await eventually(lambda: ended(relay, entry)))["bytes_in"] == 14


async def test_byte_by_byte(relay: Relay) -> None:
    entry = await serve(relay)
    with Target() as target:
        peer = await dial(port_of(entry))
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\x05\x01\x00\x05\x01\x00" + packed("localhost", target.port):
            await peer.send(bytes((byte,)))
            await asyncio.sleep(0)  # a segment each, as the worker takes its turns in between
        # `localhost` is 127.0.0.1, which is named.
        assert (await peer.exactly(2 + 10))[:4] == b"\x05\x00\x05\x00"
        server = await target.accept()
        await server.send(b"hello")
        assert await peer.exactly(5) == b"hello"
        peer.close()


async def test_bulk_both_ways(relay: Relay) -> None:
    with Target() as target:
        client, server = await carried(relay, target)
        data = os.urandom(10 << 20)

        async def send(peer: Peer) -> None:
            await peer.send(data)
            peer.end()

        async with asyncio.TaskGroup() as group:
            group.create_task(send(client.peer))
            group.create_task(send(server))
            there, back = group.create_task(server.rest()), group.create_task(client.peer.rest())
        assert there.result() == back.result() == data
        client.close()


async def test_a_reset_passes_either_way(relay: Relay) -> None:
    with Target() as target:
        client, server = await carried(relay, target)
        server.reset()
        assert await client.peer.was_reset()
        client.close()
        client, server = await carried(relay, target)
        client.peer.reset()
        assert await server.was_reset()


async def test_nobody_there(relay: Relay) -> None:
    entry = await serve(relay)
    with Target() as target:
        port = target.port
    client = await Client.connect(entry)
    assert (await client.ask(1, "127.0.0.1", port))[0] == 5
    assert await client.peer.rest() == b""
    client.close()
    assert (await eventually(lambda: ended(relay, entry)))["failed"]["refused"] == 1


async def test_a_name_that_there_is_not(relay: Relay) -> None:
    entry = await serve(relay, rules=("*",))
    client = await Client.connect(entry)
    assert (await client.ask(1, "no-such-name.invalid", 80))[0] == 4
    client.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "x.localhost", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"]
)
async def test_guarded_unless_named(relay: Relay, host: str) -> None:
    entry = await serve(relay, rules=("*",))
    with Target() as target:
        client = await Client.connect(entry)
        # The client may go on talking: the answer must come through all the same.
        await client.peer.send(bytes((5, 1, 0)) + packed(host, target.port) + b"x" * 5000)
        assert (await client.answer())[0] == 2
        assert target.untouched()
        client.close()
    assert (await eventually(lambda: ended(relay, entry)))["failed"]["prohibited"] == 1


async def test_networks_of_this_machine_are_guarded_too(relay: Relay) -> None:
    entry = await serve(relay, rules=("*",), own=("192.0.2.0/24",))
    client = await Client.connect(entry)
    assert (await client.ask(1, "192.0.2.7", 80))[0] == 2
    client.close()


async def test_ports_are_part_of_a_rule(relay: Relay) -> None:
    with Target() as target, Target() as other:
        entry = await serve(relay, rules=(f"127.0.0.1:{target.port}",))
        client = await Client.connect(entry)
        assert (await client.ask(1, "127.0.0.1", other.port))[0] == 2
        client.close()
        client = await Client.connect(entry)
        assert (await client.ask(1, "127.0.0.1", target.port))[0] == 0
        client.close()


@pytest.mark.parametrize("data", [b"\x00", b"\x16\x03\x01\x02\x00", b"\x05\x01\x00\x09", b"C" * 9000])
async def test_garbage_is_reset(relay: Relay, data: bytes) -> None:
    entry = await serve(relay)
    peer = await dial(port_of(entry))
    await peer.send(data)
    assert await peer.was_reset()
    peer.close()
    assert (await eventually(lambda: ended(relay, entry)))["failed"]["other"] == 1


async def test_who_says_nothing_holds_nobody_up(relay: Relay) -> None:
    entry = await serve(relay)
    silent = [await dial(port_of(entry)) for _ in range(200)]
    for peer in silent[::2]:
        await peer.send(b"\x05")
    with Target() as target:
        async with asyncio.timeout(1.0):
            client = await Client.connect(entry)
            assert (await client.ask(1, "127.0.0.1", target.port))[0] == 0
        client.close()
    assert {flow["state"] for flow in await relay.control.flows(entry.id)} == {"asking"}
    for peer in silent:
        peer.close()
    await eventually(lambda: ended(relay, entry))


async def test_password(relay: Relay) -> None:
    entry = await serve(relay, users=USERS)
    with Target() as target:
        for _ in range(2):  # the second time it is remembered
            peer = await dial(port_of(entry))
            await peer.send(b"\x05\x02\x00\x02")
            assert await peer.exactly(2) == b"\x05\x02"
            await peer.send(login(b"correct horse") + b"\x05\x01\x00" + packed("127.0.0.1", target.port))
            assert (await peer.exactly(12))[:4] == b"\x01\x00\x05\x00"
            peer.close()


async def test_a_user_that_is_taken_away_takes_the_flows_along(relay: Relay) -> None:
    other = make_verifier("other:battery staple", b"salt")
    entry = await serve(relay, users=(*USERS, (other.name, other.text)))
    assert entry.socks is not None
    with Target() as target:

        async def enter(name: bytes, password: bytes, command: bytes) -> Peer:
            peer = await dial(port_of(entry))
            await peer.send(b"\x05\x01\x02" + login(password, name))
            await peer.send(b"\x05" + command + b"\x00" + packed("127.0.0.1", target.port))
            assert (await peer.exactly(4 + 10))[:6] == b"\x05\x02\x01\x00\x05\x00"
            return peer

        gone = [await enter(b"user", b"correct horse", command) for command in (b"\x01", b"\x03")]
        stays = [await enter(b"other", b"battery staple", command) for command in (b"\x01", b"\x03")]
        users = ((other.name, other.text),)
        await relay.control.set([replace(entry, socks=replace(entry.socks, users=users), grace=0.0)])
        for peer in gone:
            assert await peer.was_reset()
        states = [flow["state"] for flow in await relay.control.flows(entry.id)]
        assert sorted(states) == ["associated", "open"]
        for peer in (*gone, *stays):
            peer.close()


@pytest.mark.parametrize("said", [login(b"wrong"), login(b"correct horse", b"other"), login(b"")])
async def test_a_wrong_password_is_answered_late_and_stops_nobody(relay: Relay, said: bytes) -> None:
    entry = await serve(relay, users=USERS)
    open_entry = await serve(relay)
    loop = asyncio.get_running_loop()
    with Target() as target:
        peer = await dial(port_of(entry))
        began = loop.time()
        await peer.send(b"\x05\x01\x02" + said + b"\x05\x01\x00" + packed("127.0.0.1", target.port))
        assert await peer.exactly(2) == b"\x05\x02"
        client = await Client.connect(open_entry)
        assert (await client.ask(1, "127.0.0.1", target.port))[0] == 0
        assert loop.time() - began < 0.9
        client.close()
        assert await peer.rest() == b"\x01\x01"
        assert loop.time() - began >= 0.9
        peer.close()
        await target.accept()
        assert target.untouched()


async def test_guessing_is_given_up_on_and_the_right_one_still_served(relay: Relay) -> None:
    entry = await serve(relay, users=USERS)

    async def attempt(password: bytes) -> bytes:
        peer = await dial(port_of(entry))
        await peer.send(b"\x05\x01\x02" + login(password))
        try:
            return await peer.exactly(4)
        finally:
            peer.close()

    assert await attempt(b"correct horse") == b"\x05\x02\x01\x00"
    guesses = await asyncio.gather(*(attempt(b"guess %d" % number) for number in range(30)))
    assert set(guesses) == {b"\x05\x02\x01\x01"}
    assert await attempt(b"correct horse") == b"\x05\x02\x01\x00"  # known here, though its source has guessed


async def test_flows_go_on_without_their_dialler_and_new_ones_wait_for_the_next(
    pair: tuple[Relay, Dialler],
) -> None:
    relay, dialler = pair
    with Target() as target:
        client, server = await carried(relay, target)
        first = dialler.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not dialler.is_up)
        await client.peer.send(b"still here")
        assert await server.exactly(10) == b"still here"
        other = await Client.connect(await serve(relay))
        assert (await other.ask(1, "127.0.0.1", target.port))[0] == 1  # down
        other.close()
        await eventually(lambda: dialler.is_up)
        assert dialler.pid != first
        again, _server = await carried(relay, target)
        again.close()
        client.close()


async def test_the_dialler_ends_when_it_is_not_wanted(pair: tuple[Relay, Dialler]) -> None:
    relay, dialler = pair
    dialler.want(False)
    await eventually(lambda: dialler.pid is None)
    client = await Client.connect(await serve(relay))
    assert (await client.ask(1, "127.0.0.1", 9))[0] == 1
    client.close()
    dialler.want(True)
    await eventually(lambda: dialler.is_up)


def rights_of(pid: int) -> tuple[set[str], str, str, int]:
    """A process's users and groups, its further groups, whether it can gain privileges, and those it has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    ids = {*status["Uid"].split(), *status["Gid"].split()}
    return ids, status["Groups"].strip(), status["NoNewPrivs"].strip(), int(status["CapEff"], 16)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: processes that become nobody")
async def test_without_privileges(tmp_path: Path) -> None:
    nobody = (65534, 65534)
    async with socks_relay(tmp_path / "w", "--user", "65534:65534", user=nobody) as (relay, dialler):
        entry = await serve(relay)
        with Target() as target:
            client = await Client.connect(entry)
            assert (await client.ask(1, "localhost", target.port))[0] == 0
            client.close()
        assert dialler.pid is not None
        for pid in (relay.control.pid, dialler.pid):
            assert rights_of(pid) == ({"65534"}, "", "1", 0)


async def test_ipv6(relay: Relay) -> None:
    entry = await serve(relay, rules=HERE)
    with Target("::1") as target:
        client = await Client.connect(entry)
        code, local = await client.ask(1, "::1", target.port)
        assert (code, local[0]) == (0, "::1")
        client.close()


async def test_no_descriptor_is_left_behind(pair: tuple[Relay, Dialler]) -> None:
    relay, dialler = pair

    def descriptors() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (relay.control.pid, dialler.pid)]

    entry = await serve(relay)
    with Target() as target:

        async def visit(kind: int) -> None:
            client = await Client.connect(entry)
            if kind == 0:
                await client.ask(1, "127.0.0.1", target.port)
                client.peer.reset()  # else the target, that takes nobody, would have its time
            elif kind == 1:
                await client.ask(1, "127.0.0.1", 1)
            elif kind == 2:
                await client.ask(3, "0.0.0.0", 0)
            elif kind == 3:
                await client.ask(2, "127.0.0.1", target.port)
            elif kind == 4:
                await client.peer.send(b"garbage")
            client.close()

        await asyncio.gather(*(visit(kind) for kind in range(6)))
        await eventually(lambda: ended(relay, entry))
        before = descriptors()  # the dialler may still be closing some
        for _ in range(5):
            await asyncio.gather(*(visit(kind % 6) for kind in range(24)))
        await eventually(lambda: ended(relay, entry))
        await eventually(lambda: all(now <= then for now, then in zip(descriptors(), before, strict=True)))
