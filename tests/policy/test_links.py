"""Links as settings: who may change them, what is refused, and that none is taken from a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.link import AddLink, Link, RemoveLink, SshPlace
from sekimori.model.mapping import Owner, OwnerKind
from sekimori.model.request import Change, Close, Context, Submit
from sekimori.testing.publickeys import public_key
from sekimori.testing.world import ALICE, FILE, World

DEVICE = Context(Owner(OwnerKind.DEVICE, "02:00:00:00:00:05"), "portmap")
KEY = public_key("server").rpartition(" ")[0]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def a_link(name: str = "vps", **terms: object) -> Link:
    usual = {"name": name, "owner": ALICE.actor, "place": SshPlace.parse("ssh://alice@vps.example")}
    return Link(**{**usual, **terms})  # type: ignore[arg-type]


async def refusal(world: World, *asks: object, context: Context = ALICE) -> Problem:
    before, revision = dict(world.ledger.snapshot.links), world.ledger.revision
    with pytest.raises(Problem) as refused:
        await world.ask(*asks, context=context)  # type: ignore[arg-type]
    assert (dict(world.ledger.snapshot.links), world.ledger.revision) == (before, revision)
    return refused.value


async def test_a_link_is_added_changed_and_removed(world: World) -> None:
    made = await world.ask(AddLink(a_link()))
    assert [change.verb for change in made.changes] == [Verb.LINK]
    stands = world.ledger.snapshot.links["vps"]
    assert (stands.owner, stands.created_at) == (ALICE.actor, int(world.clock.now()))
    assert not (await world.ask(AddLink(a_link()))).changes
    world.clock.advance(60)
    await world.ask(AddLink(a_link(connections=4)), context=Context(Owner(OwnerKind.PERSON, "bob"), "api"))
    assert world.ledger.snapshot.links["vps"] == replace(stands, connections=4)
    await world.ask(RemoveLink("vps"))
    assert not world.ledger.snapshot.links


async def test_the_table_is_the_same_object_until_a_link_is_changed(world: World) -> None:
    await world.ask(AddLink(a_link()))
    table = world.ledger.snapshot.links
    fork = world.ledger.snapshot.fork()
    fork.apply(Made(Verb.LINK, table["vps"], None))
    assert (dict(fork.links), world.ledger.snapshot.links) == ({}, table)
    await world.open()
    assert world.ledger.snapshot.links is table
    await world.ask(AddLink(a_link("other")))
    assert sorted(world.ledger.snapshot.links) == ["other", "vps"]
    assert sorted(table) == ["vps"]


async def test_a_start_finds_the_links_again(world: World) -> None:
    await world.ask(AddLink(a_link(host_keys=(f"ssh://alice@vps.example {KEY}",), connections=2)))
    before = dict(world.ledger.snapshot.links)
    world.reopen()
    assert dict(world.ledger.snapshot.links) == before


async def test_what_a_file_declares_is_the_files(world: World) -> None:
    await world.ask(AddLink(a_link()), context=FILE)
    assert world.ledger.snapshot.links["vps"].owner == FILE.actor
    assert (await refusal(world, AddLink(a_link(connections=2)))).code == "managed-by-file"
    assert (await refusal(world, RemoveLink("vps"))).code == "managed-by-file"
    await world.ask(AddLink(a_link("other")))
    await world.ask(AddLink(a_link("other")), context=FILE)
    assert world.ledger.snapshot.links["other"].owner == FILE.actor


async def test_devices_and_keys_change_none(world: World) -> None:
    await world.ask(AddLink(a_link()))
    for ask in (AddLink(a_link("other")), RemoveLink("vps")):
        assert (await refusal(world, ask, context=DEVICE)).code == "not-permitted"


async def test_one_that_is_not_there_is_told_with_those_alike(world: World) -> None:
    await world.ask(AddLink(a_link()))
    problem = await refusal(world, RemoveLink("vpx"))
    assert problem.code == "no-such-link"
    assert "vps" in problem.fix()


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"name": "relay"}, "bad-name"),
        ({"name": "a b"}, "bad-name"),
        ({"connections": 0}, "bad-value"),
        ({"connections": 17}, "bad-value"),
        ({"jump": (SshPlace("j"),) * 9}, "bad-value"),
        ({"identity": ("id_ed25519",)}, "bad-value"),
        ({"identity": ("/root/id\0",)}, "bad-value"),
        ({"config": "~/.ssh/config"}, "bad-value"),
        ({"host_keys": (KEY,)}, "bad-host-key"),
        ({"host_keys": (f"ssh://other.example {KEY}",)}, "bad-host-key"),
        ({"host_keys": (f"alice@vps.example {KEY}",)}, "bad-host-key"),
        ({"host_keys": (f"ssh://alice@vps.example  {KEY}",)}, "bad-host-key"),
        ({"host_keys": (f"ssh://alice@vps.example cert-authority {KEY} x",)}, "bad-host-key"),
        ({"host_keys": ("ssh://alice@vps.example ssh-ed25519 AAAA",)}, "bad-host-key"),
        ({"host_keys": ("ssh://alice@vps.example ssh-dss AAAA",)}, "bad-host-key"),
    ],
)
async def test_what_no_link_can_be(world: World, terms: dict[str, object], code: str) -> None:
    assert (await refusal(world, AddLink(a_link(**terms)))).code == code  # type: ignore[arg-type]


async def test_host_keys_of_the_server_and_the_jumps(world: World) -> None:
    keys = (
        f"ssh://alice@vps.example {KEY}",
        f"ssh://jump.example:2222 cert-authority {KEY}",
    )
    jump = (SshPlace.parse("jump.example:2222"),)
    await world.ask(AddLink(a_link(jump=jump, host_keys=keys, config="none", identity=("/k",))))
    assert world.ledger.snapshot.links["vps"].host_keys == keys


async def test_host_keys_of_jumps_that_only_ssh_config_names(world: World) -> None:
    keys = (f"ssh://alice@vps.example {KEY}", f"ssh://bob@bastion {KEY}")
    assert (await refusal(world, AddLink(a_link(host_keys=keys, config="none")))).code == "bad-host-key"
    await world.ask(AddLink(a_link(host_keys=keys)))
    assert world.ledger.snapshot.links["vps"].host_keys == keys


async def test_a_link_that_mappings_go_through_stays(world: World) -> None:
    await world.ask(AddLink(a_link()), AddLink(a_link("other")))
    far = await world.open("8080", "127.0.0.1:3000", at="vps", from_="anyone", name="far")
    await world.open("5432", "db:5432", via="vps", name="db")
    problem = await refusal(world, RemoveLink("vps"))
    assert (problem.code, problem.facts["mappings"]) == ("link-in-use", "db, far")
    for language in ("en", "ja"):
        assert "--via auto / --at none" in problem.fix(language)
    await world.ask(RemoveLink("vps"), Change("db", world.wish(via="other")), Close(far.id))
    assert sorted(world.ledger.snapshot.links) == ["other"]
    # Added again in the same breath, it was never gone.
    await world.ask(RemoveLink("other"), AddLink(a_link("other", connections=3)))
    assert world.ledger.snapshot.links["other"].connections == 3


async def test_a_link_and_what_goes_through_it_come_and_go_as_one(world: World) -> None:
    made = await world.ask(
        AddLink(a_link()), Submit(world.wish(ports="5432", to="db:5432", via="vps", name="db"))
    )
    assert [change.verb for change in made.changes] == [Verb.LINK, Verb.OPEN]
    await world.undo()
    assert (list(world.ledger.snapshot), dict(world.ledger.snapshot.links)) == ([], {})


async def test_undo_brings_a_link_back_as_it_was(world: World) -> None:
    await world.ask(AddLink(a_link()), context=FILE)
    stands = dict(world.ledger.snapshot.links)
    await world.ask(AddLink(a_link(connections=5)), context=FILE)
    await world.undo()
    assert dict(world.ledger.snapshot.links) == stands
    await world.ask(RemoveLink("vps"), context=FILE)
    await world.undo()
    assert dict(world.ledger.snapshot.links) == stands
    await world.ask(AddLink(a_link(connections=7)), context=FILE)
    with pytest.raises(Problem) as refused:
        await world.undo(1)
    assert refused.value.code == "changed-since"


async def test_a_mapping_whose_link_is_down_stands_and_says_so(world: World) -> None:
    await world.ask(AddLink(a_link()))
    world.links.refuses["00001"] = Problem("link-down", link="vps", why="nobody answers")
    made = await world.ask(Submit(world.wish(ports="5432", to="db:5432", via="vps", name="db")))
    assert "not-open-yet" in [notice.code for notice in made.notices]
    assert world.named("db") is not None
    other = Problem("unexpected", what="x")
    world.links.refuses["00002"] = other
    with pytest.raises(Problem) as refused:
        await world.ask(Submit(world.wish(ports="5433", to="db:5432", via="vps", name="db2")))
    assert refused.value.code == "not-applied"
    assert world.named("db2") is None


async def test_a_way_that_there_is_not_is_told_with_the_links_there_are(world: World) -> None:
    await world.ask(AddLink(a_link()))
    with pytest.raises(Problem) as refused:
        await world.open("8080", "192.168.1.5:80", via="nosuch")
    assert refused.value.code == "no-plane"
    assert str(refused.value.fact("able")).endswith(", vps")
