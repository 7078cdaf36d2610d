"""Who came and who left between two looks at who uses a mapping. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Visit", "Visits"]

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Visit:
    """That somebody came, or left.

    Attributes:
        source: the address.
        count: how many connections came, or ended, since the look before.
        now: how many of that source are live now.
        bytes_in: of those that ended, from outside to the target.
        bytes_out: likewise back.
    """

    kind: Literal["came", "left"]
    source: str
    count: int
    now: int
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told of a source so far."""

    came: int = 0
    left: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Visits:
    """Turns the figures of a mapping's sources into what happened.

    Connections are not told apart, so none is missed that came and ended between two looks: what ended is
    what was ever there without what is live, in connections and in bytes.
    """

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def look(self, sources: Sequence[View], flows: Sequence[View]) -> list[Visit]:
        """What happened since the last look.

        Args:
            sources: views of the API: `source`, `flows_active`, `flows_total`, `bytes_in`, `bytes_out`.
            flows: views of live connections: `source` with its port, `bytes_in`, `bytes_out`.
        """
        live_in, live_out = Counter[str](), Counter[str]()
        for flow in flows:
            host = _host(str(flow["source"]))
            live_in[host] += flow["bytes_in"]
            live_out[host] += flow["bytes_out"]
        visits = []
        for source in sources:
            name = str(source["source"])
            visits += self._look(name, source, live_in[name], live_out[name])
        return visits

    def _look(self, name: str, source: View, live_in: int, live_out: int) -> list[Visit]:
        told = self._told.get(name, _Told())
        if source["flows_total"] < told.came:  # it was forgotten meanwhile, and counts from nothing again
            told = _Told()
        active, total = source["flows_active"], source["flows_total"]
        came, left = total - told.came, total - active - told.left
        # Flows are read a moment after sources: what came over since may make one look fall short of another.
        ended_in = max(told.bytes_in, source["bytes_in"] - live_in)
        ended_out = max(told.bytes_out, source["bytes_out"] - live_out)
        visits = [Visit("came", name, came, active)] if came > 0 else []
        if left <= 0:
            self._told[name] = _Told(total, told.left, told.bytes_in, told.bytes_out)
            return visits
        self._told[name] = _Told(total, total - active, ended_in, ended_out)
        moved_in, moved_out = ended_in - told.bytes_in, ended_out - told.bytes_out
        return [*visits, Visit("left", name, left, active, moved_in, moved_out)]


def _host(endpoint: str) -> str:
    """The address of `192.0.2.1:50022` or `[2001:db8::1]:50022`."""
    return endpoint.rpartition(":")[0].strip("[]") or endpoint
