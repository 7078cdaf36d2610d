"""Users of the SSH door as settings: their keys, and what another grant makes of their ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from sekimori.model.decision import Verb
from sekimori.model.door import DisableDoor, Door, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.grantwords import parse_grant
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Context, Define
from sekimori.model.source import parse_prefix
from sekimori.model.user import Bind, PutUser, RemoveUser, User
from sekimori.planes.memory import MemoryPlane
from sekimori.presets.load import load_presets
from sekimori.testing.publickeys import public_key
from sekimori.testing.world import ALICE, FILE, World

BOB = Context(Owner(OwnerKind.KEY, "bob"), "ssh")
STRANGER = Context(Owner(OwnerKind.KEY, "key-abc"), "ssh")
WIDE: dict[str, Any] = {"ports": "8000-8999", "from": "anyone"}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(presets=load_presets())
    yield made
    made.close()


def a_user(name: str = "bob", *keys: str, **terms: Any) -> User:
    words = WIDE | terms.pop("words", {})
    usual = {"name": name, "owner": ALICE.actor, "keys": keys or (public_key(name),)}
    return User(**{**usual, "grant": parse_grant(words), **terms})


async def refusal(world: World, *asks: Any, context: Context = ALICE) -> Problem:
    standing = world.ledger.revision
    with pytest.raises(Problem) as refused:
        await world.ask(*asks, context=context)
    assert world.ledger.revision == standing
    return refused.value


async def bind(world: World, port: int = 8000, who: Context = BOB, **words: Any) -> Mapping:
    made = await world.ask(Bind(host="", port=port, grant=parse_grant(WIDE | words)), context=who)
    after = made.changes[0].after
    assert isinstance(after, Mapping)
    return after


async def test_a_user_is_put_changed_and_removed(world: World) -> None:
    made = await world.ask(PutUser(a_user()))
    assert [change.verb for change in made.changes] == [Verb.USER]
    stands = world.ledger.snapshot.users["bob"]
    assert (stands.owner, stands.created_at) == (ALICE.actor, int(world.clock.now()))
    assert not (await world.ask(PutUser(a_user()))).changes
    table = world.ledger.snapshot.users
    await world.open()
    assert world.ledger.snapshot.users is table
    await world.ask(PutUser(a_user(expires_at=2_000_000_000)))
    world.reopen()
    assert world.ledger.snapshot.users["bob"].expires_at == 2_000_000_000
    await world.ask(RemoveUser("bob"))
    assert not world.ledger.snapshot.users
    assert (await refusal(world, RemoveUser("bob"))).code == "no-such-user"


async def test_what_a_file_declares_is_the_files_and_keys_change_none(world: World) -> None:
    await world.ask(PutUser(a_user()), context=FILE)
    for ask in (PutUser(a_user(words={"most": 2})), RemoveUser("bob")):
        assert (await refusal(world, ask)).code == "managed-by-file"
        assert (await refusal(world, ask, context=BOB)).code == "not-permitted"


@pytest.mark.parametrize(
    ("user", "code"),
    [
        (a_user("Bob Smith"), "bad-name"),
        (a_user("bob", "ssh-ed25519 AAAA"), "bad-key"),
        (a_user("bob", f"no-such-option {public_key('bob')}"), "bad-key"),
        (a_user("bob", public_key("bob"), f"restrict {public_key('bob')}"), "bad-key"),
        (a_user(words={"from": "office"}), "no-such-list"),
    ],
)
async def test_what_no_user_can_be(world: World, user: User, code: str) -> None:
    assert (await refusal(world, PutUser(user))).code == code


async def test_a_key_tells_one_user(world: World) -> None:
    await world.ask(PutUser(a_user("bob", public_key("one"))))
    problem = await refusal(world, PutUser(a_user("eve", f"restrict {public_key('one')} other comment")))
    assert (problem.code, problem.facts["other"]) == ("key-in-use", "bob")
    # It may change hands in one revision, in whichever order that is asked.
    await world.ask(PutUser(a_user("eve", public_key("one"))), PutUser(a_user("bob", public_key("two"))))
    assert world.ledger.snapshot.users["eve"].keys == (public_key("one"),)
    await world.ask(PutUser(a_user("bob", public_key("one"))), RemoveUser("eve"))


async def test_one_authority_certifies_several_users_by_their_principals(world: World) -> None:
    def certified(principals: str) -> str:
        return public_key("ca", f'cert-authority,principals="{principals}"')

    await world.ask(PutUser(a_user("bob", certified("bob,robert"))))
    await world.ask(PutUser(a_user("eve", certified("eve"))))
    assert (await refusal(world, PutUser(a_user("mallory", certified("robert"))))).code == "key-in-use"
    anybody = public_key("ca", "cert-authority")
    assert (await refusal(world, PutUser(a_user("mallory", anybody)))).code == "key-in-use"
    # The authority's own key, as a key, is another matter.
    await world.ask(PutUser(a_user("ca", public_key("ca"))))


async def test_the_ports_of_a_user_that_is_removed_close_with_it_and_come_back_with_it(world: World) -> None:
    await world.ask(PutUser(a_user()))
    one, two = await bind(world), await bind(world, 8001)
    theirs = await bind(world, 8002, STRANGER)
    made = await world.ask(RemoveUser("bob"))
    assert [change.verb for change in made.changes] == [Verb.USER, Verb.CLOSE, Verb.CLOSE]
    assert all(change.cut for change in made.changes[1:])
    assert {each.id for each in world.ledger.snapshot} == {theirs.id}
    await world.undo()
    assert "bob" in world.ledger.snapshot.users
    back = {each.id: each for each in world.ledger.snapshot}
    assert back.keys() == {one.id, two.id, theirs.id}
    assert back[one.id].lease == one.lease
    assert back[one.id].owner == BOB.actor


async def test_a_narrower_grant_holds_at_once(world: World) -> None:
    await world.ask(PutUser(a_user()))
    low, high = await bind(world, 8000), await bind(world, 8999)
    words = {"ports": "8000", "from": "198.51.100.0/24", "limit": "5/min", "for": "1h"}
    made = await world.ask(PutUser(a_user(words=words)))
    assert {change.verb for change in made.changes} == {Verb.USER, Verb.CHANGE, Verb.CLOSE}
    assert world.ledger.snapshot.get(high.id) is None
    left = world.ledger.snapshot.find(low.id)
    assert (str(left.sources), str(left.limits.per_source)) == ("198.51.100.0/24", "5/min")
    assert left.lifetime.expires_at == int(world.clock.now()) + 3600
    ends = int(world.clock.now()) + 60
    await world.ask(PutUser(a_user(words=words, expires_at=ends)))
    assert world.ledger.snapshot.find(low.id).lifetime.expires_at == ends
    await world.ask(PutUser(a_user(words=words | {"on": "192.168.1.1"}, expires_at=ends)))
    assert world.ledger.snapshot.get(low.id) is None


async def test_what_the_grants_do_not_differ_in_stays_as_it_was_made_by_hand(world: World) -> None:
    await world.ask(PutUser(a_user()))
    mapping = await bind(world)
    await world.edit(mapping.name, from_="203.0.113.0/24", for_="7d")
    edited = world.ledger.snapshot.find(mapping.id)
    made = await world.ask(
        PutUser(a_user("bob", public_key("bob"), public_key("more"), words={"limit": "9/s"}))
    )
    assert len(made.changes) == 2
    after = world.ledger.snapshot.find(mapping.id)
    assert (after.sources, after.lifetime) == (edited.sources, edited.lifetime)
    assert str(after.limits.per_source) == "9/s"


async def test_a_wider_grant_must_accept_its_dangers(world: World) -> None:
    lan: dict[str, Any] = {"ports": "3389", "from": "lan"}
    await world.ask(PutUser(a_user(words=lan)))
    await bind(world, 3389, **lan)
    problem = await refusal(world, PutUser(a_user(words=lan | {"from": "anyone"})))
    assert problem.code == "risk-not-accepted"
    risk = problem.facts["risk"]
    await world.ask(PutUser(a_user(words=lan | {"from": "anyone", "accept_risk": risk})))


async def test_undo_of_another_grant_puts_back_the_ports_too(world: World) -> None:
    await world.ask(PutUser(a_user()))
    one, two = await bind(world, 8000), await bind(world, 8999)
    before = dict(world.ledger.snapshot.users)
    await world.ask(PutUser(a_user(words={"ports": "8000", "from": "lan"})))
    await world.undo()
    assert dict(world.ledger.snapshot.users) == before
    assert {each.id: each.sources.anyone for each in world.ledger.snapshot} == {one.id: True, two.id: True}


class TestDoor:
    def door(self, *listen: str, **terms: Any) -> Door:
        where = listen or ("192.168.1.1:2222",)
        return Door(door=DoorName.SSH, owner=ALICE.actor, interfaces=(), listen=where, **terms)

    async def test_it_is_enabled_and_disabled(self, world: World) -> None:
        made = await world.ask(EnableDoor(self.door(authorized_keys="/etc/keys", grant=parse_grant(WIDE))))
        assert ([change.verb for change in made.changes], made.notices) == ([Verb.DOOR], ())
        world.reopen()
        stands = world.ledger.snapshot.doors[DoorName.SSH]
        assert (stands.listen, stands.authorized_keys, stands.grant) == (
            ("192.168.1.1:2222",),
            "/etc/keys",
            parse_grant(WIDE),
        )
        await world.ask(DisableDoor(DoorName.SSH))
        assert not world.ledger.snapshot.doors

    @pytest.mark.parametrize(
        ("listen", "terms", "code"),
        [
            ((), {"listen": ()}, "missing"),
            (("2222",), {}, "bad-listen"),
            (("192.168.1.1:2222",), {"authorized_keys": "keys"}, "bad-value"),
            (("192.168.1.1:2222",), {"grant": parse_grant({"from": "office"})}, "no-such-list"),
        ],
    )
    async def test_what_it_cannot_be(
        self, world: World, listen: tuple[str, ...], terms: dict[str, Any], code: str
    ) -> None:
        door = replace(self.door(*listen), **terms)
        assert (await refusal(world, EnableDoor(door))).code == code

    @pytest.mark.parametrize("where", ["*:2222", "0.0.0.0:2222", "[::]:2222", "203.0.113.5:2222"])
    async def test_where_it_may_be_reached_from_outside_is_told(self, world: World, where: str) -> None:
        made = await world.ask(EnableDoor(self.door(where)))
        assert [notice.code for notice in made.notices] == ["ssh-door-outside"]
        assert where in made.notices[0].text("ja")
        again = await world.ask(EnableDoor(self.door(where)))
        assert (again.changes, again.notices) == ((), ())
        wider = replace(self.door(where), grant=parse_grant({"most": "3"}))
        assert (await world.ask(EnableDoor(wider))).notices == ()  # it answers where it did

    async def test_an_address_that_is_not_this_machines_is_told(self) -> None:
        world = World()
        world.machine.network = replace(world.machine.network, own=frozenset({ip_address("192.168.1.1")}))
        made = await world.ask(EnableDoor(self.door("192.168.1.9:2222", "127.0.0.1:2222")))
        assert [notice.code for notice in made.notices] == ["ssh-door-elsewhere"]
        assert "192.168.1.9:2222 is no address" in made.notices[0].text("en")
        world.close()

    async def test_a_port_that_a_mapping_has_is_refused(self, world: World) -> None:
        await world.open("2222", "192.168.1.5:22", on="192.168.1.1")
        problem = await refusal(world, EnableDoor(self.door("192.168.1.1:2222")))
        assert problem.code == "port-taken"
        assert (await refusal(world, EnableDoor(self.door("*:2222")))).code == "port-taken"
        await world.ask(EnableDoor(self.door("203.0.113.5:2222")))
        await world.ask(DisableDoor(DoorName.SSH))
        await world.open("udp/2223")
        await world.ask(EnableDoor(self.door("*:2223")))

    async def test_a_mapping_that_only_lets_packets_in_to_it_is_welcome(self) -> None:
        world = World(plane=MemoryPlane("kernel"))
        await world.open("2222", "self:2222")
        await world.ask(EnableDoor(self.door("*:2222")))
        assert DoorName.SSH in world.ledger.snapshot.doors
        world.close()

    async def test_another_grant_concerns_the_ports_of_those_who_are_no_users(self, world: World) -> None:
        await world.ask(PutUser(a_user()), EnableDoor(self.door(grant=parse_grant(WIDE))))
        users, strangers = await bind(world), await bind(world, 8001, STRANGER)
        made = await world.ask(EnableDoor(self.door(grant=parse_grant(WIDE | {"from": "lan"}))))
        assert len(made.changes) == 2
        assert world.ledger.snapshot.find(users.id).sources.anyone
        assert str(world.ledger.snapshot.find(strangers.id).sources) == "lan"
        await world.ask(EnableDoor(self.door()))
        assert world.ledger.snapshot.get(strangers.id) is None
        assert world.ledger.snapshot.get(users.id) is not None

    async def test_a_list_that_the_grant_names_may_come_with_it(self, world: World) -> None:
        office = Define("office", (parse_prefix("198.51.100.0/24"),))
        await world.ask(office, EnableDoor(self.door(grant=parse_grant({"from": "office"}))))
        assert DoorName.SSH in world.ledger.snapshot.doors
