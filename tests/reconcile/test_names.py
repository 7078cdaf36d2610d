"""Named targets by their TTL."""

from __future__ import annotations

import asyncio

import pytest

from sekimori.model.errors import Problem
from sekimori.reconcile.names import Names
from sekimori.testing.clock import FakeClock
from sekimori.testing.world import FakeResolver


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.resolver = FakeResolver()
        self.resolver.hosts["a"] = ("192.0.2.1",)
        self.changed: list[str] = []
        self.names = Names(self.resolver, self.clock, self.changed.append)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_an_answer_is_believed_for_its_ttl(scene: Scene) -> None:
    assert await scene.names.learn("a") == ("192.0.2.1",)
    scene.clock.advance(59)
    await scene.names.learn("a")
    assert scene.resolver.asked == ["a"]
    scene.clock.advance(1)
    await scene.names.learn("a")
    assert scene.resolver.asked == ["a", "a"]


@pytest.mark.parametrize(("ttl", "believed"), [(0.0, 5), (1.0, 5), (7200.0, 3600)])
async def test_a_ttl_is_kept_within_reason(scene: Scene, ttl: float, believed: int) -> None:
    scene.resolver.ttl = ttl
    await scene.names.learn("a")
    scene.clock.advance(believed - 1)
    await scene.names.learn("a")
    assert scene.resolver.asked == ["a"]
    scene.clock.advance(1)
    await scene.names.learn("a")
    assert scene.resolver.asked == ["a", "a"]


async def test_an_unknown_host_is_a_problem_and_asked_again_each_time(scene: Scene) -> None:
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            await scene.names.learn("b")
        assert caught.value.code == "no-such-host"
    assert scene.resolver.asked == ["b", "b"]
    assert scene.names.addresses("b") == ()
    assert scene.names.problem("b") is not None


async def test_the_last_known_addresses_outlive_a_failure(scene: Scene) -> None:
    await scene.names.learn("a")
    del scene.resolver.hosts["a"]
    scene.clock.advance(60)
    assert await scene.names.learn("a") == ("192.0.2.1",)
    problem = scene.names.problem("a")
    assert problem is not None
    assert problem.code == "no-such-host"


async def test_word_is_given_of_new_addresses_and_of_failing_or_succeeding_again(scene: Scene) -> None:
    await scene.names.learn("a")
    assert scene.changed == ["a"]
    scene.clock.advance(60)
    await scene.names.learn("a")
    assert scene.changed == ["a"]
    scene.resolver.hosts["a"] = ("192.0.2.2",)
    scene.clock.advance(60)
    await scene.names.learn("a")
    assert scene.changed == ["a"] * 2
    known, scene.resolver.hosts = scene.resolver.hosts, {}
    scene.clock.advance(60)
    await scene.names.learn("a")
    await scene.names.learn("a")
    assert scene.changed == ["a"] * 3
    scene.resolver.hosts = known
    await scene.names.learn("a")
    assert scene.changed == ["a"] * 4


async def test_it_follows_what_it_is_told_to_keep_and_nothing_else(scene: Scene) -> None:
    scene.resolver.hosts["b"] = ("192.0.2.9",)
    await scene.names.learn("b")
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(scene.names.run())
        scene.names.keep(["a"])
        await _until(lambda: scene.names.addresses("a") == ("192.0.2.1",))
        assert scene.names.addresses("b") == ()
        scene.resolver.hosts["a"] = ("192.0.2.3",)
        scene.clock.advance(60)
        await _until(lambda: scene.names.addresses("a") == ("192.0.2.3",))
        asked = scene.resolver.asked.count("b")
        scene.names.keep([])
        scene.clock.advance(3600)
        await asyncio.sleep(0)
        assert scene.resolver.asked.count("b") == asked
        loop.cancel()


async def test_one_host_is_followed_or_left_without_a_word_about_the_others(scene: Scene) -> None:
    scene.resolver.hosts["b"] = ("192.0.2.9",)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(scene.names.run())
        scene.names.keep(["a"])
        await _until(lambda: scene.names.addresses("a") == ("192.0.2.1",))
        scene.names.follow("b", True)
        await _until(lambda: scene.names.addresses("b") == ("192.0.2.9",))
        asked = len(scene.resolver.asked)
        scene.names.follow("b", True)  # again is nothing new
        scene.names.follow("a", False)
        scene.names.follow("c", False)
        assert (scene.names.addresses("a"), scene.names.addresses("b")) == ((), ("192.0.2.9",))
        assert len(scene.resolver.asked) == asked
        loop.cancel()


async def test_what_failed_is_tried_again_after_a_while(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(scene.names.run())
        scene.names.keep(["b"])
        await _until(lambda: scene.resolver.asked == ["b"])
        scene.resolver.hosts["b"] = ("192.0.2.9",)
        scene.clock.advance(15)
        await _until(lambda: scene.names.addresses("b") == ("192.0.2.9",))
        loop.cancel()


async def _until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop under test tells nobody
            await asyncio.sleep(0)


async def test_a_name_learned_while_nothing_is_followed_is_looked_up_again(scene: Scene) -> None:
    """Who sleeps because nothing is due must be woken by what is learned, too."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(scene.names.run())
        await asyncio.sleep(0)
        await scene.names.learn("a")
        scene.names.follow("a", True)
        await asyncio.sleep(0)  # `run` takes its new deadline up
        scene.clock.advance(3601)
        await _until(lambda: scene.resolver.asked == ["a", "a"])
        running.cancel()
