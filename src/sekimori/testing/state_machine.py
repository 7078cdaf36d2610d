"""Whatever is asked, fails, ends or crashes: the plane ends up as the ledger wants it.

One hypothesis state machine over the gate, the engine, a real ledger and the memory plane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sekimori.model.actual import State
from sekimori.model.decision import NamedList, Subject, Verb, key_of
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.request import Ask, Change, Close, Context, Renew, Submit, Wish
from sekimori.model.snapshot import Snapshot
from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.ports import Ground
from sekimori.testing.world import ALICE, World

__all__ = ["BROKEN", "PipelineMachine", "subjects_of"]

_T = TypeVar("_T")
BROKEN: Final = Problem("unexpected", what="a test broke it")
"""What a plane says that was told to fail."""

_OUTSIDE: Final = st.sampled_from(["80", "81", "80-82", "tcp+udp/81", "udp/82", "1-100:101-200"])
_NAMES: Final = st.sampled_from(["a", "b", "c", "d"])
_TERMS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "name": _NAMES,
    "for_": st.sampled_from(["30s", "1m", "2h"]),
    "hours": st.sampled_from(["none", "daily/15:00-15:08", "daily/15:10-16:00"]),
    "on": st.sampled_from(["none", "192.0.2.1", "0.0.0.0", "::"]),
    "from_": st.sampled_from(["lan", "anyone", "198.51.100.0/24"]),
    "idle": st.sampled_from(["none", "5m"]),
}
"""The clock begins at 15:06:40 UTC, so that time soon opens and closes these hours."""

_Shape = dict[str, Subject]


def subjects_of(snapshot: Snapshot) -> dict[str, Subject]:
    """Everything that stands, by key."""
    alone = (each for each in (snapshot.gateway, snapshot.permissions) if each is not None)
    tables = (snapshot.bans, snapshot.doors, snapshot.links, snapshot.users)
    several = (each for table in tables for each in table.values())
    standing = (*snapshot, *snapshot.named_lists, *alone, *several)
    return {key_of(each): each for each in standing}


def _without_bookkeeping(subject: Subject) -> Subject:
    match subject:
        case Mapping():
            return replace(subject, revision=0)
        case NamedList():
            return subject
        case _:
            return replace(subject, created_at=0)


class PipelineMachine(RuleBasedStateMachine):
    """Every rule ends settled, and then the invariants hold."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = self.make_world()
        self.shadow: dict[str, dict[str, Any]] = {}
        """The state that replaying the journal gives."""
        self.replayed = 0
        self.before_newest: _Shape | None = None
        """How things stood before the newest revision, while that is one to undo."""

    def make_world(self) -> World:
        """The world that is asked."""
        return World()

    def teardown(self) -> None:
        """Let go of the world, after one more look at it on planes that work."""
        for plane in self.planes():
            plane.broken = None
            plane.refuses.clear()
        self.run(self.world.pass_time(31))  # longer than any wait for another try
        self.plane_holds_what_is_wanted()
        self.world.close()
        self.runner.close()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run to its end."""
        return self.runner.run(coroutine)

    def shape(self) -> _Shape:
        """What stands, the bookkeeping left out: of revisions, and of when a setting was last made."""
        standing = subjects_of(self.world.ledger.snapshot)
        return {key: _without_bookkeeping(each) for key, each in standing.items()}

    def planes(self) -> list[MemoryPlane]:
        """The plane of this machine, that of links, and that of the router before it where there is one."""
        planes = (self.world.plane, self.world.links, self.world.router)
        return [plane for plane in planes if plane is not None]

    def attempt(self, *asks: Ask, context: Context = ALICE) -> None:
        """Ask; it is done, or nothing was changed."""
        self._hold(self.world.ask(*asks, context=context))

    def _hold(self, asking: Coroutine[Any, Any, Any], *, restores: _Shape | None = None) -> None:
        before, revision = self.shape(), self.world.ledger.revision
        refused: Problem | None = None
        changed = False
        try:
            changed = bool(self.run(asking).changes)
        except Problem as problem:
            refused = problem
        written = self.world.ledger.revision - revision
        if refused is None:
            assert written == (1 if changed else 0)
            assert restores is None or self.shape() == restores
            self.before_newest = before if changed else self.before_newest
        else:
            assert self.shape() == before, refused.title()
            # What was granted and could not be applied was written, and taken back.
            assert written == (2 if refused.code == "not-applied" else 0)
        self.run(self.world.engine.settle())

    # -- asks ----------------------------------------------------------------------

    @initialize(ports=_OUTSIDE)
    def first(self, ports: str) -> None:
        """Something to begin with."""
        self.submit(ports, {"name": "a"})

    @rule(ports=_OUTSIDE, terms=st.fixed_dictionaries({}, optional=_TERMS))
    def submit(self, ports: str, terms: dict[str, Any]) -> None:
        """Open."""
        self.attempt(Submit(self.world.wish(ports=ports, to="192.168.1.5", **terms)))

    @rule(
        ref=_NAMES,
        terms=st.fixed_dictionaries({}, optional={"ports": _OUTSIDE, **_TERMS}),
        paused=st.none() | st.booleans(),
    )
    def change(self, ref: str, terms: dict[str, Any], paused: bool | None) -> None:
        """Edit, perhaps pausing or resuming too."""
        self.attempt(Change(ref, self.world.wish(**terms), paused))

    @rule(ref=_NAMES, paused=st.booleans())
    def pause(self, ref: str, paused: bool) -> None:
        """Pause or resume."""
        self.attempt(Change(ref, Wish(), paused))

    @rule(ref=_NAMES, add=st.none() | st.integers(1, 300))
    def renew(self, ref: str, add: int | None) -> None:
        """More time."""
        self.attempt(Renew(ref, add))

    @rule(ref=_NAMES, now=st.booleans())
    def close(self, ref: str, now: bool) -> None:
        """Close."""
        self.attempt(Close(ref, now))

    @rule(old=_NAMES, new=_NAMES, ports=_OUTSIDE)
    def replace_one(self, old: str, new: str, ports: str) -> None:
        """Close one and open another as one revision."""
        self.attempt(Close(old), Submit(self.world.wish(ports=ports, to="self:9", name=new)))

    @rule(one=_NAMES, other=_NAMES)
    def swap(self, one: str, other: str) -> None:
        """Let two swap what they listen on."""
        first, second = self.world.named(one), self.world.named(other)
        if first is not None and second is not None:
            theirs = [",".join(map(str, mapping.ports)) for mapping in (first, second)]
            self.attempt(
                Change(one, self.world.wish(ports=theirs[1])), Change(other, self.world.wish(ports=theirs[0]))
            )

    @precondition(lambda self: self.before_newest is not None)
    @rule()
    def undo(self) -> None:
        """Take the newest back, as long as nothing came after it."""
        restores, self.before_newest = self.before_newest, None
        self._hold(self.world.undo(), restores=restores)

    # -- what happens ----------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 29, 60, 200, 7200]))
    def pass_time(self, seconds: int) -> None:
        """Expiries, hours and other tries come due."""
        revision = self.world.ledger.revision
        self.run(self.world.pass_time(seconds))
        if self.world.ledger.revision != revision:
            self.before_newest = None

    @rule(broken=st.booleans())
    def break_plane(self, broken: bool) -> None:
        """The plane stops answering, or answers again and is tried again."""
        self.world.plane.broken = BROKEN if broken else None
        self.pass_time(31)

    @rule(number=st.integers(1, 8))
    def refuse(self, number: int) -> None:
        """The plane cannot change one mapping, which may be still to come."""
        self.world.plane.refuses[f"0{number:04x}"] = BROKEN

    @rule()
    def refuse_no_more(self) -> None:
        """It can again."""
        self.world.plane.refuses.clear()
        self.pass_time(31)

    @rule()
    def remove_behind_our_back(self) -> None:
        """Everything on the plane is gone, and the plane noticed."""
        self.world.plane.held.clear()
        self.world.engine.wake()
        self.run(self.world.engine.settle())

    @precondition(lambda self: self.world.plane.held)
    @rule()
    def put_behind_our_back(self) -> None:
        """Something nobody asked for is there."""
        held = self.world.plane.held
        held["0ffff"] = next(iter(held.values()))
        self.world.engine.wake()
        self.run(self.world.engine.settle())

    @rule()
    def crash(self) -> None:
        """Only the database and the plane survive."""
        before = self.shape()
        self.world.reopen()
        assert self.shape() == before
        self.run(self.world.engine.settle())

    # -- what holds ------------------------------------------------------------------

    @invariant()
    def plane_holds_what_is_wanted(self) -> None:
        """Actual equals desired, but for what the plane refuses; and states say what is."""
        now, planes = self.world.clock.now(), self.planes()
        if any(plane.broken is not None for plane in planes):
            return
        refused = {key for plane in planes for key in plane.refuses}
        wanted = {m.id: m for m in self.world.ledger.snapshot if m.wants_open(now)}
        for plane in planes:
            hops = {key: {hop.plane for hop in each.path} for key, each in wanted.items()}
            here = {key: each for key, each in wanted.items() if plane.name in hops[key]}
            for key in (here.keys() | plane.held.keys()) - refused:
                assert key in here, f"{key} is held by {plane.name}, and nobody wants it"
                assert key in plane.held, f"{key} is wanted, and not held by {plane.name}"
                assert plane.held[key].mapping == here[key]
                assert plane.held[key].accept_until == here[key].next_change(now)
        for mapping in self.world.ledger.snapshot:
            if mapping.id not in refused:
                closed = State.PAUSED if mapping.paused else State.OUTSIDE_HOURS
                expected = State.OPEN if mapping.id in wanted else closed
                assert self.world.engine.status(mapping.id).state is expected

    @invariant()
    def ground_is_as_it_is_wanted(self) -> None:
        """The gateway, and the bans that have not ended."""
        plane, snapshot = self.world.plane, self.world.ledger.snapshot
        if plane.broken is None and plane.barren is None:
            assert plane.ground == Ground(snapshot.gateway, tuple(snapshot.bans.values()))

    @invariant()
    def no_port_has_two_owners(self) -> None:
        """Neither in the ledger nor, once nothing is refused, on the plane."""
        groups = [list(self.world.ledger.snapshot)]
        if all(each.broken is None and not each.refuses for each in self.planes()):
            groups += [[wanted.mapping for wanted in plane.held.values()] for plane in self.planes()]
        for mappings in groups:
            for index, one in enumerate(mappings):
                for other in mappings[index + 1 :]:
                    assert one.name.lower() != other.name.lower()
                    assert not any(a.overlaps(b) for a in one.claims for b in other.claims)

    @invariant()
    def nothing_outlives_its_time(self) -> None:
        """What has ended is gone."""
        now = self.world.clock.now()
        assert not [m.name for m in self.world.ledger.snapshot if m.lifetime.has_ended(now)]
        assert not [ban.name for ban in self.world.ledger.snapshot.bans.values() if ban.has_ended(now)]

    @invariant()
    def every_change_has_its_row(self) -> None:
        """Replaying the journal gives what stands: each row begins where the one before it ended."""
        for number in range(self.replayed + 1, self.world.ledger.revision + 1):
            revision = self.world.ledger.revision_of(number)
            assert revision.number == number
            for row in revision.rows:
                assert row.before == self.shadow.get(row.subject_id)
                assert row.before != row.after
                if row.subject == "mapping":
                    assert (row.before is None) == (row.verb is Verb.OPEN) or row.verb is Verb.UNDO
                if row.after is None:
                    del self.shadow[row.subject_id]
                else:
                    self.shadow[row.subject_id] = row.after
        self.replayed = self.world.ledger.revision
        standing = subjects_of(self.world.ledger.snapshot)
        assert self.shadow == {key: each.to_document() for key, each in standing.items()}
