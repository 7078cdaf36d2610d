"""Choices left to us: the name of a mapping and the planes that make it."""

from __future__ import annotations

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop, Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.policy.rules import Rules

__all__ = ["choose_name", "choose_path"]


def choose_name(mapping: Mapping, snapshot: Snapshot) -> str:
    """A free name after the preset, or after the first outside port (`tcp-8080`)."""
    first = mapping.ports[0]
    base = mapping.preset or f"{first.protocol}-{first.outside}"
    name, count = base, 1
    while snapshot.named(name) is not None:
        count += 1
        name = f"{base}-{count}"
    return name


def choose_path(mapping: Mapping, rules: Rules) -> tuple[Hop, ...]:
    """The hops that make the mapping: the plane it names, or the first able one.

    Raises:
        Problem: `no-plane`, with each plane's reason.
    """
    reasons = {plane.name: plane.unable(mapping) for plane in rules.planes}
    able = [name for name, reason in reasons.items() if reason is None]
    if mapping.via == "auto" and able:
        return (Hop(able[0]),)
    if mapping.via in able:
        return (Hop(mapping.via),)
    if mapping.via == "auto":
        why: object = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    else:
        why = reasons.get(mapping.via) or cause("no-such-plane")
    others = ", ".join(able) or cause("none")
    raise Problem("no-plane", name=mapping.name, via=mapping.via, why=why, able=others)
