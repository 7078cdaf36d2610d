"""What the codes of the three protocols mean, as keys of `causes_router` after `router-says-`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["NATPMP_MEANINGS", "PCP_MEANINGS", "UPNP_MEANINGS"]

PCP_MEANINGS: Final = MappingProxyType(
    {
        1: "version",
        2: "not-allowed",
        3: "malformed",
        4: "halved",
        5: "halved",
        6: "malformed",
        7: "line-down",
        8: "full",
        9: "protocol",
        10: "quota",
        11: "port-not-free",
        12: "nat-between",
        13: "halved",
    }
)
"""RFC 6887 §7.4."""

NATPMP_MEANINGS: Final = MappingProxyType(
    {1: "version", 2: "not-allowed", 3: "line-down", 4: "full", 5: "halved"}
)
"""RFC 6886 §3.5."""

UPNP_MEANINGS: Final = MappingProxyType(
    {
        401: "halved",
        402: "malformed",
        501: "failed",
        600: "malformed",
        601: "malformed",
        602: "halved",
        603: "full",
        604: "person",
        605: "malformed",
        606: "not-allowed",
        703: "line-down",
        704: "line-down",
        705: "line-down",
        706: "line-down",
        707: "line-down",
        708: "line-down",
        709: "line-down",
        713: "not-there",
        714: "not-there",
        715: "one-source",
        716: "port-needed",
        718: "conflict",
        724: "same-ports",
        725: "lasting-only",
        726: "malformed",
        727: "whole-host",
        728: "full",
        729: "own-use",
        730: "not-there",
        731: "read-only",
        732: "malformed",
        733: "malformed",
    }
)
"""UPnP Device Architecture 1.1 §3, WANIPConnection:1 and :2."""
