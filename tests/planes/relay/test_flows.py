"""Figures: totals are ended plus live, and the table of sources is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekimori.planes.relay.entry import Listen
from sekimori.planes.relay.flows import Counters, Flow, SourceRow, Sources

LISTEN = Listen("tcp", "127.0.0.1", 1, 2)


def flow_of(counters: Counters, source: str, wall: float = 0.0) -> Flow:
    return Flow(counters.opened(source, wall), (source, 9), LISTEN, "127.0.0.1", 0.0, 60.0)


steps = st.lists(
    st.tuples(st.sampled_from(["open", "carry", "end", "refuse"]), st.integers(0, 7), st.integers(0, 10_000)),
    max_size=60,
)


@given(steps, st.integers(1, 4))
def test_totals_are_ended_plus_live_and_equal_the_sum_over_sources(
    plan: list[tuple[str, int, int]], kept: int
) -> None:
    counters = Counters()
    counters.sources = Sources(kept)
    live: list[Flow] = []
    carried = opened = refused = 0
    for step, which, amount in plan:
        if step == "open":
            live.append(flow_of(counters, f"192.0.2.{which}"))
            opened += 1
        elif step == "refuse":
            counters.refuse(f"192.0.2.{which}", "rate", 0.0)
            refused += 1
        elif live and step == "carry":
            live[which % len(live)].bytes_in += amount
            carried += amount
        elif live:
            counters.ended(live.pop(which % len(live)), 0.0)
    figures = counters.snapshot(live)
    rows = counters.by_source(live)
    assert figures["bytes_in"] == carried == sum(row["bytes_in"] for row in rows)
    assert figures["flows_total"] == opened == sum(row["total"] for row in rows)
    assert figures["flows_active"] == len(live) == sum(row["active"] for row in rows)
    assert figures["refused"]["rate"] == refused == sum(row["refused"] for row in rows)
    assert len(rows) <= kept + 1


def test_the_source_idle_for_longest_makes_room() -> None:
    sources = Sources(2)
    first, second = sources.row("first", 1.0), sources.row("second", 2.0)
    sources.enter(first)
    sources.enter(second)
    first.bytes_in = 7
    sources.leave(second)
    sources.leave(first)
    sources.row("third", 3.0)
    assert [row.address for row in sources.rows()] == ["first", "third", "others"]
    sources.row("fourth", 4.0)
    assert sources.others is not None
    assert sources.others.bytes_in == 7
    assert sources.others.total == 2


def test_with_every_row_live_newcomers_share_one() -> None:
    sources = Sources(1)
    sources.enter(sources.row("busy", 1.0))
    rest = sources.row("crowd", 2.0)
    assert rest is sources.others
    sources.enter(rest)
    assert sources.row("more", 3.0) is rest
    sources.leave(rest)
    assert rest.active == 0
    assert sources.rows()[-1] is rest


def test_a_flow_tells_of_itself() -> None:
    flow = Flow(SourceRow("192.0.2.1", 0.0), ("192.0.2.1", 9), LISTEN, "198.51.100.1", 100.0, 60.0)
    flow.last = 103.0
    assert flow.to_json(110.0) == {
        "protocol": "tcp",
        "source": "192.0.2.1",
        "source_port": 9,
        "listen_port": 1,
        "target": "198.51.100.1",
        "target_port": 2,
        "bytes_in": 0,
        "bytes_out": 0,
        "packets_in": 0,
        "packets_out": 0,
        "age": 10.0,
        "idle": 7.0,
        "state": "open",
    }
