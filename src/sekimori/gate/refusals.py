"""What devices were refused lately, and why: a device shows its user a code at most, if anything."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sekimori.model.errors import Problem
from sekimori.model.lease import Obtain
from sekimori.model.mapping import Owner

__all__ = ["Refusal", "Refusals"]

_OF_ONE: Final = 8
_ALTOGETHER: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a device asked for in vain.

    Attributes:
        door: the door's word for the journal.
        ask: the last one, of those for the same ports of the same host that were refused alike.
        times: how many they were.
        at: when the last one was, in Unix seconds.
    """

    device: Owner
    door: str
    ask: Obtain
    problem: Problem
    times: int
    at: float


class Refusals:
    """Keeps the last refusals in memory. What asks again and again is one; and no device pushes out those of
    others before there are more devices than can be in a home.

    Args:
        of_one: how many of one device are kept.
        altogether: how many there are of all.
    """

    def __init__(self, of_one: int = _OF_ONE, altogether: int = _ALTOGETHER) -> None:
        self._of_one = of_one
        self._altogether = altogether
        self._kept: OrderedDict[tuple[object, ...], Refusal] = OrderedDict()

    def note(self, device: Owner, door: str, ask: Obtain, problem: Problem, now: float) -> None:
        """Take note of a refusal."""
        key = (device, door, problem.code, ask.protocol, ask.inside, ask.ports, ask.outside)
        before = self._kept.pop(key, None)
        if before is None:
            self._make_room(device)
        self._kept[key] = Refusal(
            device=device,
            door=door,
            ask=ask,
            # Another of the same words: the one that was raised holds on to all that was in work then.
            problem=Problem(problem.code, **problem.facts),
            times=1 if before is None else before.times + 1,
            at=now,
        )

    def newest(self) -> Sequence[Refusal]:
        """Those that are kept, the newest first."""
        return tuple(reversed(self._kept.values()))

    def _make_room(self, device: Owner) -> None:
        of_device = [key for key, refusal in self._kept.items() if refusal.device == device]
        if len(of_device) >= self._of_one:
            del self._kept[of_device[0]]
        elif len(self._kept) >= self._altogether:
            self._kept.popitem(last=False)
