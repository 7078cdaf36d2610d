"""What planes report: states, counters and flows, each as it was really found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sekimori.model.errors import Problem

__all__ = ["Counters", "Flow", "HopStatus", "SourceUse", "State", "Status"]


class State(StrEnum):
    """What a mapping is doing now."""

    STARTING = "starting"
    OPEN = "open"
    PAUSED = "paused"
    OUTSIDE_HOURS = "outside-hours"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HopStatus:
    """One hop of a path: the plane that makes it, and what is wrong with it."""

    plane: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one mapping as its planes last reported it.

    Attributes:
        since: Unix seconds at which this state was entered.
        checked_at: Unix seconds at which it was last seen to be so.
        problem: why, when it failed.
        targets: the numeric addresses flows are sent to now.
        hops: each hop, in the order of the path, where there are several.
    """

    state: State
    since: float
    checked_at: float
    problem: Problem | None = None
    targets: tuple[str, ...] = ()
    hops: tuple[HopStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """What went through one mapping. In is from outside to the target, out is back."""

    flows_active: int = 0
    flows_total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Flows turned away, by cause: source, rate, limit, expired."""
    failed: Mapping[str, int] = field(default_factory=dict)
    """Flows that never reached the target, by cause: refused, timed_out, unreachable, …"""
    last_flow_at: float | None = None
    """Unix seconds at which the last flow was admitted."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Datagrams of admitted flows that were lost here, by cause: full, too_big, unreachable, other."""

    def __add__(self, other: Counters) -> Counters:
        """The sum of two readings."""
        seen = [when for when in (self.last_flow_at, other.last_flow_at) if when is not None]
        return Counters(
            flows_active=self.flows_active + other.flows_active,
            flows_total=self.flows_total + other.flows_total,
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
            packets_in=self.packets_in + other.packets_in,
            packets_out=self.packets_out + other.packets_out,
            refused=_sum(self.refused, other.refused),
            failed=_sum(self.failed, other.failed),
            dropped=_sum(self.dropped, other.dropped),
            last_flow_at=max(seen, default=None),
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """One live flow. `age` and `idle` are seconds."""

    protocol: str
    source: str
    target: str
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    age: float
    idle: float
    state: str


@dataclass(frozen=True, slots=True)
class SourceUse:
    """What one source address did with a mapping; times are Unix seconds."""

    source: str
    flows_active: int
    flows_total: int
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    refused: int
    first_seen: float
    last_seen: float


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
