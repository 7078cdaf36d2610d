"""Figures that outlive the workers that counted them: kept in the ledger, given back at the start."""

from __future__ import annotations

from collections.abc import Mapping

from sekimori.ledger.totals import Usage
from sekimori.model.actual import Counters

__all__ = ["from_counters", "to_counters"]

_EARLIER = "earlier"
"""The cause under which refusals of earlier runs are summed up."""


def from_counters(counters: Counters) -> Usage:
    """What is kept of a reading."""
    return Usage(
        bytes_in=counters.bytes_in,
        bytes_out=counters.bytes_out,
        packets_in=counters.packets_in,
        packets_out=counters.packets_out,
        flows_total=counters.flows_total,
        refused=sum(counters.refused.values()),
        last_flow_at=counters.last_flow_at,
    )


def to_counters(usage: Mapping[str, Usage]) -> dict[str, Counters]:
    """Readings that later ones are added to."""
    return {
        key: Counters(
            flows_total=kept.flows_total,
            bytes_in=kept.bytes_in,
            bytes_out=kept.bytes_out,
            packets_in=kept.packets_in,
            packets_out=kept.packets_out,
            refused={_EARLIER: kept.refused} if kept.refused else {},
            last_flow_at=kept.last_flow_at,
        )
        for key, kept in usage.items()
    }
