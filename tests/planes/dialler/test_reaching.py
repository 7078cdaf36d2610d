"""The direct dialler: every address is judged, the first to answer wins, and nothing is left open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sekimori.host.carrier import Dial, DialFailed, Dialled, Endpoint
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.target import Resolution
from sekimori.planes.dialler.race import STAGGER, connect
from sekimori.planes.dialler.reaching import AT_ONCE_EACH, Reacher

NAMES = {
    "rebound.example": ("127.0.0.1",),
    "mapped.example": ("::ffff:127.0.0.1",),
    "mixed.example": ("169.254.169.254", "::1", "127.0.0.1"),
    "home.example": ("192.0.2.7",),
    "written.example": ("0:0:0:0:0:0:0:1",),  # as a hosts file may have it
}


async def resolve(host: str) -> Resolution:
    """Names that are made up here."""
    if host not in NAMES:
        raise Problem("no-such-host", host=host, why=cause("name-unknown"))
    return Resolution(NAMES[host], 1.0)


class Bound:
    def __init__(self) -> None:
        self.at: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()

    def __call__(self, _dial: Dial, local: Endpoint) -> None:
        self.at.set_result(local)


def order(host: str, port: int, *, op: str = "dial", protocol: str = "tcp", rules=("*",), own=()) -> Dial:
    asked = {"rules": list(rules), "own": list(own)}
    return Dial(1, 0, "m1", op, protocol, host, port, ("192.0.2.1", 5555), ("192.0.2.2", 1080), asked)


async def reach(dial: Dial) -> Dialled:
    return await Reacher(resolve, Bound(), lambda: ()).serve(dial)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def untouched(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "rebound.example", "mapped.example", "mixed.example", "::1"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_a_name_that_leads_here_leads_nowhere(listener, host: str, protocol: str) -> None:
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order(host, listener.getsockname()[1], protocol=protocol))
    assert untouched(listener)


async def test_networks_of_this_machine_are_guarded() -> None:
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("home.example", 80, own=("192.0.2.0/24",)))


async def test_so_are_those_that_it_came_to_be_in_after_the_mapping_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks: list[str] = []
    reacher = Reacher(resolve, Bound(), lambda: tuple(networks))
    monkeypatch.setattr("sekimori.planes.dialler.reaching._LOOK_AFTER", 0.0)

    async def fate(host: str, *rules: str) -> str:
        try:
            (await reacher.serve(order(host, 9, protocol="udp", rules=rules))).sock.close()
        except DialFailed as failure:
            return failure.cause  # "unreachable" where this machine has no way anywhere
        return "reached"

    assert await fate("192.0.2.7", "*") in ("reached", "unreachable")
    networks.append("192.0.2.0/24")
    assert [await fate(host, "*") for host in ("192.0.2.7", "home.example")] == ["prohibited"] * 2
    assert await fate("192.0.2.7", "192.0.2.7") in ("reached", "unreachable")


async def test_without_rules_nothing_is_reached(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("127.0.0.1", port, rules=()))
    bare = Dial(1, 0, "m1", "dial", "tcp", "127.0.0.1", port, None, None, {})
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(bare)
    with pytest.raises(DialFailed, match="other"):
        await reach(order("127.0.0.1", port, rules=("no destination",)))
    assert untouched(listener)


async def test_only_the_allowed_addresses_of_a_name_are_tried(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    dialled = await reach(order("mixed.example", port, rules=("127.0.0.1",)))
    assert dialled.peer == ("127.0.0.1", port)
    assert dialled.local == dialled.sock.getsockname()
    dialled.sock.close()


async def test_a_name_may_be_what_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    dialled = await reach(order("rebound.example", port, rules=(f"rebound.example:{port}",)))
    dialled.sock.close()
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("rebound.example", port, rules=("rebound.example:1",)))
    with pytest.raises(DialFailed, match="prohibited"):  # whoever names it chooses its address
        await reach(order("rebound.example", port, rules=("*.example",)))


async def test_a_name_that_no_rule_lets_through_is_not_even_looked_up() -> None:
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("no-such.name", 80, rules=("*.example",)))
    with pytest.raises(DialFailed, match="unreachable"):
        await reach(order("no-such.name", 80))


async def test_why_a_place_was_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DialFailed, match="refused"):
        await reach(order("127.0.0.1", port, rules=("127.0.0.1",)))
    with pytest.raises(DialFailed, match="other"):
        await reach(order("rebound.example", 80, protocol="unix", rules=("127.0.0.1",)))


async def test_a_datagram_socket_is_connected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        dialled = await reach(
            order("rebound.example", target.getsockname()[1], protocol="udp", rules=("127.0.0.1",))
        )
        with dialled.sock as sock:
            sock.send(b"hello")
            assert target.recvfrom(10) == (b"hello", dialled.local)


async def test_bind_is_judged_for_every_port() -> None:
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("127.0.0.1", 0, op="bind", rules=("127.0.0.1:80",)))
    with pytest.raises(DialFailed, match="prohibited"):
        await reach(order("0.0.0.0", 0, op="bind"))


async def test_a_bind_that_is_given_up_leaves_no_port() -> None:
    bound = Bound()
    reacher = Reacher(resolve, bound, lambda: ())
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(reacher.serve(order("127.0.0.1", 0, op="bind", rules=("127.0.0.1",))))
        local = await bound.at
        waiting.cancel()
    with socket.socket() as sock:
        assert sock.connect_ex(local) == errno.ECONNREFUSED


async def test_a_bind_knows_its_peer_however_its_address_is_written() -> None:
    bound = Bound()
    reacher = Reacher(resolve, bound, lambda: ())
    asked = order("written.example", 0, op="bind", rules=("written.example",))
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(reacher.serve(asked))
        local = await bound.at
        peer = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        await asyncio.get_running_loop().sock_connect(peer, local)
    with peer, waiting.result().sock:
        assert waiting.result().peer == peer.getsockname()[:2]


async def test_one_source_leaves_room_for_the_others() -> None:
    asked = asyncio.Event()

    async def never(_host: str) -> Resolution:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    reacher = Reacher(never, Bound(), lambda: ())
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(reacher.serve(order("slow.example", 80))) for _ in range(AT_ONCE_EACH)]
        await asked.wait()
        with pytest.raises(DialFailed, match="down"):
            await reacher.serve(order("slow.example", 80))
        other = replace(order("192.0.2.7", 80), source=("192.0.2.8", 1), asked={})
        with pytest.raises(DialFailed, match="prohibited"):  # it has its turn
            await reacher.serve(other)
        for each in waiting:
            each.cancel()
    with pytest.raises(DialFailed, match="prohibited"):
        await reacher.serve(replace(other, source=("192.0.2.1", 5555)))


# -- the race --------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where a connection is neither taken nor refused: its queue is full."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.9", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.9", port))
        yield f"127.0.0.9 {port}"


async def test_a_silent_address_does_not_hold_up_the_next(silent: str) -> None:
    address, port = silent.split()
    before = descriptors()
    with socket.create_server(("127.0.0.1", int(port))):
        began = asyncio.get_running_loop().time()
        with await connect((address, "127.0.0.1"), int(port)) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert asyncio.get_running_loop().time() - began >= STAGGER
    assert descriptors() == before


async def test_a_refusal_starts_the_next_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        began = asyncio.get_running_loop().time()
        (await connect(("127.0.0.8", "127.0.0.7", "127.0.0.1"), port)).close()
        assert asyncio.get_running_loop().time() - began < STAGGER


async def test_of_all_failures_the_telling_one_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DialFailed, match="refused"):
        await connect(("127.0.0.1", "255.255.255.255"), port)


async def test_a_race_that_is_cancelled_leaves_nothing(silent: str) -> None:
    address, port = silent.split()
    before = descriptors()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(STAGGER * 1.5):
            await connect((address, address, address), int(port))
    assert descriptors() == before
