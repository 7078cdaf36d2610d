"""Wanted against actual."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekimori.planes.memory import MemoryPlane
from sekimori.reconcile.diff import diff
from sekimori.testing.contract_plane import wanted_for

KEYS = [f"0{number}" for number in range(1, 6)]
PLANE = MemoryPlane()
WANTED = {key: wanted_for(int(key), 80, PLANE) for key in KEYS}

_MARKS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("xyz"))


@given(st.sets(st.sampled_from(KEYS)), _MARKS, _MARKS, st.dictionaries(st.sampled_from(KEYS), st.just(0.0)))
def test_the_difference_brings_actual_to_wanted_for_these_keys_alone(
    keys: set[str], wanted: dict[str, str], actual: dict[str, str], graces: dict[str, float]
) -> None:
    changes = diff(keys, {key: (WANTED[key], mark) for key, mark in wanted.items()}, actual, graces, 7.0)
    put = {each.mapping.id for each in changes.put}
    after = {key: mark for key, mark in actual.items() if key not in changes.remove}
    after |= {key: wanted[key] for key in put}
    for key in KEYS:
        assert after.get(key) == (wanted if key in keys else actual).get(key)
    # No more than that: what is as wanted is not touched.
    assert not {key for key in put if actual.get(key) == wanted[key]}
    assert put <= keys
    assert set(changes.remove) <= keys & actual.keys()
    assert all(grace == graces.get(key, 7.0) for key, grace in changes.remove.items())


def test_no_difference_is_nothing_to_do() -> None:
    assert not diff(KEYS, {"01": (WANTED["01"], "x")}, {"01": "x"}, {}, 7.0)
    assert diff(KEYS, {"01": (WANTED["01"], "x")}, {}, {}, 7.0)
    assert diff(KEYS, {}, {"01": "x"}, {}, 7.0)
