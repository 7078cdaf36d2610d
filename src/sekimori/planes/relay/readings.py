"""Figures of several workers, put together as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sekimori.model.actual import Counters, Flow, SourceUse

__all__ = ["read_counters", "read_flow", "read_sources"]


_ADDED: Final = ("flows_active", "flows_total", "bytes_in", "bytes_out", "packets_in", "packets_out")


def read_counters(row: Mapping[str, Any]) -> Counters:
    """One worker's figures of one mapping."""
    return Counters(
        flows_active=row["flows_active"],
        flows_total=row["flows_total"],
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        packets_in=row["packets_in"],
        packets_out=row["packets_out"],
        refused={cause: count for cause, count in row["refused"].items() if count},
        failed={cause: count for cause, count in row["failed"].items() if count},
        dropped=row.get("dropped", {}),
        last_flow_at=row["last_flow_at"],
    )


def read_flow(row: Mapping[str, Any]) -> Flow:
    """One live flow as a worker tells it."""
    return Flow(
        protocol=row["protocol"],
        source=_endpoint(row["source"], row["source_port"]),
        target=_endpoint(row["target"], row["target_port"]) if row["target"] else "",
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        packets_in=row["packets_in"],
        packets_out=row["packets_out"],
        age=row["age"],
        idle=row["idle"],
        state=row["state"],
    )


def read_sources(rows: Iterable[Mapping[str, Any]]) -> list[SourceUse]:
    """Sources over all workers, the latest seen first."""
    merged: dict[str, SourceUse] = {}
    for row in rows:
        use = SourceUse(
            source=row["address"],
            flows_active=row["active"],
            flows_total=row["total"],
            bytes_in=row["bytes_in"],
            bytes_out=row["bytes_out"],
            packets_in=row["packets_in"],
            packets_out=row["packets_out"],
            refused=row["refused"],
            first_seen=row["first_seen"],
            last_seen=row["last_seen"],
        )
        known = merged.get(use.source)
        merged[use.source] = use if known is None else _add_source(known, use)
    return sorted(merged.values(), key=lambda use: use.last_seen, reverse=True)


def _add_source(one: SourceUse, other: SourceUse) -> SourceUse:
    return SourceUse(
        source=one.source,
        **_sums(one, other),
        refused=one.refused + other.refused,
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
    )


def _sums(one: Counters | SourceUse, other: Counters | SourceUse) -> dict[str, Any]:
    """The figures that simply add up, by their names in both."""
    return {name: getattr(one, name) + getattr(other, name) for name in _ADDED}


def _endpoint(address: str, port: int) -> str:
    if not port:  # a path, or nobody with an address
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
