"""A daemon's inside without its outside: the real gate, ledger and engine over the memory plane."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sekimori.client import Client
from sekimori.doors.api.access import Access
from sekimori.doors.api.app import create_app
from sekimori.doors.api.feed import Feed
from sekimori.doors.api.hostkeys import fingerprint_of
from sekimori.doors.api.ports import Doctor, LinkTried, RouterTold
from sekimori.doors.api.server import serve
from sekimori.doors.api.stream import Pace
from sekimori.gate import LocalGate, Outcome
from sekimori.gate.confirm import Waiting
from sekimori.gate.refusals import Refusal, Refusals
from sekimori.ledger.journal import Revision
from sekimori.ledger.store import Ledger
from sekimori.model.actual import Counters, Flow, SourceUse, Status
from sekimori.model.address import IPNetwork
from sekimori.model.decision import Notice
from sekimori.model.door import DoorName
from sekimori.model.errors import Problem
from sekimori.model.events import Event
from sekimori.model.judging import judge
from sekimori.model.lifetime import Lifetime
from sekimori.model.line import Inputs, Line
from sekimori.model.link import Link
from sekimori.model.linkfacts import HostKey, KeyStanding, LinkFacts, LinkTest, SshFacts
from sekimori.model.pending import Pending
from sekimori.model.request import Ask, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import Resolution
from sekimori.model.words import Reading
from sekimori.planes.memory import MemoryPlane
from sekimori.policy.machine import Machine
from sekimori.policy.rules import Rules
from sekimori.presets.load import Presets, load_presets
from sekimori.reconcile.desired import Desired
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.engine import GROUND, Engine
from sekimori.reconcile.names import Names
from sekimori.reconcile.ports import Plane
from sekimori.reconcile.writer import Writer
from sekimori.testing.clock import FakeClock
from sekimori.testing.lan import FakeLan
from sekimori.testing.machine import FakeMachine
from sekimori.testing.world import FakeRouter
from tests.observe.diagnose.ward import Ward

PRESETS = load_presets()


class Hosts:
    """A resolver that knows one name."""

    async def resolve(self, host: str) -> Resolution:
        return Resolution(("192.168.1.9",), 60)


def known_keys(link: Link) -> Sequence[HostKey]:
    """The same key, known to the daemon's user, of every server that a link goes through."""
    blob = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + b"\x01" * 32).decode()
    places = (*link.jump, link.place)
    seal = fingerprint_of(blob)
    return [HostKey(str(place), "ssh-ed25519", blob, seal, KeyStanding.KNOWN) for place in places]


@dataclass
class Servers:
    """SSH servers elsewhere, as who keeps links would find them.

    `keys` is what each link as it is asked for shows, or why it shows nothing; `scanned` who was asked.
    """

    facts: dict[str, LinkFacts] = field(default_factory=dict)
    keys: Callable[[Link], Sequence[HostKey]] = known_keys
    tried: LinkTest = field(default_factory=LinkTest)
    scanned: list[Link] = field(default_factory=list)

    def told(self) -> Mapping[str, LinkFacts]:
        return self.facts

    async def scan(self, link: Link) -> Sequence[HostKey]:
        self.scanned.append(link)
        return self.keys(link)

    async def test(self, link: Link) -> LinkTest:
        return self.tried


@dataclass
class World:
    """A gate, and views of it. `raises` is what the gate meets with instead of doing its work."""

    ledger: Ledger
    gate_within: LocalGate
    engine: Engine
    clock: FakeClock
    feed: Feed
    plane: MemoryPlane
    presets: Presets = PRESETS
    raises: Exception | None = None
    contexts: list[Context] = field(default_factory=list)
    measured: dict[str, Counters] = field(default_factory=dict)
    flow_list: list[Flow] = field(default_factory=list)
    source_list: list[SourceUse] = field(default_factory=list)
    facts: FakeMachine = field(default_factory=FakeMachine)
    killed: list[tuple[str | None, IPNetwork | None]] = field(default_factory=list)
    synced: list[tuple[str | None, str | None, Context, bool]] = field(default_factory=list)
    closed: dict[DoorName, dict[str, Problem]] = field(default_factory=dict)
    refused: Refusals = field(default_factory=Refusals)
    judged: list[Inputs] = field(default_factory=list)
    routers: list[RouterTold] = field(default_factory=list)
    above: FakeRouter = field(default_factory=FakeRouter)
    servers: Servers = field(default_factory=Servers)
    ssh: SshFacts = field(default_factory=SshFacts)
    doctor: Doctor = field(default_factory=lambda: Ward(Path("/nonexistent")).clinic)

    # -- the gate ----------------------------------------------------------------

    async def enact(self, asks: Sequence[Ask], context: Context) -> Outcome:
        self._meet(context)
        return await self.gate_within.enact(asks, context)

    async def explain(self, asks: Sequence[Ask], context: Context) -> Outcome:
        self._meet(context)
        return await self.gate_within.explain(asks, context)

    async def undo(
        self, revision: int | None, context: Context, *, lifetime: Lifetime | None = None, plan: bool = False
    ) -> Outcome:
        self._meet(context)
        return await self.gate_within.undo(revision, context, lifetime=lifetime, plan=plan)

    async def confirm(self, context: Context) -> tuple[Pending, ...]:
        self._meet(context)
        return await self.gate_within.confirm(context)

    @property
    def waiting(self) -> Waiting:
        return self.gate_within.waiting

    def _meet(self, context: Context) -> None:
        self.contexts.append(context)
        if self.raises is not None:
            raise self.raises

    # -- the views -----------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        return self.facts.machine

    def door_problems(self) -> Mapping[DoorName, Mapping[str, Problem]]:
        return self.closed

    def refusals(self) -> Sequence[Refusal]:
        return self.refused.newest()

    def ground_problem(self) -> Problem | None:
        return self.engine.problem(GROUND)

    async def kill(self, mapping_id: str | None, source: IPNetwork | None) -> int:
        self.killed.append((mapping_id, source))
        return 3

    @property
    def links(self) -> LinkTried:
        return self.servers

    def ssh_door(self) -> SshFacts:
        return self.ssh

    def snapshot(self) -> Snapshot:
        return self.ledger.snapshot

    def status_of(self, mapping_id: str) -> Status:
        return self.engine.status(mapping_id)

    def line(self) -> Line:
        return judge(self.judged[0] if self.judged else Inputs(self.clock.now()))

    def lines(self) -> Sequence[Line]:
        return [judge(each) for each in self.judged]

    def router_facts(self) -> Sequence[RouterTold]:
        return self.routers

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        return self.measured

    async def flows(self, mapping_id: str) -> Sequence[Flow]:
        return self.flow_list

    async def sources(self, mapping_id: str) -> Sequence[SourceUse]:
        return self.source_list

    def history(
        self, *, limit: int = 50, before: int | None = None, subject: str | None = None
    ) -> Sequence[Revision]:
        return self.ledger.history(limit=limit, before=before, subject=subject)

    def reading(self) -> Reading:
        return Reading(
            self.clock.now(), "Asia/Tokyo", self.presets.get, self.presets.suggest, lambda: bytes(16)
        )

    def about(self) -> dict[str, Any]:
        return {"version": "1.2.3", "pid": os.getpid(), "started_at": self.clock.now(), "zone": "Asia/Tokyo"}

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self.feed.subscribe()

    async def sync(
        self, path: str | None, text: str | None, context: Context, plan: bool
    ) -> tuple[Outcome, tuple[Notice, ...]]:
        self._meet(context)
        self.synced.append((path, text, context, plan))
        return Outcome(plan, None, ()), (Notice("expired", "left out", "省きました"),)

    def export(self) -> str:
        return '# 関守\n[mappings.web]\nports = "8080"\n'


def make_world(depth: int = 1000) -> World:
    clock, feed = FakeClock(), Feed(depth)
    ledger = Ledger.open(Path("/nonexistent"), memory=True)
    writer = Writer(ledger, feed.publish)
    plane, above = MemoryPlane(), FakeRouter()
    above.stands = False
    planes: dict[str, Plane] = {"relay": plane, "router": above}
    names = Names(Hosts(), clock, lambda _host: None)
    devices = Devices(FakeLan(), clock, lambda _target: None)
    desired = Desired(lambda: ledger.snapshot, names, devices, planes, grace=30)
    engine = Engine(writer, planes, clock, desired, feed.publish)
    numbers = itertools.count(1)
    facts = FakeMachine()
    rules = Rules(
        lambda: f"m{next(numbers)}", PRESETS.danger_for, (plane,), machine=facts.machine, router=above
    )
    gate = LocalGate(writer, engine, planes, names, devices, clock, rules)
    return World(ledger, gate, engine, clock, feed, plane, facts=facts, above=above)


@pytest.fixture
def world() -> World:
    return make_world()


@dataclass
class Served:
    """An API on a real unix socket, and a client of it."""

    world: World
    path: Path
    client: Client

    async def call(self, method: Callable[..., Any], *args: Any, **words: Any) -> Any:
        """Run a call of the synchronous client beside the loop that serves it."""
        return await asyncio.to_thread(method, *args, **words)

    async def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Bytes in, and the status, headers and body of the one answer out."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            writer.write(request)
            with suppress(ConnectionError):  # an answer may come before all was read
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
        finally:
            writer.close()
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), headers, body

    async def send(
        self, method: str, path: str, body: Any = None, language: str = "en", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """One call with an exact body (bytes, or what becomes JSON)."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        said = {"accept-language": language, "content-length": str(len(content))}
        said |= {"content-type": "application/json"} if body is not None else {}
        said |= {key.replace("_", "-"): value for key, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.0", "host: x", *(f"{key}: {value}" for key, value in said.items())]
        status, answered, text = await self.raw("\r\n".join([*lines, "", ""]).encode() + content)
        kind = answered.get("content-type", "")
        return status, answered, json.loads(text) if "json" in kind else text.decode()


Serving = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def serving(
    world: World, path: Path, access: Access | None = None, pace: Pace | None = None, mode: int = 0o660
) -> AsyncIterator[Served]:
    """Serve a world on a socket for as long as the context lasts."""
    app = create_app(world, world, access or Access(os.geteuid()), pace=pace)
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(app, path, mode=mode, started=ready.set))
        waiting = group.create_task(ready.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=10)
        waiting.cancel()
        if task.done():
            await task
        try:
            yield Served(world, path, Client(path, timeout=10))
        finally:
            task.cancel()


@pytest.fixture
async def served(world: World, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(world, tmp_path / "s") as api:
        yield api


@pytest.fixture(name="serving")
def serving_fixture() -> Serving:
    return serving


@pytest.fixture(name="make_world")
def make_world_fixture() -> Callable[..., World]:
    return make_world


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - a condition of any sort has no event
            await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    return until
