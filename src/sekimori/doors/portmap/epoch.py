"""How long mappings have been kept without a loss: the seconds that every answer carries.

The count goes on for as long as the state does, over restarts of the daemon and of the machine, because a
client that sees it fall behind asks for all its mappings anew (RFC 6886 §3.6, RFC 6887 §8.5). It begins
again when the state was lost and when the outside address has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

__all__ = ["Epoch", "Instant", "has_moved", "resume"]

_HIGHEST: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment, by the machine's clocks and by the ledger.

    Attributes:
        boot: tells one run of the kernel from another (`/proc/sys/kernel/random/boot_id`).
        up: seconds since it began, sleep included (CLOCK_BOOTTIME): never set, never back.
        wall: Unix seconds, which may be set.
        revision: the ledger's newest. It only grows, so a ledger that is behind is another one: a new one,
            or one that was put back from a copy.
    """

    boot: str
    up: float
    wall: float
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """A count that is running.

    Attributes:
        began: what CLOCK_BOOTTIME was at its zero; below 0 where that was before this boot.
        seen: when it was last written down.
        outside: the outside addresses that it is about, as text; "" for none.
    """

    began: float
    seen: Instant
    outside: tuple[str, str] = ("", "")

    def seconds(self, up: float) -> int:
        """The count at a moment of CLOCK_BOOTTIME, in the 32 bits that messages have for it."""
        return min(max(0, int(up - self.began)), _HIGHEST)

    def at(self, now: Instant) -> Epoch:
        """The same count, as it is written down at another moment of the same boot."""
        return replace(self, seen=now)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "began": self.began,
            "boot": self.seen.boot,
            "up": self.seen.up,
            "wall": self.seen.wall,
            "revision": self.seen.revision,
            "outside": list(self.outside),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Epoch:
        """Read `to_document` back.

        Raises:
            KeyError, TypeError, ValueError: the document is no epoch.
        """
        boot, up, wall = str(document["boot"]), float(document["up"]), float(document["wall"])
        seen = Instant(boot, up, wall, int(document["revision"]))
        four, six = document["outside"]
        return cls(float(document["began"]), seen, (str(four), str(six)))


def resume(saved: Epoch | None, now: Instant, outside: tuple[str, str]) -> tuple[Epoch, bool]:
    """The epoch from now on, and whether it is a new one.

    Args:
        saved: as it was last written down beside the state; None where the state, or the note, was lost.
        now: this moment.
        outside: the outside addresses now, IPv4 and IPv6. One that is not known yet ("") is no change.
    """
    new = Epoch(now.up, now, outside)
    if saved is None or has_moved(saved.outside, outside) or saved.seen.revision > now.revision:
        return new, True
    known = tuple(there or before for there, before in zip(outside, saved.outside, strict=True))
    kept = (known[0], known[1])
    if saved.seen.boot == now.boot:
        # A clock that only goes on; what was written down in its future is no note of this boot.
        return (Epoch(saved.began, now, kept), False) if saved.seen.up <= now.up else (new, True)
    passed = now.wall - saved.seen.wall
    if passed < 0:  # no clock can tell how long the machine was off
        return new, True
    counted = saved.seen.up - saved.began
    return Epoch(now.up - counted - passed, now, kept), False


def has_moved(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether an outside address is another one. One that came or went is not: nothing led to another place
    by it, and a line that is down for a moment comes back with the address that it had.
    """
    return any(old and new and old != new for old, new in zip(before, now, strict=True))
