"""What waits to be confirmed, as the API shows it."""

from __future__ import annotations

from typing import Any

from sekimori.model.events import Armed, Confirmed, Reverted, Settled
from sekimori.model.lifetime import format_instant
from sekimori.model.pending import Pending
from sekimori.model.request import Caller

__all__ = ["render_confirm", "render_pending", "render_settled", "render_wait"]

Json = dict[str, Any]


def render_confirm(caller: Caller, within: int) -> Json:
    """What would have to be confirmed, if it were done."""
    return {
        "revision": None,
        "deadline": None,
        "within": within,
        "source": str(caller.source),
        "destination": str(caller.destination),
        "port": caller.dport,
    }


def render_pending(pending: Pending) -> Json:
    """A revision that waits to be confirmed."""
    return {
        **render_confirm(pending.caller, pending.within),
        "revision": pending.revision,
        "deadline": format_instant(pending.deadline),
    }


def render_settled(settled: Settled) -> Json:
    """How a wait ended."""
    back = settled if isinstance(settled, Reverted) else None
    return {
        "revision": settled.pending.revision,
        "at": format_instant(settled.at),
        "actor": str(settled.pending.actor),
        "how": "confirmed" if back is None else "reverted",
        "within": settled.pending.within,
        "taken_back_by": None if back is None else back.revision,
        "left": [] if back is None else list(back.left),
    }


def render_wait(event: Armed | Confirmed | Reverted) -> tuple[str, Json]:
    """The name and the data of an event about a wait."""
    if isinstance(event, Armed):
        actor = str(event.pending.actor)
        return "pending", {"at": format_instant(event.at), "actor": actor, **render_pending(event.pending)}
    data = render_settled(event)
    return str(data["how"]), data
