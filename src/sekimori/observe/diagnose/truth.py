"""Three-valued logic: what a ruleset does with a packet that is only partly known."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Truth", "all_of", "any_of"]


class Truth(Enum):
    """Whether something matches."""

    NO = 0
    MAYBE = 1
    YES = 2

    @classmethod
    def of(cls, value: bool) -> Truth:
        """What is known for certain."""
        return cls.YES if value else cls.NO

    def negated(self) -> Truth:
        """Its contrary; what is unknown stays unknown."""
        return Truth(2 - self.value)


def all_of(values: Iterable[Truth]) -> Truth:
    """Whether all hold; the empty conjunction does."""
    found = Truth.YES
    for each in values:
        if each is Truth.NO:
            return Truth.NO
        found = Truth.MAYBE if each is Truth.MAYBE else found
    return found


def any_of(values: Iterable[Truth]) -> Truth:
    """Whether one holds; the empty disjunction does not."""
    found = Truth.NO
    for each in values:
        if each is Truth.YES:
            return Truth.YES
        found = Truth.MAYBE if each is Truth.MAYBE else found
    return found
