"""What must not be open to anyone without a word about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.preset import Preset
from sekimori.model.snapshot import Snapshot
from sekimori.policy.rules import Rules

__all__ = ["find_dangers", "refuse_danger"]

_ANYONE: Final = {"en": "anyone", "ja": "だれでも"}


def find_dangers(mapping: Mapping, rules: Rules) -> Iterator[Preset]:
    """The dangerous services behind a mapping, by its outside and inside ports; some more than once.

    Both sides count: 2222 that leads to port 22 is SSH, and so is 22 that leads to 2222.
    """
    for pair in mapping.ports:
        for ports in (pair.inside, pair.outside):
            for port in ports:
                preset = rules.danger_for(str(pair.protocol), port)
                if preset is not None:
                    yield preset


def refuse_danger(mapping: Mapping, snapshot: Snapshot, rules: Rules) -> None:
    """Refuse a dangerous service open to anyone, unless its named risk was accepted.

    Each of them: to accept the risk of SSH on a range is no word about the Telnet beside it.

    Raises:
        Problem: `risk-not-accepted`, with the safer way and the exact flag.
    """
    if not mapping.sources.is_wide(snapshot.lists):
        return
    for preset in find_dangers(mapping, rules):
        if preset.danger is not None and preset.danger not in mapping.accepted_risks:
            raise Problem(
                "risk-not-accepted",
                what=preset.title,
                sources=_ANYONE if mapping.sources.anyone else str(mapping.sources),
                note=preset.note,
                risk=preset.danger,
            )
