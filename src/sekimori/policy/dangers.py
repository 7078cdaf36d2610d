"""Mappings that expose more than their ports say."""

from __future__ import annotations

from typing import Final

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.snapshot import Snapshot
from sekimori.model.target import TargetKind

__all__ = ["DMZ_RISK", "OPEN_PROXY", "refuse_exposure"]

DMZ_RISK: Final = "dmz"
"""The risk to accept before a DMZ host is open to anyone."""
OPEN_PROXY: Final = "open-proxy"
"""The risk to accept before a SOCKS port serves anyone who comes, without a password."""


def refuse_exposure(mapping: Mapping, snapshot: Snapshot) -> None:
    """Refuse a DMZ host, or a SOCKS port without users, that is open to anyone, unless that risk was accepted
    by its name.

    Raises:
        Problem: `risk-not-accepted`, with the safer way and the exact flag.
    """
    if mapping.kind is MappingKind.DMZ:
        risk, what, note = DMZ_RISK, cause("a-dmz-host"), cause("dmz-risk")
    elif mapping.target.kind is TargetKind.SOCKS and not (mapping.socks and mapping.socks.users):
        risk, what, note = OPEN_PROXY, cause("a-socks-port"), cause("open-proxy-risk")
    else:
        return
    if risk not in mapping.accepted_risks and mapping.sources.is_wide(snapshot.lists):
        sources = cause("anyone") if mapping.sources.anyone else str(mapping.sources)
        raise Problem("risk-not-accepted", what=what, sources=sources, note=note, risk=risk)
