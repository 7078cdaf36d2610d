"""What of the structure follows from mappings: names, and commands that make it (again)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from sekimori.model.mapping import Mapping as PortMapping
from sekimori.model.mapping import MappingKind
from sekimori.model.source import LAN_PREFIXES
from sekimori.planes.kernel.frame import TABLE, Frame, scope_of
from sekimori.planes.kernel.killing import ENDED_SETS
from sekimori.planes.kernel.policies import (
    LAN_POLICY,
    chain_of,
    policy_of,
    sources_policy,
    trigger_rules,
    trigger_text,
)
from sekimori.planes.kernel.sets import all_sets
from sekimori.planes.kernel.structure import chain_names
from sekimori.reconcile.ports import Wanted

__all__ = ["is_special", "needed_names", "special_text", "texts_to_repeat"]

_T: Final = f"inet {TABLE}"
_MANY: Final = 500
"""Policies up to which all are made again when somebody changed the ruleset, 0.3 ms each. Of more, only those
that have lost their chain, its rules or a set: a changed prefix in one of thousands stays unseen."""

_FRAME_SETS: Final = frozenset(
    {"lan", "wan", "lan6", "bans4", "bans6", *ENDED_SETS}
    | {f"{name}{family}" for name in ("gatew", "inw", "standw", "natw", "outw") for family in (4, 6)}
)


def is_special(mapping: PortMapping) -> bool:
    """Whether chains of its own follow from a mapping: a DMZ host, a trigger, or one that carries GRE."""
    ports = mapping.ports
    if len(ports) == 1:  # next to all of thousands
        return mapping.trigger is not None or not ports[0].protocol.has_ports
    return mapping.trigger is not None or any(not pair.protocol.has_ports for pair in ports)


def needed_names(frame: Frame, held: Mapping[str, Wanted]) -> tuple[frozenset[str], frozenset[str]]:
    """The names of all chains and sets that the frame and the mappings stand on."""
    chains = set(chain_names(frame)) | {LAN_POLICY}
    sets = {name for name, _ in all_sets(tuple(scope.name for scope in frame.all_scopes))} | _FRAME_SETS
    sets.update(sources_policy(LAN_PREFIXES).sets)
    made: set[str] = set()
    for wanted in held.values():
        mapping = wanted.mapping
        if mapping.trigger is not None:
            chains.update(f"{stem}_{mapping.id}" for stem in ("tlearn", "tsend", "tadmit"))
            sets.update(f"{stem}_{mapping.id}" for stem in ("town", "tmine", "tbusy", "tsix"))
        chain = chain_of(wanted)
        if chain is None or chain in made:
            continue
        made.add(chain)
        policy = policy_of(wanted)
        assert policy is not None
        chains.update(policy.chains)
        sets.update(policy.sets)
    return frozenset(chains), frozenset(sets)


def texts_to_repeat(
    held: Mapping[str, Wanted], rules: Mapping[str, int], sets: frozenset[str]
) -> Iterator[str]:
    """The texts of policies and triggers that are to be made again after a foreign change.

    `rules` has how many rules each chain that is there has, `sets` the names of those that are there.
    """
    policies: dict[str, Wanted] = {}
    for wanted in held.values():
        chain = chain_of(wanted)
        if chain is not None and chain != LAN_POLICY:
            policies.setdefault(chain, wanted)
        if wanted.mapping.trigger is not None:
            yield trigger_text(wanted.mapping.id, wanted.mapping.trigger, chain)
    for wanted in policies.values():
        policy = policy_of(wanted)
        if policy is not None and (
            len(policies) <= _MANY or not all(map(rules.get, policy.chains)) or not sets >= {*policy.sets}
        ):
            yield policy.text


def special_text(frame: Frame, special: Iterable[Wanted]) -> str:
    """The commands that fill the chains of mappings of special kinds, which are few."""
    lines = [f"flush chain {_T} triggers"]
    lines += (f"flush chain {_T} dmzpol_{scope.name}" for scope in frame.all_scopes)
    for wanted in special:
        mapping = wanted.mapping
        if mapping.trigger is not None:
            lines += (f"add rule {_T} triggers {rule}" for rule in trigger_rules(mapping.id, mapping.trigger))
        elif mapping.kind is MappingKind.DMZ:
            chain = chain_of(wanted)
            if chain is not None:
                lines.append(f"add rule {_T} dmzpol_{scope_of(mapping.on).name} goto {chain}")
    return "\n".join(lines) + "\n"
