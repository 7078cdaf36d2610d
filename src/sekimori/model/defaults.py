"""What holds of a mapping where nobody says: the same for a request and for the config file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekimori.model.address import IpProtocol, PortSpec
from sekimori.model.preset import Preset
from sekimori.model.target import Target, TargetKind

__all__ = ["DMZ_LIFETIME", "HOLD", "LONGEST_HOLD", "WHOEVER_TRIGGERS", "usual_lifetime"]

DMZ_LIFETIME: Final = 3600
"""Seconds a DMZ host lasts: it exposes all of a machine, and is mostly wanted to find out what is missing."""

HOLD: Final = 600
"""Seconds a trigger's ports stay with a host after its last packet that set them off."""

LONGEST_HOLD: Final = 86400

WHOEVER_TRIGGERS: Final = Target(TargetKind.TRIGGER, "trigger")
"""The target of every mapping that has a trigger."""


def usual_lifetime(specs: Iterable[PortSpec], preset: Preset | None, seconds: int) -> int:
    """Seconds a mapping lasts: its preset's, short for a DMZ host, and otherwise `seconds`."""
    if preset is not None:
        return preset.lifetime
    if any(IpProtocol.DMZ in spec.protocols for spec in specs):
        return min(DMZ_LIFETIME, seconds)
    return seconds
