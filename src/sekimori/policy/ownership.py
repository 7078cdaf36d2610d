"""What a device may open: ports that lead to itself."""

from __future__ import annotations

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, Owner, OwnerKind
from sekimori.model.target import Target, TargetKind
from sekimori.policy.rules import Rules

__all__ = ["refuse_foreign_target"]


def refuse_foreign_target(mapping: Mapping, actor: Owner, rules: Rules) -> None:
    """Refuse a device that would open a port to another machine.

    It is known by its MAC address, and its addresses are those that the neighbour table proves to be its
    own. People may open what they like, and take back what was done to a device's mapping. Where a lease may
    lead is for the permission rules to say (`policy.lease`).

    Raises:
        Problem: `not-permitted`.
    """
    if (
        actor.kind is not OwnerKind.DEVICE
        or mapping.lease is not None
        or _leads_to(mapping.target, actor, rules)
    ):
        return
    what = cause("do-open-to", target=str(mapping.target))
    raise Problem("not-permitted", what=what, who=actor.label)


def _leads_to(target: Target, device: Owner, rules: Rules) -> bool:
    if target.kind is TargetKind.DEVICE:
        return target.mac == device.id
    return target.address is not None and target.address in rules.owned(device)
