"""Choices left to us: the name of a mapping and the planes that make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import takewhile

from sekimori.model.causes import Text, cause
from sekimori.model.decision import Notice
from sekimori.model.errors import Problem
from sekimori.model.mapping import Hop
from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.snapshot import Snapshot
from sekimori.policy.loops import LOOPS, find_loop, loop_problem
from sekimori.policy.rules import Ability, Rules

__all__ = ["choose_name", "choose_path", "fallback_notice"]


def choose_name(mapping: PortMapping, snapshot: Snapshot) -> str:
    """A free name after the preset, or after the first outside port (`tcp-8080`, `gre`)."""
    first = mapping.ports[0]
    base = mapping.preset or f"{first.protocol}-{first.outside}"
    if mapping.preset is None and not first.protocol.has_ports:
        base = f"ip-{first.protocol}" if first.protocol[0].isdigit() else str(first.protocol)
    name, count = base, 1
    while snapshot.named(name) is not None:
        count += 1
        name = f"{base}-{count}"
    return name


def choose_path(mapping: PortMapping, rules: Rules) -> tuple[Hop, ...]:
    """The hops that make the mapping: the plane it names, or the first able one.

    Raises:
        Problem: `no-plane`, with each plane's reason; `leads-to-itself` where that is the only one.
    """
    reasons = _reasons(mapping, rules.planes)
    able = [plane.name for plane in rules.planes if plane.name not in reasons]
    if mapping.via == "auto" and able:
        return (Hop(able[0]),)
    if mapping.via in able:
        return (Hop(mapping.via),)
    loop = find_loop(mapping)
    if loop is not None and not able and list(reasons.values()) == [LOOPS]:
        raise loop_problem(mapping, loop)
    if mapping.via == "auto":
        why: Text = _tell(reasons)
    else:
        why = reasons.get(mapping.via) or cause("no-such-plane")
    others = ", ".join(able) or cause("none")
    raise Problem("no-plane", name=mapping.name, via=mapping.via, why=why, able=others)


def fallback_notice(mapping: PortMapping, rules: Rules) -> Notice | None:
    """Word that the choice was left to us and fell on a later plane, and why none before it could.

    A machine that could be a gateway and stands between no two networks is told nothing: there the
    later plane is what everybody expects.
    """
    machine = rules.machine
    if mapping.via != "auto" or not mapping.path:
        return None
    if machine.obstacle() is None and not machine.network().is_gateway:
        return None
    chosen = mapping.path[0].plane
    reasons = _reasons(mapping, takewhile(lambda plane: plane.name != chosen, rules.planes))
    if not reasons:
        return None
    why = _tell(reasons)
    return Notice(
        "plane-chosen",
        f"'{mapping.name}' goes by '{chosen}' ({why['en']}).",
        f"「{mapping.name}」の方式は {chosen} です（{why['ja']}）。",
    )


def _reasons(mapping: PortMapping, planes: Iterable[Ability]) -> dict[str, Text]:
    """Why planes cannot make the mapping, by their names; those that can are left out."""
    found = ((plane.name, plane.unable(mapping)) for plane in planes)
    return {name: why for name, why in found if why is not None}


def _tell(reasons: Mapping[str, Text]) -> Text:
    """All reasons in one text by language, in their order."""
    told = [cause("plane-says", name=name, why=why) for name, why in reasons.items()]
    return reduce(lambda first, second: cause("both", first=first, second=second), told)
