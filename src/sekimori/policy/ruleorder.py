"""Where a new permission rule belongs among those that stand: the first that fits decides, so it matters."""

from __future__ import annotations

from collections.abc import Sequence

from sekimori.model.address import IPNetwork, PortRange
from sekimori.model.errors import Problem
from sekimori.model.permission import Permission, Subject

__all__ = ["covers", "insert_rule", "overlaps", "remove_rule"]


def insert_rule(
    rules: Sequence[Permission], new: Permission, at: int | None = None
) -> tuple[Permission, ...]:
    """The rules with another one at a place, counted from 1.

    Without a place it comes last, but not where it would never decide: one that allows comes before the
    first rule that covers it, one that denies before the first that allows some of the same, unless that
    one is the narrower of the two (an exception from what is denied). One that stands already is not
    put twice.

    Raises:
        Problem: `no-such-rule`, when there is no such place.
    """
    if at is None:
        if new in rules:
            return tuple(rules)
        at = 1 + next((index for index, rule in enumerate(rules) if _precedes(new, rule)), len(rules))
    if not 1 <= at <= len(rules) + 1:
        raise Problem("no-such-rule", number=at, count=len(rules))
    return (*rules[: at - 1], new, *rules[at - 1 :])


def remove_rule(rules: Sequence[Permission], number: int) -> tuple[Permission, ...]:
    """The rules without one, counted from 1.

    Raises:
        Problem: `no-such-rule`.
    """
    if not 1 <= number <= len(rules):
        raise Problem("no-such-rule", number=number, count=len(rules))
    return (*rules[: number - 1], *rules[number:])


def covers(wide: Permission, narrow: Permission) -> bool:
    """Whether every request that `narrow` fits is one that `wide` fits too, as far as the rules tell."""
    return (
        (not wide.protocols or (bool(narrow.protocols) and {*narrow.protocols} <= {*wide.protocols}))
        and _holds(wide.outside, narrow.outside)
        and _holds(wide.inside, narrow.inside)
        and (not wide.who or (bool(narrow.who) and all(_holds_one(wide.who, each) for each in narrow.who)))
        and wide.description in (None, narrow.description)
    )


def overlaps(one: Permission, other: Permission) -> bool:
    """Whether a request may fit both. A device may be at any address, and on any interface."""
    return (
        (not one.protocols or not other.protocols or not {*one.protocols}.isdisjoint(other.protocols))
        and _meet(one.outside, other.outside)
        and _meet(one.inside, other.inside)
        and (not one.who or not other.who or any(_may_be(a, b) for a in one.who for b in other.who))
    )


def _precedes(new: Permission, rule: Permission) -> bool:
    if new.allow:
        return covers(rule, new)
    is_exception = covers(new, rule) and not covers(rule, new)
    return rule.allow and overlaps(new, rule) and not is_exception


def _holds(wide: PortRange, narrow: PortRange) -> bool:
    return wide.first <= narrow.first and narrow.last <= wide.last


def _meet(one: PortRange, other: PortRange) -> bool:
    return one.first <= other.last and other.first <= one.last


def _holds_one(wide: Sequence[Subject], narrow: Subject) -> bool:
    return any(
        each == narrow or (_is_prefix(each) and _is_prefix(narrow) and _is_within(narrow, each))
        for each in wide
    )


def _may_be(one: Subject, other: Subject) -> bool:
    if _is_prefix(one) and _is_prefix(other):
        return _is_within(one, other) or _is_within(other, one)
    return type(one) is not type(other) or one == other


def _is_prefix(subject: Subject) -> bool:
    return isinstance(subject, IPNetwork)


def _is_within(narrow: Subject, wide: Subject) -> bool:
    # Of two prefixes one holds the other or they have nothing in common; they cannot cross.
    assert isinstance(narrow, IPNetwork)
    assert isinstance(wide, IPNetwork)
    return (
        narrow.version == wide.version
        and wide.prefixlen <= narrow.prefixlen
        and narrow.network_address in wide
    )
