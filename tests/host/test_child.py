"""A process that is told what to do, and ends when it can be told no more."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from sekimori.host import child as child_module
from sekimori.host.child import Child, start
from sekimori.testing.peers import is_alive

_ECHO = """
import socket, sys
from sekimori.host.frames import FrameReader, Outbox

sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--control") + 1]))
reader, outbox = FrameReader(sock), Outbox(sock)
while reader.read():
    while (got := reader.next()) is not None:
        frame, fds = got
        if frame.get("op") == "garbage":
            sock.sendall(b"\\xff" * 8)
        outbox.put({**frame, "options": sys.argv[3:]}, fds)
        outbox.send()
"""
_DEAF = "import time\ntime.sleep(3600)\n"
_STUBBORN = _ECHO + "\nimport time\ntime.sleep(3600)\n"


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "echoing.py").write_text(_ECHO, encoding="utf-8")
    (tmp_path / "deaf.py").write_text(_DEAF, encoding="utf-8")
    (tmp_path / "stubborn.py").write_text(_STUBBORN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


class Heard:
    """Every frame that came, in order."""

    def __init__(self) -> None:
        self.frames: list[tuple[dict[str, Any], list[int]]] = []
        self._news = asyncio.Event()

    def __call__(self, frame: dict[str, Any], fds: list[int]) -> None:
        self.frames.append((frame, fds))
        self._news.set()

    async def next(self) -> tuple[dict[str, Any], list[int]]:
        async with asyncio.timeout(10):
            while not self.frames:
                self._news.clear()
                await self._news.wait()
        return self.frames.pop(0)


async def ended(child: Child) -> int:
    async with asyncio.timeout(10):
        return await child.wait()


async def test_frames_and_descriptors_go_both_ways() -> None:
    heard = Heard()
    child = await start("echoing", heard, ["--user", "1:2"])
    one, other = socket.socketpair()
    with other:
        child.tell({"op": "worker", "index": 4}, [one.detach()])
        frame, (back,) = await heard.next()
        assert frame == {"op": "worker", "index": 4, "options": ["--user", "1:2"], "fds": 1}
        with socket.socket(fileno=back) as returned:
            returned.send(b"x")
            assert other.recv(1) == b"x"
    await child.end()
    assert not is_alive(child.pid)


async def test_more_than_the_socket_takes_is_sent_as_it_is_read() -> None:
    heard = Heard()
    child = await start("echoing", heard)
    for number in range(50):
        child.tell({"n": number, "text": "x" * 100_000})
    for number in range(50):
        assert (await heard.next())[0]["n"] == number
    await child.end()


async def test_it_ends_with_its_channel_and_is_told_nothing_more() -> None:
    child = await start("echoing", Heard())
    await child.end()
    assert await ended(child) == 0
    one, other = socket.socketpair()
    with one, other:
        child.tell({"op": "worker"}, [os.dup(one.fileno())])
    await child.end()


async def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_FAREWELL", 0.1)
    child = await start("stubborn", Heard())
    await child.end()
    assert await ended(child) == -signal.SIGKILL


async def test_one_that_was_killed_is_known_to_have_ended() -> None:
    child = await start("echoing", Heard())
    os.kill(child.pid, signal.SIGKILL)
    assert await ended(child) == -signal.SIGKILL
    child.tell({"op": "x"})
    await child.end()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_LOOK", 0.05), ("_PING", 0.1), ("_SILENCE", 1.0), ("_START", 8.0)):
        monkeypatch.setattr(child_module, name, seconds)


@pytest.mark.usefixtures("impatient")
async def test_one_that_is_stopped_is_killed() -> None:
    heard = Heard()
    child = await start("echoing", heard)
    child.tell({"n": 1})
    await heard.next()
    os.kill(child.pid, signal.SIGSTOP)
    assert await ended(child) == -signal.SIGKILL
    await child.end()


@pytest.mark.usefixtures("impatient")
async def test_one_that_never_says_a_word_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_START", 0.5)
    child = await start("deaf", Heard())
    assert await ended(child) == -signal.SIGKILL
    await child.end()


@pytest.mark.usefixtures("impatient")
async def test_one_that_has_nothing_to_say_lives_on() -> None:
    heard = Heard()
    child = await start("echoing", heard)
    child.tell({"n": 1})
    await heard.next()
    await asyncio.sleep(2.5)  # longer than a silence that would end it
    assert is_alive(child.pid)
    assert heard.frames == []  # it was asked, and what it answered is nobody else's business
    await child.end()


async def test_one_that_does_not_keep_to_the_frames_is_ended() -> None:
    child = await start("echoing", Heard())
    child.tell({"op": "garbage"})
    assert await ended(child) == -signal.SIGTERM
    await child.end()


async def test_no_descriptor_is_left() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        child = await start("echoing", Heard())
        await child.end()
    after = set(os.listdir("/proc/self/fd"))
    assert len(after - before) <= 1  # listing takes one itself; a child watcher may keep none
