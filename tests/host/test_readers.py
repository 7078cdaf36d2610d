"""Descriptors watched together for reading."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from sekimori.host.readers import Readers, readers_of

DEADLINE = 5.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_handler_is_called_while_there_is_something_to_read() -> None:
    readers = readers_of(asyncio.get_running_loop())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        heard: list[bytes] = []
        readers.add(ours.fileno(), lambda: heard.append(ours.recv(1)))
        theirs.sendall(b"ab")  # one is left each time, and told again
        await until(lambda: heard == [b"a", b"b"])
        readers.remove(ours.fileno())
        theirs.sendall(b"c")
        await asyncio.sleep(0)
        assert ours.recv(1) == b"c"  # nobody has read it
        readers.add(ours.fileno(), lambda: heard.append(ours.recv(1)))
        theirs.sendall(b"d")
        await until(lambda: heard[2:] == [b"d"])
        theirs.close()
        await until(lambda: b"" in heard)  # the end is told too
        readers.remove(ours.fileno())


async def test_who_is_removed_by_another_in_the_same_turn_is_not_called() -> None:
    readers = Readers(asyncio.get_running_loop())
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def first_come(mine: int) -> None:
        called.append(mine)
        for ours, _ in pairs:
            readers.remove(ours.fileno())

    for number, (ours, theirs) in enumerate(pairs):
        theirs.sendall(b"x")
        readers.add(ours.fileno(), lambda number=number: first_come(number))  # type: ignore[misc]
    await until(lambda: called)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(called) == 1
    for pair in pairs:
        for sock in pair:
            sock.close()


async def test_one_that_raises_leaves_the_others_served() -> None:
    loop = asyncio.get_running_loop()
    faults: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    readers = Readers(loop)
    (bad, teller), (good, other) = socket.socketpair(), socket.socketpair()
    heard: list[bytes] = []

    def broken() -> None:
        bad.recv(1)
        raise LookupError("a mistake")

    readers.add(bad.fileno(), broken)
    readers.add(good.fileno(), lambda: heard.append(good.recv(1)))
    teller.sendall(b"x")
    other.sendall(b"y")
    await until(lambda: heard == [b"y"])
    assert len(faults) == 1
    for sock in (bad, good):
        readers.remove(sock.fileno())
    for sock in (bad, teller, good, other):
        sock.close()


async def test_a_loop_has_one() -> None:
    loop = asyncio.get_running_loop()
    assert readers_of(loop) is readers_of(loop)
