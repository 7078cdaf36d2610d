"""Ends flows that have been silent too long, at the cost of one store per event.

A flow only notes `last`. It sits in a bucket named by the moment at which it would
be due had nothing more come; at that moment it is put into a later bucket, or ended.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import ceil, log2
from typing import Final

from sekimori.planes.relay.flows import Flow
from sekimori.planes.relay.loop import Loop

__all__ = ["IdleWheel"]

_FINEST: Final = 0.0625
"""Seconds: no bucket is narrower than this."""


@lru_cache(maxsize=64)
def _width(idle: float) -> float:
    """Width of the buckets for flows of this timeout: a power of two, at most a sixteenth of it.

    So a flow ends at most 1/16 late, and a timeout has some 32 buckets however long it is.
    """
    return max(_FINEST, 2.0 ** int(log2(max(idle, 1.0) / 16)))


class IdleWheel:
    """All flows of a worker, by the moment at which silence would end them."""

    __slots__ = ("_buckets", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._buckets: dict[float, set[Flow]] = {}

    def add(self, flow: Flow) -> None:
        """Watch `flow`; moves it when it was watched already (after `idle_after` changed)."""
        if flow.bucket is not None:
            flow.bucket.discard(flow)
        width = _width(flow.idle_after)
        when = ceil((flow.last + flow.idle_after) / width) * width
        bucket = self._buckets.get(when)
        if bucket is None:
            bucket = self._buckets[when] = set()
            self._loop.call_at(when, partial(self._due, when))
        bucket.add(flow)
        flow.bucket = bucket

    def _due(self, when: float) -> None:
        bucket = self._buckets.pop(when)
        now = self._loop.now
        while bucket:
            flow = bucket.pop()
            flow.bucket = None
            if flow.last + flow.idle_after <= now:
                flow.on_idle()
            else:
                self.add(flow)
