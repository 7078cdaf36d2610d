"""Leaving out look-ups of sets that hold nothing: packets pay for each, and most kinds are rarely used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from sekimori.planes.kernel.sets import GLOBAL_SETS, SCOPE_SETS, is_filled

__all__ = ["in_use"]

_SET: Final = re.compile(r"@(\w+)")
_CHAIN: Final = re.compile(r"(?:jump|goto) (\w+)$")
_HOLES: Final = tuple(name for name in GLOBAL_SETS if name.startswith(("hole", "trig")))
_SERVES: Final = {
    "dmz": ("dmzin",),
    "fresh": ("fresh", "freshr", "freshp"),
    "holegates": _HOLES,
    "holes": _HOLES,
    "holesout": _HOLES,
    "holefresh": tuple(name for name in _HOLES if name.startswith("holefresh")),
    "triggers": ("trig", "trig6"),
}
"""Chains that do nothing but look up sets, by the stem of their names, with the stems of these."""

_GATES: Final = ("lan", "lanr", "gate", "gater", "gatep")
_LEADS_TO: Final = {"gatew4": _GATES, "gatew6": _GATES}
"""Maps of WAN addresses to chains of that sort, likewise."""


def in_use(rules: Iterable[str], used: frozenset[str] | None) -> Iterator[str]:
    """The rules that can match while only the sets in `used` hold elements; None is all of them.

    Sets that no mapping fills, such as those of the network, always count as used.
    """
    if used is None:
        yield from rules
        return
    stems = {_stem(name) for name in used}
    for rule in rules:
        names = _SET.findall(rule)
        if any(is_filled(name) and name not in used for name in names):
            continue
        if any(name in _LEADS_TO and stems.isdisjoint(_LEADS_TO[name]) for name in names):
            continue
        chain = _CHAIN.search(rule)
        serves = _SERVES.get(_stem(chain[1])) if chain else None
        if serves is None or not stems.isdisjoint(serves):
            yield rule


def _stem(name: str) -> str:
    stem = name.partition("_")[0]
    return stem if stem in SCOPE_SETS or stem in _SERVES else name
