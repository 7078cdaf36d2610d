"""The socket: made, guarded, replaced when stale, and removed."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

from sekimori.doors.api.server import bind_socket
from sekimori.model.errors import Problem

if TYPE_CHECKING:
    from tests.doors.api.conftest import Served, Serving, World

pytestmark = pytest.mark.loopback

WEB = {"ports": "8080:80", "to": "192.168.1.5", "from": "198.51.100.0/24", "name": "web"}


@pytest.mark.parametrize("mode", [0o660, 0o666, 0o600])
def test_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        with bind_socket(tmp_path / "s", mode=mode):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a socket away")
def test_group(tmp_path: Path) -> None:
    with bind_socket(tmp_path / "s", group=4321):
        assert (tmp_path / "s").stat().st_gid == 4321


def test_its_directory_is_made_and_the_socket_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "sekimori" / "s"
    with bind_socket(path):
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()
    assert path.parent.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    with bind_socket(tmp_path / "s"), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "s"))


def test_a_socket_that_answers_is_not_replaced(tmp_path: Path) -> None:
    with bind_socket(tmp_path / "s") as first:
        with pytest.raises(Problem) as caught, bind_socket(tmp_path / "s"):
            pass
        assert (caught.value.code, caught.value.facts["pid"]) == ("state-in-use", os.getpid())
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(tmp_path / "s"))
            first.accept()[0].close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(Problem) as caught, bind_socket(tmp_path / "s"):
        pass
    assert caught.value.code == "state-unusable"
    assert (tmp_path / "s").read_text() == "precious"


def test_a_symlink_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Problem), bind_socket(tmp_path / "s"):
        pass
    assert (tmp_path / "s").is_symlink()


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught, bind_socket(tmp_path / ("x" * 120)):
        pass
    assert caught.value.code == "state-unusable"
    assert "too long" in str(caught.value)


def test_a_successor_s_socket_is_not_removed(tmp_path: Path) -> None:
    with bind_socket(tmp_path / "s"):
        (tmp_path / "s").unlink()
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(tmp_path / "s"))
    assert (tmp_path / "s").exists()
    successor.close()


def test_a_socket_that_somebody_removed_is_no_fault(tmp_path: Path) -> None:
    with bind_socket(tmp_path / "s"):
        (tmp_path / "s").unlink()


async def test_a_second_daemon_is_refused_and_the_first_serves_on(
    served: Served, serving: Serving, make_world: Callable[[], World]
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(make_world(), served.path):
            pass
    assert caught.group_contains(Problem, match="another daemon")
    assert (await served.call(served.client.status))["version"] == "1.2.3"


async def test_a_call_under_way_is_answered_before_the_end(
    serving: Serving, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    within = world.gate_within.enact

    async def slow(*asked: object) -> object:
        begun.set()
        await release.wait()
        return await within(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(world, "enact", slow)
    async with serving(world, tmp_path / "s") as served:
        call = asyncio.gather(served.call(served.client.open, WEB))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, release.set)
    assert (await call)[0]["revision"] == 1
    assert not (tmp_path / "s").exists()


async def test_a_call_that_does_not_end_is_given_up(
    serving: Serving, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def stuck(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("sekimori.doors.api.server._GRACE", 0.05)
    monkeypatch.setattr(world, "enact", stuck)
    async with asyncio.timeout(5):
        async with serving(world, tmp_path / "s") as served:
            call = asyncio.gather(served.call(served.client.open, WEB), return_exceptions=True)
            await begun.wait()
    assert isinstance((await call)[0], Problem)


async def test_one_connection_carries_many_calls(served: Served) -> None:
    reader, writer = await asyncio.open_unix_connection(str(served.path))
    for _ in range(3):
        writer.write(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("content-length"))
        assert b'"version":"1.2.3"' in await reader.readexactly(int(length))
        assert "server:" not in head
    writer.close()


async def test_what_is_not_http_is_refused_and_harms_nobody(served: Served) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01" * 50 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 500):
        reader, writer = await asyncio.open_unix_connection(str(served.path))
        writer.write(noise)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert (await served.call(served.client.status))["version"] == "1.2.3"


async def test_idle_connections_do_not_hold_up_the_end(
    serving: Serving, world: World, tmp_path: Path, until: Callable[..., Awaitable[None]]
) -> None:
    async with asyncio.timeout(5), serving(world, tmp_path / "s") as served:
        idle = [await asyncio.open_unix_connection(str(served.path)) for _ in range(5)]
    for reader, writer in idle:
        assert await reader.read() == b""
        writer.close()


def test_it_serves_on_the_loop_of_the_daemon_too(
    serving: Serving, make_world: Callable[..., World], tmp_path: Path
) -> None:
    """uvloop has sockets, servers and transports of its own."""

    async def run() -> None:
        world = make_world()
        async with serving(world, tmp_path / "s") as served:
            events = served.client.events()
            assert (await served.call(next, events))[0] == "hello"
            outcome = await served.call(served.client.open, WEB)
            assert outcome["mappings"][0]["owner"] == str(world.contexts[0].actor)
            assert (await served.call(next, events))[0] == "committed"
            _, idle = await asyncio.open_unix_connection(str(served.path))
        assert [name for name, _ in events] == ["status"]
        idle.close()
        assert not (tmp_path / "s").exists()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(run(), 20))
