"""What the config's tests stand on: a time, a zone, the presets, and a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest

from sekimori.config.load import parse_config
from sekimori.config.schema import Config
from sekimori.config.sync import Sync, plan_sync
from sekimori.model.causes import Text
from sekimori.model.decision import Allow, Deny, Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner
from sekimori.model.request import Ask, Context
from sekimori.model.snapshot import Snapshot
from sekimori.model.words import Reading
from sekimori.policy.decide import decide
from sekimori.policy.rules import Rules
from sekimori.presets.load import load_presets
from sekimori.testing.strategies import NOW

PRESETS = load_presets()
FILE = Path("/etc/sekimori/sekimori.toml")

Read = Callable[..., Config]
Refusal = Callable[[str], tuple[str, object, object, str]]


@pytest.fixture(scope="session")
def reading() -> Reading:
    """17:00 of a Friday in Tokyo, with the presets that ship."""
    return Reading(NOW, "Asia/Tokyo", PRESETS.get, PRESETS.suggest, partial(token_bytes, 16))


@pytest.fixture(scope="session")
def read(reading: Reading) -> Read:
    """Parse a config."""

    def parse(text: str, at: Reading = reading, path: Path = FILE) -> Config:
        return parse_config(text, path, at)

    return parse


@pytest.fixture(scope="session")
def refusal(read: Read) -> Refusal:
    """Code, line, key and cause (or hint) of the problem that a text is refused with."""

    def parse(text: str) -> tuple[str, object, object, str]:
        with pytest.raises(Problem) as caught:
            read(text)
        facts = {name: caught.value.fact(name) for name in caught.value.facts}
        assert facts["file"] == str(FILE)
        assert f"line {facts['line']}" in caught.value.title("en")
        assert f"{facts['line']} 行目" in caught.value.title("ja")
        return caught.value.code, facts["line"], facts["key"], str(facts.get("why", facts.get("hint")))

    return parse


class Anything:
    name = "relay"

    def unable(self, mapping: Mapping) -> Text | None:
        return None


class Ledger:
    """A snapshot behind the real policy, with the memory of what expired."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.now = float(NOW)
        self.gone: dict[tuple[Owner, str], dict[str, Any]] = {}
        numbers = count()
        self.rules = Rules(lambda: f"m{next(numbers)}", PRESETS.danger_for, (Anything(),))

    @property
    def reading(self) -> Reading:
        return Reading(self.now, "Asia/Tokyo", PRESETS.get, PRESETS.suggest, partial(token_bytes, 16))

    def read(self, text: str) -> Config:
        return parse_config(text, FILE, self.reading)

    def plan(self, text: str) -> Sync:
        return plan_sync(
            self.read(text), self.snapshot, self.reading, lambda owner, name: self.gone.get((owner, name))
        )

    def grant(self, asks: Sequence[Ask], actor: Owner) -> tuple[Made, ...]:
        decision = decide(asks, self.snapshot, Context(actor, "file"), self.now, self.rules)
        assert isinstance(decision, Allow), decision
        for change in decision.changes:
            self.snapshot.apply(change)
        return decision.changes

    def refused(self, text: str) -> str:
        """The code of the problem that policy denies the file with."""
        context = Context(self.read(text).owner, "file")
        decision = decide(self.plan(text).asks, self.snapshot, context, self.now, self.rules)
        assert isinstance(decision, Deny)
        return decision.problem.code

    def apply(self, text: str) -> Sync:
        """Plan, grant, and plan again: the second time nothing may be left to ask."""
        sync = self.plan(text)
        self.grant(sync.asks, self.read(text).owner)
        assert self.plan(text).asks == ()
        return sync

    def sweep(self) -> None:
        """End what has ended, as the engine does."""
        for mapping in list(self.snapshot):
            if mapping.lifetime.has_ended(self.now):
                self.gone[mapping.owner, mapping.name] = mapping.to_document()
                self.snapshot.apply(Made(Verb.EXPIRE, mapping, None))

    def __getitem__(self, name: str) -> Mapping:
        found = self.snapshot.named(name)
        assert found is not None
        return found


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger."""
    return Ledger()


@pytest.fixture(scope="session")
def new_ledger() -> type[Ledger]:
    """For tests that need several."""
    return Ledger
