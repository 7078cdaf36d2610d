"""Unix sockets on either side of a real worker, and the files of those it listens at."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen
from sekimori.planes.relay.unixsockets import discard_path, look_at_path, open_path
from sekimori.wire import proxyproto
from tests.loopback.carrier_rig import carrying
from tests.loopback.relay_rig import (
    DEADLINE,
    Peer,
    Relay,
    Target,
    dial,
    ended,
    eventually,
    port_of,
    running,
    turned_away,
)

pytestmark = pytest.mark.loopback


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with running(tmp_path / "worker.sock") as one:
        yield one


class PathTarget(Target):
    """A listening unix socket whose connections the test takes one by one."""

    def __init__(self, path: Path, backlog: int = 16) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(path))
        self._sock.listen(backlog)
        self._sock.setblocking(False)
        self.peers = []


@pytest.fixture
def target(tmp_path: Path) -> Iterator[PathTarget]:
    with PathTarget(tmp_path / "target.sock") as one:
        yield one


async def call(path: str) -> Peer:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    async with asyncio.timeout(DEADLINE):
        await asyncio.get_running_loop().sock_connect(sock, path)
    return Peer(sock)


async def serve_at(relay: Relay, path: Path, targets: tuple[str, ...], port: int = 0, **terms: Any) -> Entry:
    listen = Listen("unix", str(path), 0, port)
    entry = Entry("path", (listen,), targets, **terms)
    answer = await relay.control.set([entry], {(entry.id, listen): open_listen(listen)})
    assert (answer.missing, answer.bad) == ((), {})
    return entry


async def test_from_path_to_path(relay: Relay, tmp_path: Path, target: PathTarget) -> None:
    # Sources say nothing of who opens a file.
    entry = await serve_at(
        relay, tmp_path / "in.sock", (str(tmp_path / "target.sock"),), sources=("192.0.2.0/24",)
    )
    client = await call(str(tmp_path / "in.sock"))
    server = await target.accept()
    data = os.urandom(2_000_000)
    for here, there in ((client, server), (server, client)):
        _, seen = await asyncio.gather(here.send(data), there.exactly(len(data)))
        assert seen == data
    [flow] = await relay.control.flows(entry.id)
    assert (flow["protocol"], flow["source"], flow["target"]) == (
        "unix",
        "unix",
        str(tmp_path / "target.sock"),
    )
    client.end()
    assert await server.rest() == b""
    await server.send(b"bye")
    server.close()
    assert await client.rest() == b"bye"
    client.close()
    stats = await eventually(lambda: ended(relay, entry))
    assert (stats["bytes_in"], stats["bytes_out"]) == (len(data), len(data) + 3)


async def test_a_server_that_closes_without_hearing_the_client_out_has_ended_in_order(
    relay: Relay, tmp_path: Path, target: PathTarget
) -> None:
    entry = await relay.serve(0, targets=(str(tmp_path / "target.sock"),))
    client = await dial(port_of(entry))
    server = await target.accept()
    await server.send(b"all there is")
    server.close()
    assert await client.rest() == b"all there is"
    client.close()
    await eventually(lambda: ended(relay, entry))


async def test_from_path_to_port_and_who_that_is_cannot_be_told(relay: Relay, tmp_path: Path) -> None:
    with Target() as target:
        await serve_at(relay, tmp_path / "in.sock", ("127.0.0.1",), target.port, proxy_protocol=2)
        client = await call(str(tmp_path / "in.sock"))
        server = await target.accept()
        await client.send(b"x")
        header = proxyproto.encode_unknown(2)
        assert await server.exactly(len(header) + 1) == header + b"x"
        decoded = proxyproto.decode_untrusted(header)
        assert decoded is not None
        assert (decoded.source, decoded.size) == (None, len(header))
        client.close()


async def test_through_a_carrier_to_a_path(relay: Relay, tmp_path: Path) -> None:
    async with carrying(relay) as carrier:
        await serve_at(relay, tmp_path / "in.sock", ("/run/far.sock",), carrier="vps")
        client = await call(str(tmp_path / "in.sock"))
        order = await carrier.heard("dial")
        assert (order["protocol"], order["host"], order["port"]) == ("unix", "/run/far.sock", 0)
        assert (order["source"], order["listen"]) == (None, [str(tmp_path / "in.sock"), 0])
        far = await carrier.dialled(order)
        await client.send(b"x")
        assert await far.exactly(1) == b"x"
        client.close()


async def test_newcomers_at_a_far_path(relay: Relay, target: PathTarget, tmp_path: Path) -> None:
    async with carrying(relay) as carrier:
        listen = Listen("unix", "/run/far.sock", 0, 0)
        entry = Entry("far", (listen,), (str(tmp_path / "target.sock"),), arrivals="vps", sources=())
        await relay.control.set([entry])
        far = await carrier.arrive(1, entry.id, ("/run/far.sock", 0), None)
        server = await target.accept()
        await far.send(b"x")
        assert await server.exactly(1) == b"x"


@pytest.mark.parametrize("there", ["nothing", "nobody", "file"])
async def test_a_path_that_cannot_be_reached(relay: Relay, tmp_path: Path, there: str) -> None:
    path = tmp_path / "gone.sock"
    if there == "nobody":
        PathTarget(path).close()
    elif there == "file":
        path.write_text("no socket")
    entry = await relay.serve(0, targets=(str(path),))
    assert await turned_away(port_of(entry))
    assert (await relay.stats(entry))["failed"]["refused"] == 1


async def test_a_full_queue_is_waited_for(relay: Relay, tmp_path: Path) -> None:
    with PathTarget(tmp_path / "target.sock", 0) as target:
        entry = await relay.serve(0, targets=(str(tmp_path / "target.sock"),))
        clients = [await dial(port_of(entry)) for _ in range(4)]

        async def waiting() -> Any:
            states = [flow["state"] for flow in await relay.control.flows(entry.id)]
            return "dialling" in states and "open" in states

        await eventually(waiting)
        for client in clients:
            await client.send(b"x")
        for _ in range(4):
            server = await target.accept()
            assert await server.exactly(1) == b"x"
        for client in clients:
            client.close()


# -- files ----------------------------------------------------------------------------


def test_a_path_is_for_owner_and_group_only(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    before = os.umask(0)
    try:
        with open_path(str(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


def test_what_a_dead_process_left_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    open_path(str(path)).close()
    assert path.exists()
    assert look_at_path(str(path)) == 0
    with open_path(str(path)):
        assert look_at_path(str(path)) == errno.EADDRINUSE
        with pytest.raises(OSError, match="in use"):
            open_path(str(path))
        discard_path(str(path))
        assert path.exists()  # somebody listens there
    discard_path(str(path))
    assert not path.exists()
    discard_path(str(path))


def test_files_and_links_of_others_are_left_alone(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("precious")
    link.symlink_to(path)
    for each in (path, link):
        assert look_at_path(str(each)) == errno.EEXIST
        with pytest.raises(FileExistsError):
            open_path(str(each))
        discard_path(str(each))
    assert path.read_text() == "precious"
    assert look_at_path(str(tmp_path / "no" / "in.sock")) == errno.ENOENT
    assert look_at_path(str(path / "in.sock")) == errno.ENOTDIR
