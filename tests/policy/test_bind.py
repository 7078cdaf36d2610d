"""Ports that sessions of the SSH door open: by the grant, and the user's for as long as they stand."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sekimori.model.address import PortRange
from sekimori.model.causes import cause
from sekimori.model.decision import Verb
from sekimori.model.errors import Problem
from sekimori.model.finding import Confidence
from sekimori.model.grantwords import parse_grant
from sekimori.model.lease import Adopt, LeaseProtocol
from sekimori.model.line import Answer, Inbound, Line
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.mapset import PortSet
from sekimori.model.request import Context
from sekimori.model.target import TargetKind
from sekimori.model.user import Bind, PutUser, Unbind, User
from sekimori.presets.load import load_presets
from sekimori.testing.publickeys import public_key
from sekimori.testing.world import ALICE, World

BOB, EVE = (Context(Owner(OwnerKind.KEY, name), "ssh", f"{name} from 192.0.2.9") for name in ("bob", "eve"))
USUAL: dict[str, Any] = {"ports": "8000-8003,9555", "from": "anyone", "for": "2h"}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(presets=load_presets())
    made.machine.network = replace(
        made.machine.network, own=frozenset(map(ipaddress.ip_address, ("203.0.113.5", "192.168.1.1")))
    )
    yield made
    made.close()


def ask(port: int = 8000, host: str = "", words: dict[str, Any] | None = None, **terms: Any) -> Bind:
    return Bind(host=host, port=port, grant=parse_grant(USUAL | (words or {})), **terms)


async def bind(world: World, port: int = 8000, who: Context = BOB, **terms: Any) -> Mapping:
    outcome = await world.ask(ask(port, **terms), context=who)
    after = outcome.changes[0].after
    assert isinstance(after, Mapping)
    return after


async def refusal(world: World, port: int = 8000, who: Context = BOB, **terms: Any) -> Problem:
    standing = world.ledger.revision
    with pytest.raises(Problem) as refused:
        await bind(world, port, who, **terms)
    assert world.ledger.revision == standing
    return refused.value


def outside(mapping: Mapping) -> int:
    return mapping.ports[0].outside.first


def ends_in(world: World, mapping: Mapping) -> int:
    assert mapping.lifetime.expires_at is not None
    return mapping.lifetime.expires_at - int(world.clock.now())


async def test_a_port_is_a_mapping_of_its_key_on_the_terms_of_the_grant(world: World) -> None:
    words = {"limit": "20/min", "max_connections": 7}
    mapping = await bind(world, words=words, description="bob from 192.0.2.9")
    assert (mapping.name, mapping.owner, outside(mapping)) == ("bob-8000", BOB.actor, 8000)
    assert (mapping.target.kind, list(map(str, mapping.path))) == (TargetKind.CLIENT, ["relay", "link@@ssh"])
    assert mapping.lease is not None
    assert (mapping.lease.protocol, mapping.lease.generation) == (LeaseProtocol.SSH, 1)
    assert mapping.lease.description == "bob from 192.0.2.9"
    assert (mapping.on, mapping.sources.anyone, mapping.limits.connections) == (None, True, 7)
    assert (str(mapping.limits.per_source), ends_in(world, mapping)) == ("20/min", 7200)
    assert world.held("bob-8000")
    assert world.links.held.keys() == {mapping.id}


async def test_without_sources_in_the_grant_the_lan_is_let_in(world: World) -> None:
    outcome = await world.ask(Bind(host="", port=8000, grant=parse_grant({"ports": "8000"})), context=BOB)
    after = outcome.changes[0].after
    assert isinstance(after, Mapping)
    assert str(after.sources) == "lan"


async def test_only_keys_bind(world: World) -> None:
    assert (await refusal(world, who=ALICE)).code == "not-permitted"


@pytest.mark.parametrize(
    ("port", "terms", "said"),
    [
        (7999, {}, "only 8000-8003, 9555 are granted"),
        (8000, {"words": {"ports": "none"}}, "no ports are granted"),
        (0, {"words": {"ports": "none"}}, "no ports are granted"),
        (8000, {"permitted": ("localhost:8001",)}, "permitlisten"),
        (8000, {"permitted": ("localhost:8000",), "host": "192.168.1.1"}, "permitlisten"),
        (8000, {"permitted": ()}, "permitlisten"),
        (0, {"permitted": ("*:8000",)}, "permitlisten"),
        (8000, {"host": "gateway.example"}, "neither an IPv4 nor an IPv6"),
        (8000, {"host": "192.0.2.77"}, "no address of this machine"),
        (8000, {"host": "192.168.1.1", "words": {"on": "203.0.113.5"}}, "only 203.0.113.5"),
        (8000, {"host": "127.0.0.1", "words": {"on": "203.0.113.5"}}, "only 203.0.113.5"),
    ],
)
async def test_what_the_grant_or_the_key_does_not_name_is_refused(
    world: World, port: int, terms: dict[str, Any], said: str
) -> None:
    problem = await refusal(world, port, **terms)
    assert problem.code == "bind-refused"
    assert said in problem.title()


@pytest.mark.parametrize(
    ("host", "granted", "on"),
    [
        ("", "any", None),
        ("localhost", "any", None),
        ("*", "any", None),
        ("0.0.0.0", "any", None),
        ("::", "any", None),
        ("LOCALHOST", "192.168.1.1", "192.168.1.1"),
        ("", "192.168.1.1,203.0.113.5", "192.168.1.1"),
        ("203.0.113.5", "192.168.1.1,203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "any", "127.0.0.1"),
        ("::1", "any", "::1"),
        ("::ffff:192.168.1.1", "any", "192.168.1.1"),
    ],
)
async def test_where_a_port_is_opened(world: World, host: str, granted: str, on: str | None) -> None:
    mapping = await bind(world, host=host, words={"on": granted})
    assert mapping.on == (None if on is None else ipaddress.ip_address(on))


async def test_the_same_port_is_the_same_lease_and_who_asks_last_has_it(world: World) -> None:
    first = await bind(world)
    world.clock.advance(3600)
    again = await bind(world, held=frozenset({first.id}), description="elsewhere")
    assert again.id == first.id
    assert again.lease is not None
    assert (again.lease.generation, again.lease.description) == (2, "elsewhere")
    assert ends_in(world, again) == 7200
    assert [each.changes[0].verb for each in world.commits[-1:]] == [Verb.EXTEND]
    narrower = await bind(world, words={"from": "198.51.100.0/24", "limit": "5/s"})
    assert (narrower.id, str(narrower.sources), str(narrower.limits.per_source)) == (
        first.id,
        "198.51.100.0/24",
        "5/s",
    )
    assert [each.changes[0].verb for each in world.commits[-1:]] == [Verb.CHANGE]


async def test_what_another_has_is_not_given(world: World) -> None:
    mapping = await bind(world)
    problem = await refusal(world, who=EVE)
    assert (problem.code, problem.facts["name"]) == ("port-taken", mapping.name)
    await world.open("9555")
    assert (await refusal(world, 9555)).code == "port-taken"
    # Nor while it is only kept for its user.
    await world.ask(Unbind(mapping.id, keep=600), context=BOB)
    assert (await refusal(world, who=EVE)).code == "port-taken"
    await world.pass_time(601)
    assert outside(await bind(world, who=EVE)) == 8000


async def test_the_same_port_on_another_address_is_another_lease(world: World) -> None:
    one = await bind(world, host="192.168.1.1")
    other = await bind(world, host="203.0.113.5", held=frozenset({one.id}))
    assert one.id != other.id
    assert {each.on for each in world.ledger.snapshot} == set(
        map(ipaddress.ip_address, ("192.168.1.1", "203.0.113.5"))
    )


async def test_ones_own_port_on_another_address_moves_unless_a_session_holds_it(world: World) -> None:
    everywhere = await bind(world)
    problem = await refusal(world, host="127.0.0.1", held=frozenset({everywhere.id}))
    assert (problem.code, problem.facts["name"]) == ("port-taken", everywhere.name)
    moved = await bind(world, host="127.0.0.1")
    assert (moved.id, str(moved.on)) == (everywhere.id, "127.0.0.1")


async def test_port_0_is_the_first_that_nobody_has(world: World) -> None:
    await world.open("8001")
    found = [outside(await bind(world, 0, avoid=frozenset({8002}), held=held(world))) for _ in range(3)]
    assert found == [8000, 8003, 9555]
    assert (await refusal(world, 0, avoid=frozenset({8002}), held=held(world))).code == "bind-none-free"


def held(world: World, *away: str) -> frozenset[str]:
    """Everything that stands is held by sessions, but for these."""
    return frozenset(mapping.id for mapping in world.ledger.snapshot) - set(away)


async def test_who_asks_for_any_port_gets_back_what_nobody_holds(world: World) -> None:
    named = await bind(world, 8000)
    first = await bind(world, 0, held=held(world))
    second = await bind(world, 0, held=held(world))
    assert (outside(first), outside(second)) == (8001, 8002)
    # Both were lost at one time: they come back in the order in which they were asked for.
    assert (await bind(world, 0, held=held(world, first.id, second.id))).id == first.id
    assert (await bind(world, 0, held=held(world, second.id))).id == second.id
    # One was lost long ago, and the other now.
    await world.ask(Unbind(first.id, keep=600), context=BOB)
    world.clock.advance(60)
    await world.ask(Unbind(second.id, keep=600), context=BOB)
    assert (await bind(world, 0, held=frozenset())).id == second.id
    assert (await bind(world, 0, held=held(world, first.id))).id == first.id
    # What was asked for by its number is nobody's who asks for any.
    assert (await bind(world, 0, held=held(world, named.id))).id not in (named.id, first.id, second.id)


async def test_a_port_that_was_given_for_0_may_be_asked_for_by_its_number(world: World) -> None:
    given = await bind(world, 0)
    assert (await bind(world, outside(given))).id == given.id


async def test_a_port_that_is_granted_no_more_is_not_given_back(world: World) -> None:
    given = await bind(world, 0)
    assert outside(await bind(world, 0, words={"ports": "9000"})) == 9000
    assert world.ledger.snapshot.get(given.id) is not None


async def test_port_0_prefers_what_is_no_port_of_a_system_service(world: World) -> None:
    assert outside(await bind(world, 0, words={"ports": "80-82,7777"})) == 7777


async def test_port_0_passes_over_what_would_be_refused_as_dangerous(world: World) -> None:
    # 3389 is Remote Desktop.
    assert outside(await bind(world, 0, words={"ports": "3389-3390"})) == 3390
    assert (await refusal(world, 3389, words={"ports": "3389"})).code == "risk-not-accepted"
    assert (await refusal(world, 0, words={"ports": "3389"})).code == "bind-none-free"
    danger = world.rules.danger_for("tcp", 3389)
    assert danger is not None
    accepted = {"ports": "3389", "accept_risk": danger.danger}
    assert outside(await bind(world, 0, words=accepted)) == 3389


async def test_port_0_passes_over_what_the_line_does_not_have(world: World) -> None:
    unknown = Inbound(Answer.UNKNOWN, cause("line-untold"), Confidence.LIKELY)
    ports = PortSet(psid=0, length=8, offset=6)
    shared = Line("wan0", (), unknown, unknown, outside_ports=ports)
    world.rules = replace(world.rules, line=lambda: shared)
    world.gate._rules = world.rules
    assert not shared.has_ports(PortRange(1030, 1030))
    mapping = await bind(world, 0, words={"ports": "1030-9999"})
    assert shared.has_ports(mapping.ports[0].outside)
    near = await bind(world, 0, words={"ports": "1030-9999", "from": "lan"}, held=held(world))
    assert outside(near) == 1030


async def test_so_many_and_no_more_at_one_time(world: World) -> None:
    first = await bind(world, 8000, words={"most": 2})
    await bind(world, 8001, words={"most": 2})
    problem = await refusal(world, 8002, words={"most": 2})
    assert problem.code == "bind-most"
    assert "bob-8000, bob-8001" in problem.title()
    assert (await bind(world, 8000, words={"most": 2})).id == first.id
    assert outside(await bind(world, 8002, EVE, words={"most": 2})) == 8002


async def test_nothing_is_opened_once_the_quota_is_used_up(world: World) -> None:
    used = {"bob": 999}
    world.rules = replace(world.rules, used=lambda user: used.get(user, 0))
    world.gate._rules = world.rules
    await bind(world, words={"quota": "1000"})
    used["bob"] = 1000
    assert (await refusal(world, words={"quota": "1000"})).code == "quota-used"
    assert outside(await bind(world, 8001, EVE, words={"quota": "1000"})) == 8001


async def test_no_lifetime_is_longer_than_the_rules_or_the_users_time(world: World) -> None:
    world.rules = replace(world.rules, longest=600)
    world.gate._rules = world.rules
    assert ends_in(world, await bind(world)) == 600
    ends = int(world.clock.now()) + 100
    user = User(
        name="bob", owner=ALICE.actor, keys=(public_key("bob"),), grant=parse_grant(USUAL), expires_at=ends
    )
    await world.ask(PutUser(user))
    assert ends_in(world, await bind(world)) == 100
    await world.pass_time(100)
    assert not list(world.ledger.snapshot)
    assert (await refusal(world)).code == "bind-refused"


async def test_a_session_that_goes_leaves_its_port_for_a_while_or_closes_it(world: World) -> None:
    mapping = await bind(world)
    await world.ask(Unbind(mapping.id, keep=600), context=BOB)
    kept = world.ledger.snapshot.find(mapping.id)
    assert (kept.target, kept.owner, ends_in(world, kept)) == (mapping.target, mapping.owner, 600)
    # It never stands longer than it would have.
    world.clock.advance(300)
    assert not (await world.ask(Unbind(mapping.id, keep=3600), context=BOB)).changes
    await world.ask(Unbind(mapping.id), context=BOB)
    assert not list(world.ledger.snapshot)
    assert not (await world.ask(Unbind(mapping.id), context=BOB)).changes


async def test_a_session_that_was_superseded_ends_nothing(world: World) -> None:
    mapping = await bind(world)
    await bind(world)
    for keep in (0, 600):
        assert not (await world.ask(Unbind(mapping.id, keep, generation=1), context=BOB)).changes
    assert (await world.ask(Unbind(mapping.id, generation=2), context=BOB)).changes


async def test_nobody_ends_anothers(world: World) -> None:
    mapping = await bind(world)
    with pytest.raises(Problem) as refused:
        await world.ask(Unbind(mapping.id), context=EVE)
    assert refused.value.code == "not-permitted"
    theirs = await world.open("8080")
    with pytest.raises(Problem) as refused:
        await world.ask(Unbind(theirs.id))
    assert refused.value.code == "no-such-mapping"
    assert (await world.ask(Unbind(mapping.id), context=ALICE)).changes


async def test_people_may_pause_and_close_but_not_adopt(world: World) -> None:
    mapping = await bind(world)
    with pytest.raises(Problem) as refused:
        await world.ask(Adopt(mapping.id))
    assert refused.value.code == "not-adoptable"
    await world.pause(mapping.name)
    assert (await refusal(world)).code == "lease-paused"
    assert (await refusal(world, 8000, EVE)).code == "port-taken"
    await world.shut(mapping.name)
    assert outside(await bind(world, who=EVE)) == 8000


async def test_what_keys_open_is_no_persons_to_undo(world: World) -> None:
    opened = await world.open("9000")
    await bind(world)
    await world.undo()
    assert world.ledger.snapshot.get(opened.id) is None
    assert world.named("bob-8000") is not None


async def test_a_port_stands_though_its_session_has_not_been_told_yet(world: World) -> None:
    away = Problem("client-away", name="bob-8000", owner="bob")
    world.links.refuses["00001"] = away
    mapping = await bind(world)
    assert world.status(mapping.id).problem == away
    assert world.ledger.snapshot.get(mapping.id) is not None


async def test_a_name_that_is_taken_or_unusable_is_another(world: World) -> None:
    await world.open("9000", name="bob-8000")
    assert (await bind(world)).name == "bob-8000-2"
    odd = Context(Owner(OwnerKind.KEY, "_backup"), "ssh")
    assert (await bind(world, 8001, odd)).name == "tcp-8001"


async def test_a_port_that_moves_does_not_move_onto_anothers(world: World) -> None:
    mine = await bind(world, host="192.168.1.1")
    theirs = await bind(world, who=EVE, host="203.0.113.5")
    problem = await refusal(world)  # on every address, where one is another's
    assert (problem.code, problem.facts["name"]) == ("port-taken", theirs.name)
    assert world.ledger.snapshot.find(mine.id).on == mine.on


async def test_the_grant_is_the_one_that_the_user_has_when_it_is_decided(world: World) -> None:
    narrower = parse_grant(USUAL | {"ports": "8001", "from": "lan"})
    await world.ask(PutUser(User(name="bob", owner=ALICE.actor, keys=(public_key("bob"),), grant=narrower)))
    problem = await refusal(world)  # with the grant as it was when the request came in
    assert (problem.code, "only 8001 are granted" in problem.title()) == ("bind-refused", True)
    assert str((await bind(world, 8001)).sources) == "lan"
