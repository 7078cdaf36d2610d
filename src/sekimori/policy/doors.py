"""Decisions about doors: where devices may ask, and by which rules."""

from __future__ import annotations

from dataclasses import replace

from sekimori.model.causes import cause
from sekimori.model.decision import Made, Notice, Verb
from sekimori.model.door import DisableDoor, DoorName, EnableDoor
from sekimori.model.errors import Problem
from sekimori.model.mapping import OwnerKind
from sekimori.model.network import Network
from sekimori.model.permission import Permissions, SetPermissions
from sekimori.policy.case import Case, refuse_foreign, refuse_own_only

__all__ = ["decide_disable_door", "decide_enable_door", "decide_set_permissions", "why_not_on"]


def why_not_on(interface: str, door: DoorName, network: Network) -> Problem | None:
    """Why a door cannot answer on an interface, as far as the network says: it leads out, or to no LAN."""
    lans = sorted(lan.interface for lan in network.lans)
    told = ", ".join(lans) or cause("no-lan-found")
    if interface in network.outside:
        return Problem("door-on-wan", door=str(door), interface=interface, lans=told)
    if interface not in lans:
        return Problem("door-no-lan", door=str(door), interface=interface, lans=told)
    return None


def decide_enable_door(ask: EnableDoor, case: Case, notices: list[Notice]) -> Made | None:
    """Let devices ask at a door.

    Raises:
        Problem: `not-permitted`, `managed-by-file`, `door-on-wan` or `missing`.
    """
    wanted = ask.door
    refuse_own_only(cause("do-door", name=wanted.name), case)
    before = case.draft.doors.get(wanted.door)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    if not wanted.interfaces:
        example = f"sekimori door enable {wanted.door} --on lan0"
        raise Problem("missing", key="--on", example=example)
    network = case.rules.machine.network()
    for name in wanted.interfaces:
        problem = why_not_on(name, wanted.door, network)
        if problem is not None and problem.code == "door-on-wan":
            raise problem
        if problem is not None:  # a LAN may come: a bridge that is made later, an adapter that is plugged in
            notices.append(_absent(problem))
    actor = case.context.actor
    takes_over = before is None or actor.kind is OwnerKind.FILE
    after = replace(
        wanted,
        owner=wanted.owner if case.undoing else actor if takes_over or before is None else before.owner,
        created_at=int(case.now) if before is None else before.created_at,
    )
    return None if after == before else Made(Verb.DOOR, before, after)


def decide_disable_door(ask: DisableDoor, case: Case) -> Made | None:
    """Shut a door; None where it is shut.

    Raises:
        Problem: `not-permitted` or `managed-by-file`.
    """
    before = case.draft.doors.get(ask.door)
    refuse_own_only(cause("do-door", name=f"door {ask.door}"), case)
    if before is None:
        return None
    refuse_foreign(before, "do-edit", case)
    return Made(Verb.DOOR, before, None)


def decide_set_permissions(ask: SetPermissions, case: Case) -> Made | None:
    """Put other rules in the place of those that stand. Leases that were granted stand until their end.

    Raises:
        Problem: `not-permitted` or `managed-by-file`.
    """
    refuse_own_only(cause("do-permissions"), case)
    before = case.draft.permissions
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    if ask.rules is None:
        return None if before is None else Made(Verb.PERMIT, before, None)
    actor = case.context.actor
    owner = actor if before is None or actor.kind is OwnerKind.FILE else before.owner
    created_at = int(case.now) if before is None else before.created_at
    after = Permissions(owner=owner, rules=ask.rules, created_at=created_at)
    return None if after == before else Made(Verb.PERMIT, before, after)


def _absent(problem: Problem) -> Notice:
    en, ja = f"{problem.title()}. {problem.fix()}", f"{problem.title('ja')}。{problem.fix('ja')}"
    return Notice("no-such-lan", en, ja)
