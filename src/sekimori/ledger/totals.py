"""The figures of a mapping that outlive what counted them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals of one mapping. In is from outside to the target, out is back.

    Attributes:
        refused: flows turned away, for any cause.
        last_flow_at: Unix seconds at which the last flow was admitted; None before the first.
    """

    bytes_in: int = 0
    bytes_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    flows_total: int = 0
    refused: int = 0
    last_flow_at: float | None = None
