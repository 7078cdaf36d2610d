"""The idle wheel, on a clock of the test's own."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest

from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import Flow, SourceRow
from sekimori.planes.relay.idle import IdleWheel
from sekimori.planes.relay.loop import Loop, Timer

LISTEN = Listen("tcp", "127.0.0.1", 1, 2)


class Clock(Loop):
    """A loop whose time only moves when told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def advance(self, seconds: float) -> None:
        """Let time pass, running timers at their moments."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _order, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if timer.action is not None:
                timer.action()
        self.now = end

    def call_at(self, when: float, action: Callable[[], None]) -> Timer:
        assert when >= self.now - 1e-9
        return super().call_at(when, action)

    @property
    def pending(self) -> int:
        return len(self._timers)


class Watched(Flow):
    __slots__ = ("ended_at", "loop")

    def __init__(self, loop: Loop, idle: float) -> None:
        super().__init__(SourceRow("192.0.2.1", 0.0), ("192.0.2.1", 1), LISTEN, "", loop.now, idle)
        self.loop = loop
        self.ended_at: float | None = None

    def ended(self) -> bool:
        return self.ended_at is not None

    def cut(self) -> None:
        assert self.ended_at is None
        self.ended_at = self.loop.now


@pytest.mark.parametrize("idle", [0.1, 1.0, 10.0, 120.0, 7440.0])
def test_silence_ends_a_flow_not_early_and_at_most_a_sixteenth_late(idle: float) -> None:
    clock = Clock()
    flow = Watched(clock, idle)
    IdleWheel(clock).add(flow)
    clock.advance(idle * 3)
    assert flow.ended_at is not None
    assert idle <= flow.ended_at - 1000.0 <= idle * 17 / 16 + 0.0626
    clock.close()


def test_traffic_keeps_a_flow_at_the_cost_of_one_store() -> None:
    clock = Clock()
    flow = Watched(clock, 10.0)
    IdleWheel(clock).add(flow)
    for _ in range(50):
        clock.advance(3.0)
        flow.last = clock.now
    assert not flow.ended()
    clock.advance(10.7)
    assert flow.ended()
    clock.close()


def test_a_flow_added_again_has_its_new_timeout_only() -> None:
    clock = Clock()
    wheel, flow = IdleWheel(clock), Watched(clock, 100.0)
    wheel.add(flow)
    flow.idle_after = 5.0
    wheel.add(flow)
    clock.advance(6.0)
    assert flow.ended_at == pytest.approx(1005.0, abs=0.4)
    clock.advance(1000.0)
    clock.close()


def test_ten_thousand_flows_need_few_timers() -> None:
    clock = Clock()
    wheel = IdleWheel(clock)
    for _ in range(10_000):
        wheel.add(Watched(clock, 7440.0))
        clock.advance(0.5)
    assert clock.pending <= 40
    clock.close()
