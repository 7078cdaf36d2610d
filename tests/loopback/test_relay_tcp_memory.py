"""Flows free themselves: the worker runs without the cycle collector."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.half import Half
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.roster import Roster
from sekimori.planes.relay.service import key_of
from sekimori.planes.relay.shared import Shared
from sekimori.planes.relay.sockets import open_listen
from sekimori.planes.relay.tcp import TcpFlow

pytestmark = pytest.mark.loopback


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["client", "server", "reset", "refused"])
def test_nothing_of_a_flow_outlives_it(end: str) -> None:
    loop = Loop()
    shared = Shared(loop)
    roster = Roster(shared)
    target = socket.create_server(("127.0.0.1", 0))
    listen = Listen("tcp", "127.0.0.1", 0, target.getsockname()[1])
    sock = open_listen(listen)
    address = sock.getsockname()
    if end == "refused":
        target.close()
    roster.set(Entry("e", (listen,), ("127.0.0.1",)), {key_of(listen): sock})
    service = roster.services["e"]
    thread = threading.Thread(target=loop.run)
    thread.start()
    loop.soon(lambda: None)
    try:
        for _ in range(20):
            visit(address, target, end)
        deadline = time.monotonic() + 10
        while service.flows and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        loop.stop()
        socket.create_connection(address).close()  # wakes the loop
        thread.join(10)
        roster.close()
        shared.close()
        loop.close()
        target.close()
    assert service.counters.flows_total >= 20
    assert [one for one in gc.get_objects() if isinstance(one, (Half, TcpFlow))] == []


def visit(address: tuple[str, int], target: socket.socket, end: str) -> None:
    client = socket.create_connection(address)
    client.settimeout(10)
    if end == "refused":
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
        return
    server, _ = target.accept()
    server.settimeout(10)
    client.sendall(b"x" * 200_000)
    left = 200_000
    while left:
        left -= len(server.recv(left))
    first, last = (client, server) if end != "server" else (server, client)
    if end == "reset":
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.close()
        with pytest.raises(ConnectionResetError):
            last.recv(1)
    else:
        first.close()
        assert last.recv(1) == b""
    last.close()
