"""Undo of what goes through links: also of words that a mapping's document does not always have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sekimori.model.address import IpProtocol, PortRange
from sekimori.model.errors import Problem
from sekimori.model.lease import Adopt, Asker, LeaseProtocol, LeaseTerms, Obtain
from sekimori.model.link import AddLink, Link, RemoveLink, SshPlace
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.request import Change, Close, Context
from sekimori.testing.world import ALICE, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.ask(
        *(
            AddLink(Link(name=name, owner=ALICE.actor, place=SshPlace(f"{name}.example")))
            for name in ("vps", "home")
        )
    )
    yield made
    made.close()


def shape(world: World) -> list[Mapping]:
    return [replace(mapping, revision=0) for mapping in world.ledger.snapshot]


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ({}, {"at": "vps"}),
        ({"at": "vps"}, {"at": "none"}),
        ({"at": "vps"}, {"at": "home"}),
        ({}, {"via": "vps"}),
        ({"via": "vps"}, {"via": "auto"}),
        ({"via": "vps"}, {"via": "home", "limit": "5/s"}),
    ],
)
async def test_another_way_is_put_back(
    world: World, words: dict[str, object], others: dict[str, object]
) -> None:
    await world.open("8080", "192.168.1.5:80", name="web", **words)
    before = shape(world)
    await world.edit("web", **others)
    assert shape(world) != before
    await world.undo()
    assert shape(world) == before


async def test_a_socks_port_and_its_terms_are_put_back(world: World) -> None:
    terms: dict[str, object] = {"socks_user": "bob:a long password", "reach": "10.0.0.0/8"}
    await world.open("1080", None, socks=True, name="proxy", **terms)  # type: ignore[arg-type]
    before = shape(world)
    await world.edit("proxy", reach="192.0.2.0/24")
    await world.undo()
    assert shape(world) == before
    await world.edit("proxy", to="192.168.1.5:80")
    await world.undo()
    assert shape(world) == before
    await world.shut("proxy")
    await world.undo()
    assert shape(world) == before


async def test_a_lease_that_was_adopted_and_given_back_is_adopted_again(world: World) -> None:
    phone = Context(Owner(OwnerKind.DEVICE, "02:00:00:00:00:05"), "portmap")
    here = (await world.open("1", "192.168.1.5")).target.address
    assert here is not None
    ask = Obtain(
        asker=Asker(here, "lan0"),
        protocol=IpProtocol.UDP,
        inside=here,
        ports=PortRange(5000, 5000),
        lifetime=7200,
        terms=LeaseTerms(protocol=LeaseProtocol.PCP),
    )
    made = (await world.ask(ask, context=phone)).changes[0].after
    assert isinstance(made, Mapping)
    await world.ask(Adopt(made.id))
    adopted = shape(world)
    undone = (await world.undo()).committed
    assert undone is not None
    assert world.ledger.snapshot.find(made.id).lease is not None
    await world.undo(undone.revision)
    assert shape(world) == adopted


async def test_a_link_comes_back_before_what_goes_through_it(world: World) -> None:
    await world.open("8080", "192.168.1.5:80", name="web", via="vps")
    await world.open("8081", "192.168.1.5:80", name="far", at="vps")
    before, links = shape(world), dict(world.ledger.snapshot.links)
    await world.ask(Change("web", world.wish(via="auto")), Close("far"), RemoveLink("vps"))
    await world.undo()
    key = lambda mapping: mapping.id  # noqa: E731 - short
    assert (sorted(shape(world), key=key), dict(world.ledger.snapshot.links)) == (
        sorted(before, key=key),
        links,
    )


async def test_a_link_is_not_taken_from_under_what_came_after(world: World) -> None:
    await world.open("8080", "192.168.1.5:80", name="web", via="vps")
    with pytest.raises(Problem) as refused:
        await world.undo(1)
    assert refused.value.code == "link-in-use"
