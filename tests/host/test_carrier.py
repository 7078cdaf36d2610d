"""A carrier's side of a worker's channel, with the worker's side held by the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from sekimori.host.carrier import Carriage, Dial, DialFailed, Dialled
from sekimori.host.frames import FrameReader, Outbox

DEADLINE = 5.0


class Worker:
    """The other end of a channel."""

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._outbox = Outbox(self.sock)
        self._reader = FrameReader(self.sock)

    def tell(self, **message: Any) -> None:
        self._outbox.put(message)
        assert self._outbox.send()

    def dial(self, n: int, **more: Any) -> None:
        self.tell(
            op="dial", n=n, id="m1", protocol="tcp", host="db", port=5432, source=["192.0.2.1", 5], **more
        )

    async def next(self) -> tuple[dict[str, Any], list[socket.socket]]:
        async with asyncio.timeout(DEADLINE):
            while True:
                with suppress(BlockingIOError):
                    assert self._reader.read(), "the channel ended"
                frame = self._reader.next()
                if frame is not None:
                    return frame[0], [socket.socket(fileno=fd) for fd in frame[1]]
                await readable(self.sock)

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    if not self._reader.read():
                        return
                except BlockingIOError:
                    await readable(self.sock)
                except ConnectionResetError:
                    return

    def close(self) -> None:
        self._reader.close()
        self._outbox.close()
        self.sock.close()


async def readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock.fileno())


@asynccontextmanager
async def carried(
    serve: Callable[[Dial], Awaitable[Dialled]], lost: Callable[[int], None] = lambda _index: None
) -> AsyncIterator[tuple[Carriage, Worker]]:
    worker = Worker()
    async with Carriage(serve, lost) as carriage:
        carriage.add_worker(0, worker.theirs)
        try:
            yield carriage, worker
        finally:
            worker.close()


class Place:
    """Serves every dial with one end of a socket pair, and keeps the other."""

    def __init__(self) -> None:
        self.dials: list[Dial] = []
        self.aborted: list[int] = []
        self.ends: list[socket.socket] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = asyncio.Event()

    async def serve(self, dial: Dial) -> Dialled:
        self.dials.append(dial)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        ours, theirs = socket.socketpair()
        self.ends.append(ours)
        return Dialled(theirs, ("10.0.0.1", 4), on_aborted=lambda: self.aborted.append(dial.n))

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    yield made
    made.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_dial_is_answered_with_a_socket(place: Place) -> None:
    async with carried(place.serve) as (_carriage, worker):
        worker.dial(7, listen=["0.0.0.0", 80], rules=["*"])
        frame, (sock,) = await worker.next()
        assert frame == {"op": "dialled", "n": 7, "local": ["10.0.0.1", 4], "peer": None, "fds": 1}
        with sock:
            place.ends[0].sendall(b"through")
            assert sock.recv(7) == b"through"
        (dial,) = place.dials
        assert (dial.host, dial.port, dial.source, dial.listen, dial.worker) == (
            "db",
            5432,
            ("192.0.2.1", 5),
            ("0.0.0.0", 80),
            0,
        )
        assert dial.asked["rules"] == ["*"]


async def test_a_dial_that_fails_says_why() -> None:
    async def refuse(dial: Dial) -> Dialled:
        raise DialFailed("timed_out")

    async with carried(refuse) as (_carriage, worker):
        worker.dial(1)
        assert (await worker.next())[0] == {"op": "failed", "n": 1, "cause": "timed_out"}


async def test_a_fault_of_ours_fails_one_dial_and_no_other() -> None:
    async def broken(dial: Dial) -> Dialled:
        raise DialFailed("refused") if dial.n == 2 else LookupError("a mistake")

    async with carried(broken) as (_carriage, worker):
        worker.dial(1)
        worker.dial(2)
        causes = {frame["n"]: frame["cause"] for frame in [(await worker.next())[0] for _ in range(2)]}
        assert causes == {1: "other", 2: "refused"}


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cancelled_dial_is_cancelled_whether_it_was_begun_or_not(place: Place, begun: bool) -> None:
    place.gate.clear()
    async with carried(place.serve) as (_carriage, worker):
        worker.dial(1)
        if begun:
            await until(lambda: place.dials)
        worker.tell(op="cancel", n=1)
        if begun:
            async with asyncio.timeout(DEADLINE):
                await place.cancelled.wait()
        place.gate.set()
        worker.dial(2)
        frame, (sock,) = await worker.next()
        sock.close()
        assert frame["n"] == 2


async def test_a_cancellation_that_comes_late_ends_the_flow(place: Place) -> None:
    async with carried(place.serve) as (_carriage, worker):
        worker.dial(1)
        _frame, (sock,) = await worker.next()
        sock.close()
        worker.tell(op="cancel", n=1)
        await until(lambda: place.aborted == [1])


async def test_a_flow_that_breaks_before_the_worker_knows_of_it_is_reset_all_the_same() -> None:
    async def breaks(dial: Dial) -> Dialled:
        ours, theirs = socket.socketpair()
        ours.close()
        carriage.abort(dial)
        return Dialled(theirs, on_aborted=None)

    async with carried(breaks) as (carriage, worker):
        for number in (1, 2):
            worker.dial(number)
            frame, (sock,) = await worker.next()
            sock.close()
            assert (frame["op"], frame["n"]) == ("dialled", number)
            assert (await worker.next())[0] == {"op": "aborted", "n": number}


async def test_either_side_breaks_a_dialled_flow_off_once(place: Place) -> None:
    async with carried(place.serve) as (carriage, worker):
        worker.dial(1)
        worker.dial(2)
        worker.dial(3)
        for _ in range(3):
            (await worker.next())[1][0].close()
        worker.tell(op="aborted", n=1)
        await until(lambda: place.aborted == [1])
        carriage.abort(place.dials[0])  # it is over: nothing is said
        carriage.over(place.dials[1])
        carriage.abort(place.dials[1])
        carriage.abort(place.dials[2])
        assert (await worker.next())[0] == {"op": "aborted", "n": 3}


async def test_arrivals_are_handed_over_and_end_by_either_side(place: Place) -> None:
    heard: list[str] = []
    async with carried(place.serve) as (carriage, worker):
        arrivals = []
        for name in ("away", "broken", "ours"):
            ours, theirs = socket.socketpair()
            place.ends.append(ours)
            arrivals.append(
                carriage.arrive(
                    0,
                    "m2",
                    "tcp",
                    ("192.0.2.9", 7),
                    ("::", 80),
                    theirs,
                    lambda name=name: heard.append(f"{name} turned away"),  # type: ignore[misc]
                    lambda name=name: heard.append(f"{name} aborted"),  # type: ignore[misc]
                )
            )
        keys = []
        for _ in range(3):
            frame, (sock,) = await worker.next()
            sock.close()
            assert (frame["op"], frame["id"], frame["source"], frame["listen"]) == (
                "arrived",
                "m2",
                ["192.0.2.9", 7],
                ["::", 80],
            )
            keys.append(frame["k"])
        worker.tell(op="turned_away", k=keys[0])
        worker.tell(op="aborted", k=keys[1])
        await until(lambda: heard == ["away turned away", "broken aborted"])
        arrivals[2].abort()
        assert (await worker.next())[0] == {"op": "aborted", "k": keys[2]}


async def test_nobody_takes_an_arrival(place: Place) -> None:
    async with carried(place.serve) as (carriage, _worker):
        ours, theirs = socket.socketpair()
        place.ends.append(ours)
        with pytest.raises(DialFailed) as failed:
            carriage.arrive(5, "m", "tcp", ("::1", 1), ("::1", 2), theirs, lambda: None)
        assert failed.value.cause == "down"
        assert ours.recv(1) == b""  # what was handed over is closed


async def test_a_channel_that_ends_ends_what_came_by_it(place: Place) -> None:
    lost: list[int] = []
    async with carried(place.serve, lost.append) as (carriage, worker):
        worker.dial(1)
        (await worker.next())[1][0].close()
        place.gate.clear()
        worker.dial(2)
        await until(lambda: len(place.dials) == 2)
        worker.close()
        await until(lambda: lost == [0])
        assert place.aborted == [1]
        assert carriage.workers == ()
        async with asyncio.timeout(DEADLINE):
            await place.cancelled.wait()


async def test_a_new_channel_of_the_same_worker_takes_the_place(place: Place) -> None:
    lost: list[int] = []
    async with carried(place.serve, lost.append) as (carriage, worker):
        worker.dial(1)
        (await worker.next())[1][0].close()
        other = Worker()
        carriage.add_worker(0, other.theirs)
        await worker.ended()
        assert place.aborted == [1]
        other.dial(2)
        (await other.next())[1][0].close()
        assert lost == []  # it is the same worker
        other.close()


async def test_what_is_no_frame_ends_the_channel(place: Place) -> None:
    lost: list[int] = []
    async with carried(place.serve, lost.append) as (_carriage, worker):
        worker.tell(op="dial", n="not a number's place")
        await until(lambda: lost == [0])


async def test_bind_says_where_it_waits_first() -> None:
    ours, theirs = socket.socketpair()

    async def serve(dial: Dial) -> Dialled:
        assert dial.op == "bind"
        carriage.bound(dial, ("127.0.0.1", 9))
        return Dialled(theirs, peer=("192.0.2.3", 4))

    async with carried(serve) as (carriage, worker):
        worker.tell(op="bind", n=1, id="m", protocol="tcp", host="192.0.2.3", port=0)
        assert (await worker.next())[0] == {"op": "bound", "n": 1, "local": ["127.0.0.1", 9]}
        frame, (sock,) = await worker.next()
        sock.close()
        assert frame["peer"] == ["192.0.2.3", 4]
    ours.close()
