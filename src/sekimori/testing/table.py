"""Policy on a table of its own: asks in, decisions out, and no ledger."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any, Final

from sekimori.model.decision import Allow, Decision, Deny
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping
from sekimori.model.request import Ask, Change, Context, Submit, Wish
from sekimori.model.snapshot import Snapshot
from sekimori.planes.memory import MemoryPlane
from sekimori.policy.decide import decide
from sekimori.policy.rules import Rules
from sekimori.presets.load import Presets, load_presets
from sekimori.testing.world import ALICE, wish_at

__all__ = ["NOW", "Table"]

NOW: Final = 1_750_000_000.0
"""Unix seconds at which a table begins."""


@cache
def _shipped() -> Presets:
    return load_presets()


class Table:
    """A snapshot that what was granted is taken into.

    Attributes:
        now: Unix seconds, for the test to move.
        rules: the rules of policy, for the test to replace.
    """

    def __init__(self, presets: Presets | None = None, **rules: Any) -> None:
        ids = count(1)
        self.presets = presets = presets or _shipped()
        self.snapshot = Snapshot()
        self.now = NOW
        self.rules = Rules(
            new_id=lambda: f"0{next(ids)}",
            danger_for=presets.danger_for,
            planes=(MemoryPlane(),),
            owned=lambda _owner: frozenset({ipaddress.ip_address("192.168.1.5")}),
        )
        self.rules = replace(self.rules, **rules)

    def decide(self, *asks: Ask, by: Context = ALICE, undoing: bool = False) -> Decision:
        """What policy says of these asks; nothing is taken in."""
        return decide(asks, self.snapshot, by, self.now, self.rules, undoing=undoing)

    def grant(self, *asks: Ask, by: Context = ALICE, undoing: bool = False) -> Allow:
        """Have these asks granted, and take the changes in."""
        decision = self.decide(*asks, by=by, undoing=undoing)
        assert isinstance(decision, Allow), decision.problem.title()
        for change in decision.changes:
            self.snapshot.apply(change)
        return decision

    def refuse(self, *asks: Ask, by: Context = ALICE, undoing: bool = False) -> Problem:
        """Why these asks are refused."""
        decision = self.decide(*asks, by=by, undoing=undoing)
        assert isinstance(decision, Deny), decision.changes
        return decision.problem

    def submit(self, ports: str = "8080", to: str = "192.168.1.5", **words: object) -> Submit:
        """The ask that opens ports."""
        return Submit(self.wish(ports=ports, to=to, **words))

    def wish(self, **words: object) -> Wish:
        """The wish in these words, now."""
        return wish_at(self.now, words, self.presets)

    def change(self, ref: str, paused: bool | None = None, **words: object) -> Change:
        """The ask that changes a mapping."""
        return Change(ref, self.wish(**words), paused)

    def open(self, ports: str = "8080", *, by: Context = ALICE, **words: Any) -> Mapping:
        """Open ports; the mapping as granted."""
        (change,) = self.grant(self.submit(ports, **words), by=by).changes
        assert isinstance(change.after, Mapping)
        return change.after
