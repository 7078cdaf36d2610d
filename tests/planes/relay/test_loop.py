"""The worker's event loop, with real descriptors."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

import pytest

from sekimori.planes.relay.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    one = Loop()
    yield one
    one.close()


class Reader:
    """Reads its pipe and does one thing more."""

    def __init__(self, loop: Loop, action: Callable[[], None]) -> None:
        self.fd, self.write_end = os.pipe()
        self.seen = b""
        self._action = action
        loop.register(self.fd, select.EPOLLIN, self)

    def on_event(self, _events: int) -> None:
        self.seen += os.read(self.fd, 100)
        self._action()

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.write_end)


def test_events_timers_and_soon_in_their_order(loop: Loop) -> None:
    order: list[str] = []
    reader = Reader(loop, lambda: order.append("event"))
    os.write(reader.write_end, b"x")
    loop.call_later(0.02, loop.stop)
    loop.call_later(0.015, lambda: order.append("second timer"))
    loop.call_later(0.01, lambda: order.append("first timer"))
    loop.call_later(0.005, lambda: order.append("never")).cancel()
    loop.soon(lambda: order.append("soon"))
    loop.run()
    assert order == ["event", "soon", "first timer", "second timer"]
    reader.close()


def test_soon_gives_way_to_events_between_two_turns(loop: Loop) -> None:
    order: list[str] = []
    reader = Reader(loop, lambda: order.append("event"))

    def again() -> None:
        order.append("soon")
        if len(order) == 1:
            os.write(reader.write_end, b"x")
        loop.soon(again if len(order) < 3 else loop.stop)

    loop.soon(again)
    loop.run()
    assert order == ["soon", "event", "soon"]
    reader.close()


def test_a_fault_loses_nobody_elses_event(loop: Loop) -> None:
    def fail() -> None:
        raise RuntimeError("fault")

    faults: list[object] = []
    loop.on_fault = faults.append
    broken, sound = Reader(loop, fail), Reader(loop, loop.stop)
    for reader in (broken, sound):
        os.write(reader.write_end, b"x")
    loop.soon(fail)
    loop.call_later(0.0, fail)
    loop.run()
    assert sound.seen == b"x"
    assert faults[0] is broken
    assert len(faults) >= 2
    for reader in (broken, sound):
        reader.close()


def test_without_someone_to_tell_a_fault_ends_run(loop: Loop) -> None:
    def fail() -> None:
        raise RuntimeError("fault")

    loop.soon(fail)
    with pytest.raises(RuntimeError, match="fault"):
        loop.run()


def test_a_replaced_and_an_unregistered_handler(loop: Loop) -> None:
    old, new = Reader(loop, lambda: None), Reader(loop, lambda: None)
    loop.replace(old.fd, new)
    loop.unregister(new.fd)
    loop.unregister(new.fd)  # nothing the second time
    os.write(new.write_end, b"unheard")
    os.write(old.write_end, b"x")
    os.dup2(old.fd, new.fd)  # what `new` now reads
    loop.call_later(0.02, loop.stop)
    loop.run()
    assert new.seen == b"x"
    assert old.seen == b""
    for reader in (old, new):
        reader.close()
