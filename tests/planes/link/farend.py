"""A link's process and the far end behind it, in this process: it keeps the same contract as the real ones
(`test_contract`, `tests/loopback/test_link_plane.py`), and does what tests tell it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from sekimori.model.link import Link, SshPlace
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.planes.link.keeper import Running
from sekimori.planes.link.plane import LinkPlane
from sekimori.testing.clock import FakeClock

WORKER = 3


def link_named(name: str, **given: Any) -> Link:
    return Link(
        name=name,
        owner=Owner(OwnerKind.PERSON, "alice"),
        place=SshPlace.parse(f"ssh://alice@{name}.example"),
        **given,
    )


class FarEnd:
    """One link's process.

    Attributes:
        told: every frame, in order.
        listens: what it listens on, by host and port (or path), with the mapping and key it is for.
        busy: ports that others have at the far end.
        mute: it does not answer to listens.
    """

    def __init__(self, lab: Lab, hear: Callable[[dict[str, Any], list[int]], None], number: int) -> None:
        self.pid = number
        self.told: list[dict[str, Any]] = []
        self.channels: dict[int, socket.socket] = {}
        self.listens: dict[tuple[str, str, int], tuple[str, str]] = {}
        self._lab = lab
        self._hear = hear
        self._code: int | None = None
        self._ended = asyncio.Event()
        self._up = False

    def tell(self, message: dict[str, Any], fds: Iterable[int] = ()) -> None:
        owned = list(fds)
        if self._ended.is_set():
            for fd in owned:
                os.close(fd)
            return
        self.told.append(message)
        match message["op"]:
            case "worker":
                self.channels[message["index"]] = socket.socket(fileno=owned[0])
            case "start" if self._lab.answers:
                self.say_state("up")
            case "listen":
                if self._up and not self._lab.mute:
                    self._listen(message)
            case "unlisten":
                kept = {key: value for key, value in self.listens.items() if value[0] != message["id"]}
                self.listens = kept

    async def wait(self) -> int:
        await self._ended.wait()
        return self._code or 0

    async def end(self) -> None:
        self.die(0)

    # -- what tests have it do -------------------------------------------------------------------

    def die(self, code: int) -> None:
        if not self._ended.is_set():
            self._code = code
            self._ended.set()
            self.listens.clear()
            for channel in self.channels.values():
                channel.close()

    def say(self, **frame: Any) -> None:
        self._soon(frame)

    def say_state(self, phase: str, **more: Any) -> None:
        self._up = phase == "up"
        self._soon({"op": "state", "phase": phase, "since": 1.0, "sekimori": self._lab.sekimori, **more})
        if self._up:
            for message in [each for each in self.told if each["op"] == "listen"]:
                self._listen(message)
        else:
            self.listens.clear()

    def ops(self, *names: str) -> list[str]:
        return [each["op"] for each in self.told if not names or each["op"] in names]

    def _listen(self, message: Mapping[str, Any]) -> None:
        key = (message["protocol"], message["host"], message["port"])
        name = {"id": message["id"], "port_key": message["port_key"]}
        if message["port"] in self._lab.busy or self.listens.get(key, (message["id"],))[0] != message["id"]:
            self._soon({"op": "unable", **name, "code": "unexpected", "facts": {"what": "taken"}})
            return
        self.listens[key] = (message["id"], message["port_key"])
        self._soon({"op": "listening", **name, "port": message["port"]})

    def _soon(self, frame: dict[str, Any]) -> None:
        asyncio.get_running_loop().call_soon(lambda: self._ended.is_set() or self._hear(frame, []))


class Lab:
    """A plane with links, whose processes are far ends of tests.

    Attributes:
        ends: every process that was started, by link, the latest last.
        answers: links come up as they are started.
        attached: the names the relay has carriers by.
    """

    def __init__(self, *names: str) -> None:
        self.links: dict[str, Link] = {name: link_named(name) for name in names}
        self.ends: list[FarEnd] = []
        self.answers = True
        self.sekimori = True
        self.mute = False
        self.busy: set[int] = set()
        self.attached: dict[str, Callable[[int, socket.socket], None]] = {}
        self.changed: list[list[str]] = []
        self.clock = FakeClock()
        self.plane = LinkPlane(lambda: self.links, self, self.clock, self._launch)
        self.plane.on_change = lambda ids: self.changed.append(list(ids))

    @property
    def end(self) -> FarEnd:
        return self.ends[-1]

    def phase(self, name: str = "vps") -> str | None:
        """How a link is; None of one that is not kept."""
        facts = self.plane.told().get(name)
        return None if facts is None else str(facts.phase)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.plane.run())
            try:
                yield
            finally:
                task.cancel()

    # -- Carriers ------------------------------------------------------------------------------

    async def attach(self, name: str, take: Callable[[int, socket.socket], None]) -> None:
        await asyncio.sleep(0)
        self.attached[name] = take
        self.give(name)

    async def detach(self, name: str) -> None:
        await asyncio.sleep(0)
        self.attached.pop(name, None)

    def home_of(self, mapping_id: str) -> int:
        return WORKER

    def give(self, name: str) -> None:
        """As when a worker is started."""
        ours, theirs = socket.socketpair()
        ours.close()
        self.attached[name](WORKER, theirs)

    async def _launch(self, hear: Callable[[dict[str, Any], list[int]], None]) -> Running:
        self.ends.append(FarEnd(self, hear, len(self.ends) + 1))
        return self.end


async def settled(condition: Callable[[], object]) -> None:
    """Until a condition holds that the loop brings about."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - all of it has no one event
            await asyncio.sleep(0)
