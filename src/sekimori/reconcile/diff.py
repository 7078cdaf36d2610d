"""Wanted against actual: the changes one plane should make. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sekimori.reconcile.ports import Changes, Wanted

__all__ = ["diff"]


def diff(
    keys: Iterable[str],
    wanted: Mapping[str, tuple[Wanted, str]],
    actual: Mapping[str, str],
    graces: Mapping[str, float],
    grace: float,
) -> Changes:
    """What brings `actual` to `wanted`, for the mappings in `keys` and no other.

    Args:
        keys: the mapping ids to look at.
        wanted: by id, what is wanted and its fingerprint.
        actual: fingerprints of what is there, by id.
        graces: seconds of grace by id, where a close asked for its own.
        grace: seconds of grace for all the others.
    """
    put = []
    marks = {}
    remove = {}
    for key in keys:
        want = wanted.get(key)
        if want is None:
            if key in actual:
                remove[key] = graces.get(key, grace)
        elif actual.get(key) != want[1]:
            put.append(want[0])
            marks[key] = want[1]
    return Changes(tuple(put), remove, marks)
