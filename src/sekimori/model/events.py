"""Facts after they happened, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass

from sekimori.model.actual import Status
from sekimori.model.decision import Made
from sekimori.model.mapping import Owner
from sekimori.model.pending import Pending, Unconfirmed
from sekimori.model.request import Context

__all__ = ["Armed", "Committed", "Confirmed", "Event", "Reverted", "Settled", "StatusChanged"]


@dataclass(frozen=True, slots=True)
class Committed:
    """A revision was written to the ledger: who, through which door, why, and its changes.

    Attributes:
        pending: until when it must be confirmed; None where it stands by itself.
        settles: revisions that wait no longer to be confirmed, because this one took them back.
        unconfirmed: texts of config files that are not to be applied again by themselves, or may be again.
    """

    revision: int
    at: float
    context: Context
    changes: tuple[Made, ...]
    pending: Pending | None = None
    settles: tuple[int, ...] = ()
    unconfirmed: tuple[Unconfirmed, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A mapping entered another state."""

    at: float
    mapping_id: str
    name: str
    status: Status


@dataclass(frozen=True, slots=True)
class Armed:
    """A revision was applied that is taken back unless it is confirmed."""

    at: float
    pending: Pending


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A revision that waited for it was confirmed, and stays."""

    at: float
    pending: Pending
    by: Owner


@dataclass(frozen=True, slots=True)
class Reverted:
    """A revision that nobody confirmed was taken back.

    Attributes:
        revision: the one that took it back; None when nothing of it was left to take back.
        left: names of what was changed again since, and so was left as it is.
    """

    at: float
    pending: Pending
    revision: int | None
    left: tuple[str, ...] = ()


Settled = Confirmed | Reverted
"""How the wait for a confirmation ended."""

Event = Committed | StatusChanged | Armed | Confirmed | Reverted
