"""Which session holds which port, whatever happens between two steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sekimori.doors.ssh.holding import Holding
from sekimori.gate.local import LocalGate
from sekimori.gate.ports import Outcome
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Close, Context
from sekimori.model.user import Bind, PutUser, RemoveUser, Unbind, User
from sekimori.testing.inside import FakeInside
from sekimori.testing.publickeys import public_key
from sekimori.testing.world import ALICE, World

WORDS = {"ports": "8000-8009", "from": "anyone", "hold": "1h"}
BOB = Owner(OwnerKind.KEY, "bob")


class Paced:
    """A gate that does something after it has done what one ask wants, and before that is known."""

    def __init__(self, gate: LocalGate) -> None:
        self._gate = gate
        self.after: dict[type, Callable[[], Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    async def enact(self, asks: Sequence[Any], context: Context) -> Outcome:
        outcome = await self._gate.enact(asks, context)
        do = self.after.pop(type(asks[0]), None)
        if do is not None:
            await do()
        return outcome


class Desk:
    """A `Holding` over a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = Paced(world.gate)
        self.sessions = {1, 2}
        self.holding = Holding(self.gate, FakeInside(world), self.grant, lambda _ids: None)

    def grant(self, name: str) -> Any:
        user = self.world.ledger.snapshot.users.get(name)
        return None if user is None else user.grant

    async def put(self, **words: object) -> None:
        user = User(
            name="bob", owner=ALICE.actor, keys=(public_key("bob"),), grant=parse_grant(WORDS | words)
        )
        await self.world.ask(PutUser(user))

    async def bind(self, port: int, session: int = 1) -> str:
        frame = {"session": session, "user": "bob", "host": "", "port": port, "permitted": None}
        frame |= {"description": "bob@192.0.2.9", "protocol": "tcp"}
        return (await self.holding.bind(frame, self.sessions.__contains__)).id


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
async def desk(world: World) -> Desk:
    made = Desk(world)
    await made.put()
    return made


async def test_a_port_that_another_session_took_while_one_leaves_stays_with_it(desk: Desk) -> None:
    one, two = await desk.bind(8001), await desk.bind(8002)

    async def take() -> None:
        await desk.bind(8002, session=2)

    desk.gate.after[Unbind] = take
    await desk.holding.leave(1)
    assert (desk.holding.held_by(1), desk.holding.held_by(2)) == ((), (two,))
    snapshot = desk.world.ledger.snapshot
    assert desk.holding.why_away(snapshot.find(two)) is None
    assert desk.holding.why_away(snapshot.find(one)) is not None
    whole, kept = (snapshot.find(each).lifetime.expires_at for each in (two, one))
    assert whole is not None
    assert kept is not None
    assert whole > kept


async def test_a_port_that_is_closed_while_its_session_leaves(desk: Desk) -> None:
    await desk.bind(8001)
    two = await desk.bind(8002)

    async def close() -> None:
        await desk.world.ask(Close(two, now=True))
        desk.holding.forget(two)

    desk.gate.after[Unbind] = close
    await desk.holding.leave(1)
    assert desk.holding.ids() == ()


@pytest.mark.parametrize(("pauses", "code"), [(False, "bind-refused"), (True, "lease-paused")])
async def test_a_port_that_others_end_while_it_is_being_opened_is_not_open(
    desk: Desk, pauses: bool, code: str
) -> None:
    async def end() -> None:
        (mapping,) = desk.world.ledger.snapshot
        await (desk.world.pause(mapping.id) if pauses else desk.world.shut(mapping.id))

    desk.gate.after[Bind] = end
    with pytest.raises(Problem) as refused:
        await desk.bind(8001)
    assert refused.value.code == code
    assert desk.holding.ids() == ()


async def test_a_grant_that_is_narrowed_while_a_request_waits_its_turn(desk: Desk) -> None:
    async def narrow() -> None:
        await desk.put(ports="8001")

    desk.gate.after[Bind] = narrow
    found = await asyncio.gather(desk.bind(8001), desk.bind(8002), return_exceptions=True)
    assert isinstance(found[1], Problem)
    assert "only 8001" in found[1].title()


async def test_a_user_that_is_removed_while_a_request_waits_its_turn(desk: Desk) -> None:
    async def remove() -> None:
        await desk.world.ask(RemoveUser("bob"))

    desk.gate.after[Bind] = remove
    found = await asyncio.gather(desk.bind(8001), desk.bind(8002), return_exceptions=True)
    assert [each.code for each in found if isinstance(each, Problem)] == ["bind-refused", "no-such-user"]
    assert not list(desk.world.ledger.snapshot)


async def test_who_left_meanwhile_holds_nothing(desk: Desk) -> None:
    async def leave() -> None:
        desk.sessions.discard(1)

    desk.gate.after[Bind] = leave
    key = await desk.bind(8001)
    assert desk.holding.ids() == ()
    assert desk.holding.why_away(desk.world.ledger.snapshot.find(key)) is not None
