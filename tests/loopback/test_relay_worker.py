"""The worker process: its life without a daemon, its control channel, its ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.planes.relay.control import WorkerLostError, WorkerRefusedError, connect, spawn
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen

from .relay_rig import Relay, Target, dial, eventually, gone, port_of, running

pytestmark = pytest.mark.loopback


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


async def test_a_later_daemon_finds_everything_as_it_was(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, sources=("127.0.0.0/8",))
        client = await dial(port_of(entry))
        server = await target.accept()
        relay.control.close()
        await client.send(b"nobody's worker")
        assert await server.receive() == b"nobody's worker"
        again = await connect(relay.control.path)
        relay.control = again
        held = (await again.state())[entry.id]
        assert held.digest == entry.digest
        assert held.accepting
        assert held.flows == 1
        assert held.holds(entry.listens[0])
        assert not held.holds(replace(entry.listens[0], port=1))
        client.close()


async def test_expiry_is_kept_with_the_daemon_gone(relay: Relay) -> None:
    with Target() as target:
        until = time.time() + 0.7
        entry = await relay.serve(target.port, accept_until=until, grace=0.7)
        lasting = await relay.serve(target.port)
        client = await dial(port_of(entry))
        server = await target.accept()
        path, pid = relay.control.path, relay.control.pid
        relay.control.close()

        async def closed() -> bool:
            try:
                (await dial(port_of(entry))).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False

        await eventually(closed)
        assert until <= time.time() < until + 1.5
        await client.send(b"in the grace")
        assert await server.receive() == b"in the grace"
        assert await client.was_reset()
        assert await server.was_reset()
        assert time.time() >= until + 0.6
        (await dial(port_of(lasting))).close()
        relay.control = await connect(path)
        assert relay.control.pid == pid
        assert not (await relay.control.state())[entry.id].accepting
        renewed = replace(entry, accept_until=time.time() + 600)
        assert (await relay.control.set([renewed])).missing == (
            (entry.id, "tcp", "127.0.0.1", port_of(entry), False),
        )
        client.close()


async def test_an_entry_that_has_already_expired_accepts_no_one(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port, accept_until=time.time() + 600)
        await relay.control.set([replace(entry, accept_until=time.time() - 1)])
        with pytest.raises(ConnectionRefusedError):
            await dial(port_of(entry))


async def test_the_socket_is_for_its_owner_and_taken_once(relay: Relay) -> None:
    path = relay.control.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(WorkerLostError):
        await spawn(path)
    assert (await connect_and_close(path)) == relay.control.pid


async def connect_and_close(path: Path) -> int:
    control = await connect(path)
    control.close()
    return control.pid


async def test_a_socket_left_by_the_dead_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "worker.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with running(path) as relay:
        assert relay.control.pid > 0


async def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkerLostError, match="cannot reach"):
        await connect(tmp_path / "none.sock")


async def test_ten_thousand_entries_are_set_in_no_time(relay: Relay) -> None:
    listens = [Listen("tcp", "127.0.0.1", 0, 9) for _ in range(1_000)]
    sockets, entries = {}, []
    for number, listen in enumerate(listens):
        sock = open_listen(listen)
        entry = Entry(f"e{number}", (replace(listen, port=sock.getsockname()[1]),), ("127.0.0.1",))
        entries.append(entry)
        sockets[entry.id, entry.listens[0]] = sock
    entries += [Entry(f"bare{n}", (listen,), ("127.0.0.1",)) for n, listen in enumerate(listens * 9)]
    begun = time.monotonic()
    answer = await relay.control.set(entries, sockets)
    assert time.monotonic() - begun < 5  # a second on a quiet machine
    assert len(answer.missing) == 9_000
    state = await relay.control.state()
    assert len(state) == 10_000
    assert all(state[entry.id].digest == entry.digest for entry in entries[:50])


async def test_an_entry_with_more_sockets_than_a_message_carries(relay: Relay) -> None:
    with Target() as target:
        socks = [open_listen(Listen("tcp", "127.0.0.1", 0, target.port)) for _ in range(450)]
        listens = tuple(Listen("tcp", "127.0.0.1", sock.getsockname()[1], target.port) for sock in socks)
        entry = Entry("wide", listens, ("127.0.0.1",))
        passed = {(entry.id, listen): sock for listen, sock in zip(listens, socks, strict=True)}
        assert (await relay.control.set([entry], passed)).missing == ()
        for listen in (listens[0], listens[-1]):
            client = await dial(listen.port)
            await target.accept()
            client.close()


async def test_bad_entries_are_named_and_the_others_served(relay: Relay) -> None:
    with Target() as target:
        good = Entry("good", (), ("127.0.0.1",))
        bad = Entry("bad", (), ("127.0.0.1",), sources=("not a prefix",))
        answer = await relay.control.set([bad, good])
        assert list(answer.bad) == ["bad"]
        assert list(await relay.control.state()) == ["good"]
        entry = await relay.serve(target.port)
        worse = await relay.control.set([replace(entry, sources=("300.0.0.0/8",))])
        assert list(worse.bad) == [entry.id]
        assert (await relay.control.state())[entry.id].digest == entry.digest


async def test_sockets_that_are_not_needed_are_closed(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        before = descriptors(relay.control.pid)
        spare = open_listen(entry.listens[0])
        await relay.control.set([entry], {(entry.id, entry.listens[0]): spare})
        assert spare.fileno() == -1
        assert descriptors(relay.control.pid) == before
        extra = open_listen(replace(entry.listens[0], port=0))
        with pytest.raises(ValueError, match="not set"):
            await relay.control.set([], {("nobody", entry.listens[0]): extra})
        assert extra.fileno() == -1


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_unknown_ids_and_operations_are_refused(relay: Relay) -> None:
    with pytest.raises(WorkerRefusedError, match="no entry"):
        await relay.control.flows("nobody")
    with pytest.raises(WorkerRefusedError, match="no operation"):
        await relay.control._begin("dance", {})
    entry = await relay.serve(9)
    with pytest.raises(WorkerRefusedError):
        await relay.control.cut(entry.id, "no prefix")


async def test_unknown_members_are_ignored(relay: Relay) -> None:
    value = {**Entry("new", (), ("127.0.0.1",)).to_json(), "from_the_future": 1}
    answer = await relay.control._begin("set", {"entries": [value], "also": {}})
    assert answer["bad"] == {}
    assert "new" in await relay.control.state()


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff", b"\0\0\0\4nope", b"\0\0\0\2[]", b'\0\0\0\x0a{"fds":99}'],
)
async def test_garbage_ends_the_connection_and_nothing_else(relay: Relay, garbage: bytes) -> None:
    with Target() as target, socket.socket(socket.AF_UNIX) as stranger:
        entry = await relay.serve(target.port)
        stranger.connect(str(relay.control.path))
        stranger.sendall(garbage)
        stranger.settimeout(10)
        assert stranger.recv(100) == b""
        assert entry.id in await relay.control.state()


async def test_requests_may_arrive_byte_by_byte(relay: Relay) -> None:
    body = json.dumps({"n": 7, "op": "hello"}).encode()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.setblocking(False)
        slow.connect(str(relay.control.path))
        for byte in struct.pack("!I", len(body)) + body:
            await loop.sock_sendall(slow, bytes((byte,)))
        (length,) = struct.unpack("!I", await loop.sock_recv(slow, 4))
        assert json.loads(await loop.sock_recv(slow, length))["n"] == 7


async def test_terminal_signals_are_not_for_it_and_term_is(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        client = await dial(port_of(entry))
        server = await target.accept()
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(relay.control.pid, number)
        await client.send(b"still")
        assert await server.receive() == b"still"
        lost = asyncio.Event()
        relay.control.on_lost = lost.set
        os.kill(relay.control.pid, signal.SIGTERM)
        assert await client.was_reset()
        await gone(relay.control.pid)
        await asyncio.wait_for(lost.wait(), 10)
        assert not relay.control.path.exists()
        with pytest.raises(WorkerLostError):
            await relay.control.state()
        client.close()


async def test_a_worker_in_the_foreground_ends_with_zero(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "sekimori.planes.relay.worker", "--socket", str(tmp_path / "w"))
    process = await asyncio.create_subprocess_exec(*command)
    await eventually((tmp_path / "w").is_socket)
    process.terminate()
    assert await process.wait() == 0


async def test_quit_with_grace_lets_flows_finish(relay: Relay) -> None:
    with Target() as target:
        entry = await relay.serve(target.port)
        client = await dial(port_of(entry))
        server = await target.accept()
        await relay.control.quit(grace=30)
        with pytest.raises(ConnectionRefusedError):
            await dial(port_of(entry))
        await client.send(b"to the end")
        client.end()
        assert await server.rest() == b"to the end"
        server.close()
        await gone(relay.control.pid)
        client.close()


async def test_it_leaves_when_it_has_nothing_to_do_and_no_daemon(tmp_path: Path) -> None:
    async with running(tmp_path / "worker.sock", "--linger", "0.4") as relay:
        pid = relay.control.pid
        with Target() as target:
            entry = await relay.serve(target.port, grace=0.0)
            relay.control.close()
            begun = time.monotonic()
            await eventually(lambda: time.monotonic() - begun > 1.0)  # an entry keeps it
            relay.control = await connect(relay.control.path)
            await relay.control.set(remove={entry.id: 0})
            begun = time.monotonic()
            await eventually(lambda: time.monotonic() - begun > 1.0)  # a daemon keeps it
            assert relay.control.alive
            relay.control.close()
            await gone(pid)


async def test_it_is_nobodys_child_in_a_session_of_its_own(relay: Relay) -> None:
    parent, session = int(status_of(relay.control.pid)["PPid"]), os.getsid(relay.control.pid)
    assert parent != os.getpid()
    assert session == relay.control.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="dropping privileges needs them")
async def test_privileges_are_dropped_for_good(tmp_path: Path) -> None:
    async with running(tmp_path / "worker.sock", "--user", "65534:65534") as relay:
        lines = status_of(relay.control.pid)
        assert set(lines["Uid"].split()) == {"65534"}
        assert set(lines["Gid"].split()) == {"65534"}
        assert lines["Groups"].strip() == ""
        assert lines["NoNewPrivs"] == "1"
        assert int(lines["CapEff"], 16) == 0
        with Target() as target:
            entry = await relay.serve(target.port)
            (await dial(port_of(entry))).close()
        with suppress(FileNotFoundError):  # the worker may no longer remove it from a directory of root's
            relay.control.path.unlink()


def status_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
