"""Kinds of mappings that expose more than their ports say."""

from __future__ import annotations

from typing import Final

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.mapping import Mapping, MappingKind
from sekimori.model.snapshot import Snapshot

__all__ = ["DMZ_RISK", "refuse_exposure"]

DMZ_RISK: Final = "dmz"
"""The risk to accept before a DMZ host is open to anyone."""


def refuse_exposure(mapping: Mapping, snapshot: Snapshot) -> None:
    """Refuse a DMZ host that is open to anyone, unless that risk was accepted by its name.

    Raises:
        Problem: `risk-not-accepted`, with the safer way and the exact flag.
    """
    if mapping.kind is not MappingKind.DMZ or DMZ_RISK in mapping.accepted_risks:
        return
    if mapping.sources.is_wide(snapshot.lists):
        raise Problem(
            "risk-not-accepted",
            what=cause("a-dmz-host"),
            sources=cause("anyone") if mapping.sources.anyone else str(mapping.sources),
            note=cause("dmz-risk"),
            risk=DMZ_RISK,
        )
