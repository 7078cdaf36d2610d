"""What went through an interface since it was made, and how fast it can be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Traffic", "read_speed", "read_traffic"]

_DEVICES: Final = Path("/proc/thread-self/net/dev")
"""Of the network that this thread is in; `/proc/net` shows that of the main thread."""
_CLASS: Final = Path("/sys/class/net")
_FIELDS: Final = 16  # proc(5), /proc/net/dev: eight for what came in, eight for what went out


@dataclass(frozen=True, slots=True)
class Traffic:
    """The counters of an interface. In is towards this machine."""

    bytes_in: int
    packets_in: int
    bytes_out: int
    packets_out: int


def read_traffic(interface: str, table: Path = _DEVICES) -> Traffic | None:
    """The counters of an interface; None where there is no such interface.

    Raises:
        OSError: `/proc` is not there.
    """
    for line in table.read_text(encoding="ascii", errors="replace").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() == interface and len(numbers) >= _FIELDS:
            received, sent = numbers[:2], numbers[8:10]
            return Traffic(int(received[0]), int(received[1]), int(sent[0]), int(sent[1]))
    return None


def read_speed(interface: str, root: Path = _CLASS) -> int | None:
    """Bits a second of an interface's link; None where the driver does not say, or it is down."""
    try:
        megabits = int((root / interface / "speed").read_text(encoding="ascii"))
    except (OSError, ValueError):  # EINVAL of a link that is down; no such file for PPP and tunnels
        return None
    return megabits * 1_000_000 if megabits > 0 else None
