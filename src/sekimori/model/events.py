"""Facts after they happened, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from sekimori.model.actual import Status
from sekimori.model.decision import Made
from sekimori.model.request import Context

__all__ = ["Committed", "Event", "StatusChanged"]


@dataclass(frozen=True, slots=True)
class Committed:
    """A revision was written to the ledger: who, through which door, why, and its changes."""

    revision: int
    at: float
    context: Context
    changes: tuple[Made, ...]


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A mapping entered another state."""

    at: float
    mapping_id: str
    name: str
    status: Status


Event = Committed | StatusChanged
