"""The event stream: what it tells, and what becomes of readers that do not read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sekimori.client import Client
from sekimori.doors.api import answers
from sekimori.doors.api.stream import Pace
from sekimori.model.actual import Counters, State, Status
from sekimori.model.errors import Problem
from sekimori.model.events import StatusChanged

if TYPE_CHECKING:
    from tests.doors.api.conftest import Served, Serving, World

pytestmark = pytest.mark.loopback

Until = Callable[..., Awaitable[None]]
WEB = {"ports": "8080:80", "to": "192.168.1.5", "from": "198.51.100.0/24", "name": "web"}


class Reading:
    """A client that reads events on a thread of its own."""

    def __init__(self, client: Client, counters: bool = False) -> None:
        self._events = client.events(counters)

    async def next(self, *names: str) -> tuple[str, dict[str, Any]]:
        """The next event of one of these names."""
        while True:
            found = await asyncio.wait_for(asyncio.to_thread(next, self._events, None), 10)
            assert found is not None, "the stream ended"
            if not names or found[0] in names:
                return found

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        """What is left until the stream ends."""
        return await asyncio.wait_for(asyncio.to_thread(list, self._events), 10)

    def close(self) -> None:
        self._events.close()


def _news(number: int, padding: str = "") -> StatusChanged:
    return StatusChanged(
        number, f"m{number}", f"n{number}{padding}", Status(State.FAILED, 1, 2, Problem("interrupted"))
    )


async def test_hello_comes_first_and_then_what_happens(served: Served) -> None:
    reading = Reading(served.client)
    name, hello = await reading.next()
    assert (name, hello["you"]["role"]) == ("hello", "admin")

    await served.call(served.client.open, WEB, why="a party")
    name, committed = await reading.next()
    assert (name, committed["revision"], committed["why"]) == ("committed", 1, "a party")
    answers.ChangeView.model_validate(committed["changes"][0])
    name, status = await reading.next()
    assert (name, status["name"], status["status"]["state"]) == ("status", "web", "open")
    answers.StatusView.model_validate(status["status"])
    reading.close()


async def test_every_reader_gets_every_event_in_order(served: Served) -> None:
    readings = [Reading(served.client) for _ in range(3)]
    for reading in readings:
        await reading.next("hello")
    for number in range(200):
        served.world.feed.publish(_news(number))

    for reading in readings:
        assert [(await reading.next())[1]["id"] for _ in range(200)] == [f"m{n}" for n in range(200)]
        reading.close()


async def test_counters_come_again_and_again(serving: Serving, world: World, tmp_path: Path) -> None:
    async with serving(world, tmp_path / "s", pace=Pace(counters=0.01)) as served:
        await served.call(served.client.open, WEB)
        reading = Reading(served.client, counters=True)
        _, first = await reading.next("counters")
        answers.MappingsBody.model_validate(first)
        assert first["mappings"][0]["counters"]["bytes_in"] == 0
        world.measured["m1"] = Counters(bytes_in=5)
        while (await reading.next("counters"))[1]["mappings"][0]["counters"]["bytes_in"] != 5:
            pass
        reading.close()


async def test_without_asking_there_are_no_counters(serving: Serving, world: World, tmp_path: Path) -> None:
    async with serving(world, tmp_path / "s", pace=Pace(counters=0.001)) as served:
        quiet, loud = Reading(served.client), Reading(served.client, counters=True)
        await quiet.next("hello")
        for _ in range(20):
            await loud.next("counters")
        world.feed.publish(_news(1))
        assert (await quiet.next())[0] == "status"
        quiet.close()
        loud.close()


async def test_a_failing_meter_is_told_and_the_stream_goes_on(
    serving: Serving, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_ids: object = None) -> Any:
        raise Problem("timeout", seconds=5, what="the worker is silent")

    async with serving(world, tmp_path / "s", pace=Pace(counters=0.01)) as served:
        await served.call(served.client.open, WEB)
        with monkeypatch.context() as patch:
            patch.setattr(world, "counters", fail)
            reading = Reading(served.client, counters=True)
            _, problem = await reading.next("problem")
            assert problem["code"] == "timeout"
        await reading.next("counters")
        reading.close()


async def test_silence_is_broken_by_comments(serving: Serving, world: World, tmp_path: Path) -> None:
    async with serving(world, tmp_path / "s", pace=Pace(keep_alive=0.01)) as served:
        reader, writer = await asyncio.open_unix_connection(str(served.path))
        writer.write(b"GET /v1/events HTTP/1.0\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b": keep-alive\n\n: keep-alive\n\n")
        writer.close()


async def test_a_reader_that_leaves_is_forgotten(served: Served, until: Until) -> None:
    reading = Reading(served.client)
    await reading.next("hello")
    assert len(served.world.feed) == 1
    reading.close()
    await until(lambda: len(served.world.feed) == 0)


async def test_a_reader_that_does_not_read_is_cut_off_and_holds_up_nobody(
    serving: Serving, world: World, tmp_path: Path, until: Until
) -> None:
    async with serving(world, tmp_path / "s", pace=Pace(stall=0.2)) as served:
        _, asleep = await asyncio.open_unix_connection(str(served.path), limit=1024)
        asleep.transport.pause_reading()  # type: ignore[attr-defined] # a read transport on unix
        asleep.write(b"GET /v1/events HTTP/1.0\r\nhost: x\r\n\r\n")
        awake = Reading(served.client)
        await awake.next("hello")
        await until(lambda: len(world.feed) == 2)

        # More than the kernel and the server buffer for it together.
        for number in range(40):
            world.feed.publish(_news(number, "x" * 30_000))
            assert (await awake.next())[1]["id"] == f"m{number}"
        await until(lambda: len(world.feed) == 1)
        asleep.close()
        awake.close()


async def test_a_reader_that_falls_behind_is_told_and_cut_off(
    serving: Serving, make_world: Callable[..., World], tmp_path: Path
) -> None:
    world = make_world(5)
    async with serving(world, tmp_path / "s") as served:
        reading = Reading(served.client)
        await reading.next("hello")
        for number in range(50):  # at once: the stream has no turn in between
            world.feed.publish(_news(number))

        rest = await reading.rest()
        assert [data.get("id") for _, data in rest[:-1]] == [f"m{n}" for n in range(5)]
        assert rest[-1][0] == "lagged"
        assert len(world.feed) == 0


async def test_streams_end_with_the_daemon_and_soon(
    serving: Serving, world: World, tmp_path: Path, event_loop_time: Callable[[], float]
) -> None:
    async with serving(world, tmp_path / "s") as served:
        reading = Reading(served.client)
        await reading.next("hello")
        began = event_loop_time()
    assert event_loop_time() - began < 1.5
    assert await reading.rest() == []
    with pytest.raises(Problem) as caught:
        await asyncio.to_thread(served.client.status)
    assert caught.value.code == "unreachable"


async def test_the_feed_ends_its_readers_when_it_closes(world: World) -> None:
    async with world.feed.subscribe() as events:
        world.feed.publish(news := _news(1))
        world.feed.close()
        assert [event async for event in events] == [news]
    assert len(world.feed) == 0


@pytest.fixture
def event_loop_time() -> Callable[[], float]:
    return lambda: asyncio.get_running_loop().time()


async def test_a_hang_up_in_the_middle_of_a_frame_is_no_error(
    serving: Serving, world: World, tmp_path: Path, until: Until
) -> None:
    async with serving(world, tmp_path / "s") as served:
        for _ in range(5):
            _, writer = await asyncio.open_unix_connection(str(served.path))
            writer.write(b"GET /v1/events HTTP/1.0\r\nhost: x\r\n\r\n")
            await until(lambda: len(world.feed) == 1)
            world.feed.publish(_news(1, "x" * 500_000))
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            await until(lambda: len(world.feed) == 0)
        assert (await served.call(served.client.status))["version"] == "1.2.3"
