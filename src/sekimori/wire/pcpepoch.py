"""Whether a server has lost its mappings, from the epochs that its responses carry.

A server counts seconds since it last lost its state. A client that sees the count go astray asks for all
its mappings again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["EpochReading", "natpmp_state_lost", "pcp_state_lost"]

_BACKWARDS: Final = 1
"""Seconds that a count may go back by, since responses overtake each other (RFC 6887 §8.5)."""
_ROUNDING: Final = 2
_DRIFT: Final = 1 / 16
_CONSERVATIVE: Final = 7 / 8


@dataclass(frozen=True, slots=True)
class EpochReading:
    """One response's epoch, and when it came by the client's monotonic clock; both in seconds."""

    server: int
    client: float


def pcp_state_lost(before: EpochReading | None, now: EpochReading) -> bool:
    """RFC 6887 §8.5: backwards by more than a second, or two clocks apart by more than a sixteenth.

    Args:
        before: the last response of the same server; None when there was none, which is no loss.
        now: the newest response.
    """
    if before is None:
        return False
    if now.server < before.server - _BACKWARDS:
        return True
    server, client = now.server - before.server, now.client - before.client
    return client + _ROUNDING < server - server * _DRIFT or server + _ROUNDING < client - client * _DRIFT


def natpmp_state_lost(before: EpochReading | None, now: EpochReading) -> bool:
    """RFC 6886 §3.6: more than 2 s below the last count and seven eighths of the time since.

    Args:
        before: the last response of the same server; None when there was none, which is no loss.
        now: the newest response.
    """
    if before is None:
        return False
    expected = before.server + (now.client - before.client) * _CONSERVATIVE
    return now.server < expected - _ROUNDING
