"""What users with a quota carry is added up, over restarts too, and their ports close when it is used up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sekimori.model.actual import Counters
from sekimori.model.address import PortRange
from sekimori.model.door import Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.user import Bind, Grant, PutUser, User
from sekimori.observe.guard.quotas import Quotas
from sekimori.testing.world import ALICE, World

BOB = Owner(OwnerKind.KEY, "bob")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB5Z9JfE0C7K4cX0vzVbJXo6xq0Yq1Yv3S1dB8o5Y0aX bob"
DAY = 86400
GRANT = Grant(ports=(PortRange(8000, 8999),), quota=1000, quota_every=30 * DAY, lifetime=90 * DAY)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


class Desk:
    """The parts that the accounts are kept of."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.shown: dict[str, Counters] = {}
        self.channels: dict[str, int] = {}
        self.quotas = self.start()

    def start(self) -> Quotas:
        """The accounts as a start of the daemon finds them."""
        world = self.world
        self.quotas = Quotas(
            world.gate,
            lambda: world.ledger.snapshot,
            self.counters,
            lambda: self.channels,
            self.directory,
            world.clock,
        )
        world.rules = replace(world.rules, used=self.quotas.used)
        world.gate._rules = world.rules
        return self.quotas

    async def counters(self, ids: Sequence[str] | None = None) -> Mapping[str, Counters]:
        return {key: value for key, value in self.shown.items() if ids is None or key in ids}

    async def open(self, port: int) -> PortMapping:
        ask = Bind(host="", port=port, grant=GRANT)
        outcome = await self.world.gate.enact([ask], Context(BOB, "ssh"))
        after = outcome.changes[0].after
        assert isinstance(after, PortMapping)
        return after

    async def carry(self, mapping: PortMapping, count: int) -> None:
        before = self.shown.get(mapping.id, Counters())
        self.shown[mapping.id] = replace(before, bytes_in=before.bytes_in + count)
        await self.quotas.look()


@pytest.fixture
async def desk(world: World, tmp_path: Path) -> Desk:
    user = User(name="bob", owner=ALICE.actor, keys=(KEY,), grant=GRANT)
    await world.gate.enact([PutUser(user)], ALICE)
    return Desk(world, tmp_path)


async def test_all_ports_and_channels_of_a_user_count_together(desk: Desk) -> None:
    one, two = await desk.open(8000), await desk.open(8001)
    await desk.carry(one, 400)
    await desk.carry(two, 300)
    desk.channels["bob"] = 299
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 999
    assert not desk.quotas.is_used_up("bob")
    assert len(list(desk.world.ledger.snapshot)) == 2
    await desk.carry(one, 1)
    assert list(desk.world.ledger.snapshot) == []
    assert "quota" in desk.world.commits[-1].context.why


async def test_nothing_is_opened_until_the_period_is_over(desk: Desk) -> None:
    await desk.carry(await desk.open(8000), 1000)
    with pytest.raises(Problem) as told:
        await desk.open(8000)
    assert told.value.code == "quota-used"
    desk.world.clock.advance(30 * DAY)
    held = await desk.open(8000)
    await desk.carry(held, 10)
    assert desk.quotas.used("bob") == 10


async def test_what_was_carried_is_known_after_a_restart_and_not_counted_twice(desk: Desk) -> None:
    held = await desk.open(8000)
    await desk.carry(held, 600)
    desk.start()
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 600
    desk.shown[held.id] = Counters(bytes_in=50)  # the counter itself began anew
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 650


async def test_who_has_no_quota_is_not_counted(desk: Desk) -> None:
    user = User(name="bob", owner=ALICE.actor, keys=(KEY,), grant=replace(GRANT, quota=None))
    await desk.world.gate.enact([PutUser(user)], ALICE)
    await desk.carry(await desk.open(8000), 5000)
    assert desk.quotas.used("bob") == 0
    assert len(list(desk.world.ledger.snapshot)) == 1


async def test_accounts_that_cannot_be_read_begin_anew(desk: Desk) -> None:
    (desk.directory / "quotas.json").write_text('{"bob": 5}')
    desk.start()
    assert desk.quotas.used("bob") == 0
    await desk.carry(await desk.open(8000), 7)
    assert desk.quotas.used("bob") == 7


async def test_what_a_port_carried_that_closed_before_anybody_looked(desk: Desk) -> None:
    for port in (8000, 8001):  # each opened and closed again between two looks
        held = await desk.open(port)
        desk.shown[held.id] = Counters(bytes_in=400, bytes_out=100)
        await desk.world.shut(held.id)
        desk.quotas.heed(desk.world.commits[-1])
    await desk.quotas.look()
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 1000
    with pytest.raises(Problem) as told:
        await desk.open(8000)
    assert told.value.code == "quota-used"


async def put(desk: Desk, grant: Grant) -> None:
    """Give bob another grant, of which the accounts are told."""
    await desk.world.gate.enact(
        [PutUser(User(name="bob", owner=ALICE.actor, keys=(KEY,), grant=grant))], ALICE
    )
    desk.quotas.heed(desk.world.commits[-1])


async def test_a_quota_begins_at_nothing_whatever_was_carried_before_it(desk: Desk) -> None:
    await put(desk, replace(GRANT, quota=None))
    stood = await desk.open(8000)
    await desk.carry(stood, 5000)
    desk.channels["bob"] = 5000
    await put(desk, GRANT)
    opened = await desk.open(8001)
    desk.shown[opened.id] = Counters(bytes_in=30)  # before anybody looked, and under the quota
    desk.channels["bob"] += 7
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 37
    await desk.carry(stood, 100)
    assert desk.quotas.used("bob") == 137
    await put(desk, replace(GRANT, quota=2000))  # another quota is not a new one
    await desk.carry(stood, 1)
    assert desk.quotas.used("bob") == 138
    await put(desk, replace(GRANT, quota=None))
    await desk.carry(stood, 5000)
    await put(desk, GRANT)
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 0
    assert len(list(desk.world.ledger.snapshot)) == 2


async def test_a_quota_that_was_given_is_known_after_a_restart(desk: Desk) -> None:
    await put(desk, replace(GRANT, quota=None))
    held = await desk.open(8000)
    await desk.carry(held, 5000)
    await put(desk, GRANT)
    await desk.quotas.look()
    desk.start()
    await desk.carry(held, 10)
    assert desk.quotas.used("bob") == 10


async def test_a_port_that_stood_before_there_was_any_account(desk: Desk) -> None:
    held = await desk.open(8000)
    desk.shown[held.id] = Counters(bytes_in=5000)
    (desk.directory / "quotas.json").unlink(missing_ok=True)
    desk.start()
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 0
    await desk.carry(held, 10)
    assert desk.quotas.used("bob") == 10


async def test_channels_are_counted_anew_from_a_restart_however_much_they_carry_then(desk: Desk) -> None:
    desk.channels["bob"] = 300
    await desk.quotas.look()
    desk.channels["bob"] = 310  # of the next run, in which the count begins at nothing
    desk.start()
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 610


async def test_the_keys_of_a_file_have_the_quota_of_the_door(desk: Desk) -> None:
    desk.channels["ci-12345678"] = 400
    await enable(desk, GRANT)
    await desk.quotas.look()
    assert desk.quotas.used("ci-12345678") == 0
    desk.channels["ci-12345678"] += 1000
    desk.channels["dev-12345678"] = 999
    await desk.quotas.look()
    assert desk.quotas.used_up() == {"ci-12345678"}
    await enable(desk, replace(GRANT, quota=None))
    await enable(desk, GRANT)
    await desk.quotas.look()
    assert desk.quotas.used_up() == set()
    assert desk.quotas.used("dev-12345678") == 0


async def enable(desk: Desk, grant: Grant) -> None:
    """Have the door let in the keys of a file, of which the accounts are told."""
    door = Door(
        door=DoorName.SSH,
        owner=ALICE.actor,
        interfaces=(),
        listen=("127.0.0.1:2222",),
        authorized_keys="/nonexistent/keys",
        grant=grant,
    )
    await desk.world.gate.enact([EnableDoor(door)], ALICE)
    desk.quotas.heed(desk.world.commits[-1])


async def test_who_has_used_it_up_is_told_until_the_period_is_over(desk: Desk) -> None:
    desk.channels["bob"] = 999
    await desk.quotas.look()
    assert desk.quotas.used_up() == set()
    desk.channels["bob"] = 1000
    await desk.quotas.look()
    assert desk.quotas.used_up() == {"bob"}
    desk.start()  # and nobody has looked yet
    assert desk.quotas.used_up() == {"bob"}
    await put(desk, replace(GRANT, quota=2000))
    assert desk.quotas.used_up() == set()
    await put(desk, GRANT)
    assert desk.quotas.used_up() == {"bob"}
    desk.world.clock.advance(30 * DAY)
    assert desk.quotas.used_up() == set()


async def test_a_counter_that_cannot_be_had_for_a_while_is_not_counted_twice(desk: Desk) -> None:
    held = await desk.open(8000)
    await desk.carry(held, 600)
    shown = desk.shown.pop(held.id)
    await desk.quotas.look()
    desk.shown[held.id] = shown
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 600


async def test_a_quota_that_is_taken_away_and_given_while_counters_are_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await desk.open(8000)
    await desk.carry(held, 600)
    desk.channels["bob"] = 300
    counters = desk.counters

    async def meanwhile(_ids: Sequence[str]) -> Mapping[str, Counters]:
        await put(desk, replace(GRANT, quota=None))
        desk.channels["bob"] = 390
        if given:
            await put(desk, GRANT)
        return await counters()

    monkeypatch.setattr(desk.quotas, "_counters", meanwhile)
    given = True
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 0
    given = False
    await desk.quotas.look()
    await put(desk, GRANT)
    monkeypatch.setattr(desk.quotas, "_counters", counters)
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 0


async def test_an_account_whose_quota_was_taken_away_is_forgotten_over_a_restart(desk: Desk) -> None:
    held = await desk.open(8000)
    await desk.carry(held, 600)
    await put(desk, replace(GRANT, quota=None))
    await desk.quotas.look()
    desk.start()
    await desk.carry(held, 5000)
    await put(desk, GRANT)
    await desk.quotas.look()
    assert desk.quotas.used("bob") == 0
