"""Rules for a machine with several lines: flows are marked with the WAN they came in by. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sekimori.model.network import MARK_MASK, wan_mark
from sekimori.planes.kernel.frame import Frame

__all__ = ["mark_flows", "mark_replies"]


def mark_flows(frame: Frame) -> Iterator[str]:
    """New flows get the number of the WAN they come in by; none, where there is only one."""
    if len(frame.network.wans) < 2:
        return
    for wan, index in frame.numbered:
        mark = f"ct mark set ct mark and {~MARK_MASK & 0xFFFFFFFF:#x} or {wan_mark(index):#x}"
        yield f'ct direction original ct state new iifname "{wan.interface}" {mark}'
    yield from mark_replies(frame)


def mark_replies(frame: Frame) -> Iterator[str]:
    """Replies leave by the WAN that the flow came in by (`host.policyroute` has the routes)."""
    if len(frame.network.wans) < 2:
        return
    for _, index in frame.numbered:
        yield (
            f"ct direction reply ct mark and {MARK_MASK:#x} == {wan_mark(index):#x} "
            f"meta mark set meta mark and {~MARK_MASK & 0xFFFFFFFF:#x} or {wan_mark(index):#x}"
        )
