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
_GATES: Final = ("lan", "lanr", "gate", "gater", "gatep")
_INWARD: Final = ("in", "inr", "inp", "own", "ownr", "ownp", "dmzin")
_SERVES: Final = {
    "gatew": _GATES,
    "inw": _INWARD,
    "standw": _INWARD,
    "natw": ("fwd4", "fwd6", "fwdr4", "fwdr6", "fwdp4", "fwdp6", "trig", "dmz"),
    "outw": ("out", "outr", "outp", "dmzout"),
    "dmz": ("dmzin",),
    "fresh": ("fresh", "freshr", "freshp"),
    "holegates": _HOLES,
    "holes": _HOLES,
    "holesout": _HOLES,
    "holefresh": tuple(name for name in _HOLES if name.startswith("holefresh")),
    "triggers": ("trig", "trig6"),
}
"""Chains that do nothing but look up sets, by the stem of their names, with the stems of these."""

_LEADS_TO: Final = {
    f"{name}{family}": name for name in ("gatew", "inw", "standw", "natw", "outw") for family in (4, 6)
}
"""Maps of WAN addresses to chains, with the stem of these."""


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
        chain = _CHAIN.search(rule)
        leads_to = [_LEADS_TO[name] for name in names if name in _LEADS_TO]
        leads_to += [_stem(chain[1])] if chain else []
        if not any(stem in _SERVES and stems.isdisjoint(_SERVES[stem]) for stem in leads_to):
            yield rule


def _stem(name: str) -> str:
    stem = name.partition("_")[0]
    return stem if stem in SCOPE_SETS or stem in _SERVES else name
