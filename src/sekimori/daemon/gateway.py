"""The gateway as the ledger remembers it."""

from __future__ import annotations

from sekimori.ledger.store import Ledger
from sekimori.model.decision import GATEWAY_KEY
from sekimori.model.gateway import Gateway

__all__ = ["last_gateway"]


def last_gateway(ledger: Ledger) -> Gateway | None:
    """The gateway that was enabled last, whether or not it still is."""
    if ledger.snapshot.gateway is not None:
        return ledger.snapshot.gateway
    row = ledger.last_change(GATEWAY_KEY)
    return Gateway.from_document(row.before) if row is not None and row.before else None
