"""The SSH door with the gate, the ledger and a real relay, and stock ssh as its client."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from sekimori.doors.api.feed import Feed
from sekimori.doors.ssh.door import SshDoor
from sekimori.ledger.store import Ledger
from sekimori.model.door import Door, DoorName, EnableDoor
from sekimori.model.events import Event
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Mapping
from sekimori.model.user import PutUser, RemoveUser, User
from sekimori.planes.link.plane import LinkPlane
from sekimori.planes.relay.plane import RelayPlane
from sekimori.testing.clock import FakeClock
from sekimori.testing.inside import FakeInside
from sekimori.testing.peers import Talker
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import make_key
from sekimori.testing.world import ALICE, World

DEADLINE = 10.0


def why_not() -> str | None:
    """Why it cannot be tried here; None where it can."""
    return None if shutil.which("ssh") else "no OpenSSH client is installed"


class Tape(list[Event]):
    """Events as they are kept, and passed on."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def append(self, event: Event) -> None:
        super().append(event)
        self._feed.publish(event)


class DoorWorld(World):
    """A `World` whose relay and links are the real ones."""

    def __init__(self, directory: Path) -> None:
        self.feed = Feed()
        self.relay = RelayPlane(directory, 2, None)
        super().__init__(plane=self.relay, clock=FakeClock(time.time()))  # type: ignore[arg-type]

    def _join(self, ledger: Ledger) -> None:
        self.events = Tape(self.feed)
        self.link_plane = LinkPlane(lambda: self.ledger.snapshot.links, self.relay, self.clock)
        self.links = self.link_plane  # type: ignore[assignment]
        super()._join(ledger)
        self.link_plane.on_change = self.engine.wake
        self.relay.on_change = lambda: self.engine.wake()


class Inside(FakeInside):
    def __init__(self, world: DoorWorld, directory: Path) -> None:
        super().__init__(world, directory)
        self._feed = world.feed

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._feed.subscribe()


class Accounts:
    """What users have carried, and who has used up the quota, as a test says.

    Attributes:
        bytes: by user.
        names: those who have used it up.
    """

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.names: set[str] = set()

    def carried(self, user: str, count: int) -> None:
        self.bytes[user] += count

    def used_up(self) -> frozenset[str]:
        return frozenset(self.names)


class Rig:
    """A door, and what its clients need.

    Attributes:
        port: of the door, on 127.0.0.1.
        first: the first of ten ports that may be granted.
    """

    def __init__(self, world: DoorWorld, directory: Path, keys: Path | None = None, **grant: object) -> None:
        self.world = world
        self.directory = directory
        self.port = free_ports()
        self.first = free_ports(10)
        self.inside = Inside(world, directory)
        listen = (f"127.0.0.1:{self.port}",)
        self.setting = Door(
            door=DoorName.SSH,
            owner=ALICE.actor,
            interfaces=(),
            listen=listen,
            authorized_keys="" if keys is None else str(keys),
            grant=parse_grant(grant) if grant else None,
        )
        self.clients: list[Client] = []
        self.accounts = Accounts()
        self.door = self.make_door()

    def make_door(self, exempt: tuple[str, ...] = ("127.0.0.0/8",)) -> SshDoor:
        return SshDoor(
            self.setting,
            self.world.gate,
            self.inside,
            carriers=self.world.relay,
            presence=self.world.link_plane,
            accounts=self.accounts,
            user=_nobody(),
            exempt=exempt,
        )

    @property
    def ports(self) -> str:
        return f"{self.first}-{self.first + 9}"

    def key(self, name: str) -> Path:
        path = self.directory / f"key-{name}"
        return path if path.exists() else make_key(path)

    def public(self, name: str) -> str:
        return Path(f"{self.key(name)}.pub").read_text().strip()

    def why(self, name: str) -> str:
        """The code of why a mapping is not real; "" where it is."""
        problem = self.world.status(name).problem
        return "" if problem is None else problem.code

    async def put_user(self, name: str, options: str = "", **grant: object) -> None:
        """Let a user in, by a key of the user's name."""
        line = f"{options} {self.public(name)}".strip()
        words = {"ports": self.ports, "from": "127.0.0.0/8", **grant}
        user = User(
            name=name, owner=ALICE.actor, keys=(line,), grant=parse_grant(words), created_at=int(time.time())
        )
        await self.world.ask(PutUser(user))

    async def remove_user(self, name: str) -> None:
        await self.world.ask(RemoveUser(name))

    def ssh(self, *words: str, key: str = "alice", **more: Any) -> Client:
        """Run ssh against the door."""
        return self.run("ssh", *words, *self.options(key), "door@127.0.0.1", **more)

    def run(self, *words: str, **more: Any) -> Client:
        """Run any program."""
        self.clients.append(Client([*words], **more))
        return self.clients[-1]

    def options(self, key: str = "alice") -> list[str]:
        told = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "INFO",
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "IdentitiesOnly": "yes",
            "ConnectTimeout": "10",
        }
        pairs = [word for name, value in told.items() for word in ("-o", f"{name}={value}")]
        return ["-F", "none", "-p", str(self.port), "-i", str(self.key(key)), *pairs]

    def port_of(self, name: str) -> Mapping:
        found = self.world.named(name)
        assert found is not None, name
        return found

    def sessions(self) -> int:
        return len(self.door.facts().sessions)


class Client:
    """An ssh process."""

    def __init__(self, words: list[str], **more: Any) -> None:
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = ""

    def read(self) -> str:
        assert self.process.stdout is not None
        self.said += (self.process.stdout.read() or b"").decode(errors="replace")
        return self.said

    async def says(self, *words: str, deadline: float = DEADLINE) -> str:
        """Wait until it has said all of these."""
        try:
            await until(lambda: all(word in self.read() for word in words), deadline)
        except AssertionError:
            raise AssertionError(f"it did not say {words}, but:\n{self.read()}") from None
        return self.said

    async def ends(self, deadline: float = DEADLINE) -> int:
        """Its exit code."""
        await until(lambda: self.process.poll() is not None, deadline)
        self.read()
        return int(self.process.returncode)

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.thaw()
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


async def until(condition: Callable[[], object], deadline: float = DEADLINE) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)


async def dials(port: int, data: bytes = b"hello", address: str = "127.0.0.1") -> bytes:
    """What an echo behind a port returns; empty where nobody answers."""

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            writer.write(data)
            return await reader.readexactly(len(data))
        finally:
            writer.close()

    try:
        async with asyncio.timeout(DEADLINE):
            return await talk()
    except (OSError, asyncio.IncompleteReadError):
        return b""


async def until_dials(port: int) -> None:
    """Wait until an echo answers behind a port."""
    end = time.monotonic() + DEADLINE
    while await dials(port) != b"hello":
        assert time.monotonic() < end, "no echo answered in time"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def rigged(
    directory: Path,
    *,
    users: Iterable[str] = ("alice",),
    keys: Path | None = None,
    exempt: tuple[str, ...] = ("127.0.0.0/8",),
    **grant: object,
) -> AsyncIterator[Rig]:
    """A door that answers."""
    world = DoorWorld(directory / "r")
    (directory / "r").mkdir(exist_ok=True)
    rig = Rig(world, directory, keys, **grant)
    rig.door = rig.make_door(exempt)
    await world.relay.start(1.0)
    try:
        async with world.running():
            await world.ask(EnableDoor(rig.setting))
            for user in users:
                await rig.put_user(user)
            async with running(rig):
                yield rig
    finally:
        for client in rig.clients:
            client.close()
        await world.relay.stop(leave=False)
        world.close()


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    """The rig's door, for the length of the block."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.door.run())
        await until(lambda: rig.door._is_ready)
        try:
            yield
        finally:
            task.cancel()


def _nobody() -> tuple[int, int] | None:
    return (65534, 65534) if os.geteuid() == 0 else None


__all__ = ["Client", "Rig", "Talker", "dials", "rigged", "running", "until", "until_dials", "why_not"]
