"""Who came and who left, from the figures of sources: nothing is told twice, no byte is lost or made up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sekimori.cli.visits import Visit, Visits

A, B = "198.51.100.7", "2001:db8::1"


def source(name: str, active: int, total: int, bytes_in: int = 0, bytes_out: int = 0) -> dict[str, Any]:
    return {
        "source": name,
        "flows_active": active,
        "flows_total": total,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
    }


def flow(endpoint: str, bytes_in: int = 0, bytes_out: int = 0) -> dict[str, Any]:
    return {"source": endpoint, "bytes_in": bytes_in, "bytes_out": bytes_out}


def test_somebody_comes_and_leaves():
    visits = Visits()
    assert visits.look([source(A, 1, 1, 10)], [flow(f"{A}:50022", 10)]) == [Visit("came", A, 1, 1)]
    assert visits.look([source(A, 1, 1, 90, 5)], [flow(f"{A}:50022", 90, 5)]) == []
    assert visits.look([source(A, 0, 1, 100, 7)], []) == [Visit("left", A, 1, 0, 100, 7)]
    assert visits.look([source(A, 0, 1, 100, 7)], []) == []


def test_who_came_and_left_between_two_looks_is_told():
    assert Visits().look([source(A, 0, 1, 3, 4)], []) == [
        Visit("came", A, 1, 0),
        Visit("left", A, 1, 0, 3, 4),
    ]


def test_one_of_two_leaves_and_its_bytes_are_its_own():
    visits = Visits()
    visits.look([source(B, 2, 2, 30)], [flow(f"[{B}]:1", 10), flow(f"[{B}]:2", 20)])
    assert visits.look([source(B, 1, 2, 36)], [flow(f"[{B}]:2", 24)]) == [Visit("left", B, 1, 1, 12, 0)]


def test_several_are_one_line():
    visits = Visits()
    assert visits.look([source(A, 0, 5, 50, 60)], [])[1] == Visit("left", A, 5, 0, 50, 60)


def test_a_source_that_was_forgotten_begins_again():
    visits = Visits()
    visits.look([source(A, 0, 9, 100)], [])
    assert visits.look([source(A, 1, 1, 2)], [flow(f"{A}:1", 2)]) == [Visit("came", A, 1, 1)]


def test_the_other_end_of_a_unix_socket_has_no_port():
    visits = Visits()
    visits.look([source("unix", 1, 1, 5)], [flow("unix", 5)])
    assert visits.look([source("unix", 0, 1, 6)], []) == [Visit("left", "unix", 1, 0, 6, 0)]


@given(st.data())
def test_what_is_told_adds_up(data: st.DataObject) -> None:
    """Flows of one source come, move bytes and end at random; looks fall anywhere in between."""
    visits, live, total, ended = Visits(), dict[int, int](), 0, 0
    told = {"came": 0, "left": 0, "bytes": 0}

    def look() -> None:
        use = source(A, len(live), total, ended + sum(live.values()))
        for each in visits.look([use], [flow(f"{A}:{key}", moved) for key, moved in live.items()]):
            told[each.kind] += each.count
            told["bytes"] += each.bytes_in

    for step in data.draw(st.lists(st.sampled_from(["come", "move", "end", "look"]), max_size=40)):
        if step == "come":
            total += 1
            live[total] = 0
        elif step == "look":
            look()
        elif live:
            key = data.draw(st.sampled_from(sorted(live)))
            if step == "move":
                live[key] += data.draw(st.integers(1, 1000))
            else:
                ended += live.pop(key)
    look()
    assert told == {"came": total, "left": total - len(live), "bytes": ended}
