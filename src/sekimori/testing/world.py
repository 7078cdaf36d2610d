"""The deciding half joined as the daemon joins it, on a plane and a clock that tests own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Final

from sekimori.gate.local import LocalGate
from sekimori.gate.ports import Outcome
from sekimori.ledger.reading import read_standing
from sekimori.ledger.store import Ledger
from sekimori.model.actual import Status
from sekimori.model.causes import Text
from sekimori.model.errors import Problem
from sekimori.model.events import Committed, Event
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Ask, Change, Close, Context, Renew, Submit, Wish
from sekimori.model.target import Resolution, Target, TargetKind
from sekimori.model.words import Reading, parse_wish
from sekimori.planes.memory import MemoryPlane
from sekimori.policy.rules import Rules
from sekimori.presets.load import Presets
from sekimori.reconcile.desired import Desired
from sekimori.reconcile.devices import Devices
from sekimori.reconcile.engine import Engine
from sekimori.reconcile.names import Names
from sekimori.reconcile.writer import Writer
from sekimori.testing.clock import FakeClock
from sekimori.testing.lan import FakeLan
from sekimori.testing.machine import FakeMachine

__all__ = ["ALICE", "FILE", "FakeResolver", "FakeRouter", "World", "reading_at", "wish_at"]

ALICE: Final = Context(Owner(OwnerKind.PERSON, "alice"), "api", "a test")
FILE: Final = Context(Owner(OwnerKind.FILE, "/etc/sekimori/sekimori.toml"), "file")
GRACE: Final = 10.0
_SALTS: Final = count(1)


def _salt() -> bytes:
    return bytes(next(_SALTS).to_bytes(16, "big"))


def reading_at(now: float, presets: Presets | None = None, zone: str = "UTC") -> Reading:
    """What reading words takes, at `now`."""
    if presets is None:
        return Reading(now, zone, lambda _name: None, salt=_salt)
    return Reading(now, zone, presets.get, presets.suggest, _salt)


def wish_at(now: float, words: dict[str, object], presets: Presets | None = None) -> Wish:
    """The wish in words; `from_` and `for_` stand for those that Python keeps for itself."""
    return parse_wish({key.rstrip("_"): value for key, value in words.items()}, reading_at(now, presets))


class FakeResolver:
    """Knows the hosts it was told of.

    Attributes:
        hosts: addresses by name; a host that is missing cannot be found.
        ttl: seconds that every answer may be believed.
        asked: every look-up, in order.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, tuple[str, ...]] = {}
        self.ttl = 60.0
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Resolution:
        """The addresses of `host`.

        Raises:
            Problem: `no-such-host`.
        """
        self.asked.append(host)
        await asyncio.sleep(0)  # a real one gives way too
        if host not in self.hosts:
            raise Problem("no-such-host", host=host, why="nobody told of it")
        return Resolution(self.hosts[host], self.ttl)


class FakeRouter(MemoryPlane):
    """The plane of a router before this machine, which can be taken away.

    Attributes:
        stands: whether there is one that answers.
        silent: whether there is one that does not answer now.
        unfit: why it can make nothing; None while it can.
    """

    def __init__(self) -> None:
        super().__init__("router")
        self.stands = True
        self.silent = False
        self.unfit: Text | None = None

    def unable(self, mapping: Mapping) -> Text | None:
        """Able to hold anything, unless told otherwise."""
        return self.unfit

    def stands_before(self) -> bool:
        """Whether there is one that answers."""
        return self.stands and not self.silent

    def has_gone(self) -> bool:
        """Whether there is none."""
        return not self.stands


class World:
    """One daemon's deciding half. `reopen` is a crash and a start: only ledger and plane are kept."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        clock: FakeClock | None = None,
        plane: MemoryPlane | None = None,
        presets: Presets | None = None,
        longest: int | None = None,
        router: FakeRouter | None = None,
    ) -> None:
        self.router = router
        self.clock = clock or FakeClock()
        self.plane = plane or MemoryPlane()
        self.links = MemoryPlane("link")
        self.resolver = FakeResolver()
        self.machine = FakeMachine()
        self.lan = FakeLan()
        self.presets = presets
        self.events: list[Event] = []
        self._directory = directory
        self._longest = longest
        self._ids = count(1)
        self._join(Ledger.open(directory or Path(), memory=directory is None))

    def _join(self, ledger: Ledger) -> None:
        planes = {each.name: each for each in (self.plane, self.links, self.router) if each is not None}
        self.ledger = ledger
        self.writer = Writer(ledger, self.events.append)
        self.names = Names(self.resolver, self.clock, self._renamed)
        self.devices = Devices(self.lan, self.clock, self._moved)
        desired = Desired(lambda: ledger.snapshot, self.names, self.devices, planes, GRACE)
        self.engine = Engine(self.writer, planes, self.clock, desired, self.events.append)
        self.rules = Rules(
            # A digit first: no name can look like an id.
            new_id=lambda: f"0{next(self._ids):04x}",
            danger_for=self.presets.danger_for if self.presets else lambda _protocol, _port: None,
            planes=(self.plane,),
            machine=self.machine.machine,
            longest=self._longest,
            owned=lambda owner: self.devices.owned(owner.id),
            router=self.router,
        )
        self.gate = LocalGate(
            self.writer, self.engine, planes, self.names, self.devices, self.clock, self.rules
        )
        self.names.keep(ledger.snapshot.hosts(TargetKind.NAME))
        self.devices.keep(m.target for m in ledger.snapshot if m.target.kind == "device")

    def _renamed(self, host: str) -> None:
        self.engine.wake(m.id for m in self.ledger.snapshot if m.target.host == host)

    def _moved(self, target: Target) -> None:
        self.engine.wake(m.id for m in self.ledger.snapshot.leading_to(target))

    def reopen(self) -> None:
        """Crash and start again: what is in the database and what the plane holds survives, no more."""
        self.writer.close()
        if self._directory is not None:
            self.ledger.close()
            self._join(Ledger.open(self._directory))
            return
        # A database in memory ends with its connection, so that is kept; the state is read again.
        database = self.ledger._database
        with database.reading() as connection:
            standing = read_standing(connection)
        self._join(Ledger(database, standing))

    def close(self) -> None:
        """Let go of the ledger."""
        self.writer.close()
        self.ledger.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loops of the engine, the names, the devices and the gate, for the length of the block."""
        async with asyncio.TaskGroup() as group:
            running = (
                self.engine.run(),
                self.names.run(),
                self.devices.run(),
                self.gate.confirming.run(),
            )
            loops = [group.create_task(each) for each in running]
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()

    # -- asking ------------------------------------------------------------------

    def wish(self, **words: object) -> Wish:
        """The wish in these words, now."""
        return wish_at(self.clock.now(), words, self.presets)

    async def ask(self, *asks: Ask, context: Context = ALICE) -> Outcome:
        """Enact these asks as one revision."""
        return await self.gate.enact(asks, context)

    async def open(self, ports: str = "8080", to: str = "192.168.1.5", **words: object) -> Mapping:
        """Open a port; the mapping as it stands."""
        outcome = await self.ask(Submit(self.wish(ports=ports, to=to, **words)))
        after = outcome.changes[0].after
        assert isinstance(after, Mapping)
        return after

    async def edit(self, ref: str, **words: object) -> Outcome:
        """Change the terms of a mapping."""
        return await self.ask(Change(ref, self.wish(**words)))

    async def pause(self, ref: str, paused: bool = True) -> Outcome:
        """Pause a mapping, or resume it."""
        return await self.ask(Change(ref, Wish(), paused))

    async def extend(self, ref: str, add: int | None = None, lifetime: Lifetime | None = None) -> Outcome:
        """Give a mapping more time."""
        return await self.ask(Renew(ref, add, lifetime))

    async def shut(self, ref: str, *, now: bool = False) -> Outcome:
        """Close a mapping."""
        return await self.ask(Close(ref, now))

    async def undo(self, revision: int | None = None, lifetime: Lifetime | None = None) -> Outcome:
        """Take a revision back."""
        return await self.gate.undo(revision, ALICE, lifetime=lifetime)

    # -- looking -----------------------------------------------------------------

    async def pass_time(self, seconds: float) -> None:
        """Let time pass and the engine settle."""
        self.clock.advance(seconds)
        await self.engine.settle()

    def status(self, ref: str) -> Status:
        """The state of a mapping."""
        return self.engine.status(self.ledger.snapshot.find(ref).id)

    def named(self, name: str) -> Mapping | None:
        """The mapping of a name, if it stands."""
        return self.ledger.snapshot.named(name)

    def held(self, name: str) -> bool:
        """Whether the plane really holds the mapping of a name."""
        return any(wanted.mapping.name == name for wanted in self.plane.held.values())

    @property
    def commits(self) -> list[Committed]:
        """Every revision that was published, in order."""
        return [event for event in self.events if isinstance(event, Committed)]

    async def until(self, condition: Callable[[], bool], deadline: float = 5.0) -> None:
        """Wait until a condition holds that the loops bring about.

        Raises:
            TimeoutError: it did not within `deadline` real seconds.
        """
        async with asyncio.timeout(deadline):
            while not condition():  # noqa: ASYNC110 - the whole world has no one event
                await asyncio.sleep(0.001)
