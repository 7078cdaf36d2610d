"""Ledgers that cannot be written."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sekimori.ledger.store import Ledger
from sekimori.model.actual import State
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.events import Committed
from sekimori.model.request import Context, Define
from sekimori.testing.world import World

FULL = Problem("disk-full", file="ledger.db")


class Failing:
    """A ledger whose commits fail while `problem` is set."""

    def __init__(self, ledger: Ledger) -> None:
        self.problem: Problem | None = None
        self._write = ledger.write
        ledger.write = self.write  # type: ignore[assignment,method-assign]

    def write(self, changes: Sequence[Made], context: Context, at: float, *terms: Any) -> Committed:
        if self.problem is not None:
            raise self.problem
        return self._write(changes, context, at, *terms)


@pytest.mark.parametrize("verb", ["open", "edit", "pause", "extend", "close", "undo", "define"])
async def test_what_could_not_be_written_did_not_happen(world: World, verb: str) -> None:
    await world.open("80", name="web")

    def shape() -> tuple[object, ...]:
        ledger = world.ledger
        return list(ledger.snapshot), dict(world.plane.held), ledger.revision, list(world.events)

    before = shape()
    failing = Failing(world.ledger)
    failing.problem = FULL
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "open": lambda: world.open("81"),
        "edit": lambda: world.edit("web", ports="82"),
        "pause": lambda: world.pause("web"),
        "extend": lambda: world.extend("web", add=5),
        "close": lambda: world.shut("web", now=True),
        "undo": lambda: world.undo(),
        "define": lambda: world.ask(Define("office", (ipaddress.ip_network("192.0.2.0/24"),))),
    }
    with pytest.raises(Problem) as caught:
        await calls[verb]()
    assert caught.value is FULL
    await world.engine.settle()
    assert (
        list(world.ledger.snapshot),
        dict(world.plane.held),
        world.ledger.revision,
        world.events,
    ) == before
    failing.problem = None
    await world.open("83")


async def test_an_expiry_that_cannot_be_written_still_stops_accepting(world: World) -> None:
    web = await world.open("80", name="web", for_="1m")
    failing = Failing(world.ledger)
    failing.problem = FULL
    await world.pass_time(60)
    assert not world.held("web")
    status = world.engine.status(web.id)
    assert (status.state, status.problem) == (State.FAILED, FULL)
    failing.problem = None
    await world.pass_time(1)
    assert world.named("web") is None
    assert world.ledger.history()[0].rows[0].verb is Verb.EXPIRE


async def test_an_expiry_that_cannot_be_written_is_tried_ever_less_often(world: World) -> None:
    await world.open("80", for_="1m")
    failing = Failing(world.ledger)
    failing.problem = FULL
    tries = 0
    commit = failing.write

    def counted(changes: Sequence[Made], context: Context, at: float, *terms: Any) -> Committed:
        nonlocal tries
        tries += 1
        return commit(changes, context, at, *terms)

    world.ledger.write = counted  # type: ignore[assignment,method-assign]
    for _ in range(120):
        await world.pass_time(1)
    assert 3 <= tries <= 10


async def test_more_time_clears_an_unwritten_expiry(world: World) -> None:
    await world.open("80", name="web", for_="1m")
    failing = Failing(world.ledger)
    failing.problem = FULL
    await world.pass_time(60)
    failing.problem = None
    await world.extend("web", add=600)
    assert world.status("web").state is State.OPEN
    assert world.held("web")
