"""What was read of the machine: its rulesets, and the settings of the kernel that keep packets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sekimori.observe.diagnose.ruleset import Ruleset

__all__ = ["Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What was read.

    Attributes:
        sysctls: the values of the names that were asked for and are there (`net.ipv4.ip_forward`).
        bridges: the interfaces that are bridges.
        hidden: there are tables of iptables-legacy that could not be read.
    """

    ruleset: Ruleset
    sysctls: Mapping[str, str] = field(default_factory=dict)
    bridges: frozenset[str] = frozenset()
    hidden: bool = False
