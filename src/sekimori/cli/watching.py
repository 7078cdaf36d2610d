"""`watch`: the table of mappings as it changes, once a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sekimori.cli.misuse import Fault
from sekimori.cli.session import Session
from sekimori.cli.text import size
from sekimori.model.errors import Kind

__all__ = ["watch"]

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Tick:
    """All mappings at one moment, and what flowed since the one before (bytes a second)."""

    views: Sequence[View]
    in_rate: float
    out_rate: float

    @property
    def facts(self) -> dict[str, object]:
        return {
            "all": len(self.views),
            "open": sum(view["status"]["state"] == "open" for view in self.views),
            "flows": sum(view["counters"]["flows_active"] for view in self.views),
            "in_rate": size(self.in_rate),
            "out_rate": size(self.out_rate),
        }


def watch(*, session: Session) -> int:
    """A live table; lines where stdout is no terminal; NDJSON under `--json`. Ctrl-C is its end."""
    try:
        if session.options.json:
            for tick in _ticks(session):
                session.answer({"mappings": tick.views}, str)
        elif sys.stdout.isatty():
            _live(session)
        else:
            for tick in _ticks(session):
                session.print(session.word("watch.line", time=session.clock.time(), **tick.facts))
    except KeyboardInterrupt:
        return 0
    raise Fault("stream-ended", Kind.UNREACHABLE, socket=session.socket)


def _live(session: Session) -> None:
    from rich.console import Group
    from rich.live import Live

    from sekimori.cli.tables import make_console, tabulate

    console = make_console()
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="ellipsis") as live:
        for tick in _ticks(session):
            title = session.word("watch.title", time=session.clock.time(), **tick.facts)
            table = tabulate(session, tick.views, console) if tick.views else session.word("ls.empty")
            live.update(Group(title, "", table), refresh=True)


def _ticks(session: Session) -> Iterator[_Tick]:
    before: tuple[float, int, int] | None = None
    for name, data in session.client.events(counters=True):
        if name != "counters":
            continue
        views = data["mappings"]
        now = (
            monotonic(),
            sum(view["counters"]["bytes_in"] for view in views),
            sum(view["counters"]["bytes_out"] for view in views),
        )
        yield _Tick(views, *_rates(before, now))
        before = now


def _rates(before: tuple[float, int, int] | None, now: tuple[float, int, int]) -> tuple[float, float]:
    """Bytes a second in and out; a mapping that went away takes its bytes with it, which is no flow back."""
    if before is None or now[0] <= before[0]:
        return 0.0, 0.0
    passed = now[0] - before[0]
    return max(0, now[1] - before[1]) / passed, max(0, now[2] - before[2]) / passed
