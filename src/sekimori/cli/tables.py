"""Tables for people. The only module that imports rich, so it is imported last and only when needed.

Every state has a shape and a word; colour is only extra. Widths count cells, so that
Japanese text lines up.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import StringIO
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from sekimori.cli.pages import hop_state
from sekimori.cli.session import Session
from sekimori.cli.text import (
    clean,
    lead,
    one_line,
    owner_label,
    short_sources,
    span,
    state_of,
    tiny_size,
    who_may,
)
from sekimori.cli.words import has_word
from sekimori.model.mapping import fold_fields

__all__ = [
    "draw",
    "draw_bans",
    "draw_flows",
    "draw_history",
    "draw_mappings",
    "draw_presets",
    "draw_sources",
    "make_console",
    "new_table",
    "person",
    "state_word",
    "tabulate",
]

View = Mapping[str, Any]
Rows = Sequence[Sequence[str | Text]]

_SHAPES: Final = {
    "open": ("●", "green"),
    "starting": ("◌", "cyan"),
    "paused": ("=", "yellow"),
    "outside-hours": ("○", "blue"),
    "failed": ("×", "bold red"),
    "waiting": ("◌", "yellow"),
}
_NUMERIC: Final = frozenset({"now", "bytes", "refused"})
_OURS: Final = {
    "history.undo-of": re.compile(r"undo of revision (\d+)"),
    "history.by": re.compile(r"by (\S+)"),
}
"""Reasons that the daemon writes where nobody gave one."""
_UNBOUNDED: Final = 10_000
"""Columns of an output that is no terminal: nothing is cut or wrapped for `grep` and `awk`."""


def make_console(stream: Any = None) -> Console:
    """A console on stdout; as wide as the terminal, or as COLUMNS says, or unbounded in a pipe."""
    columns = os.environ.get("COLUMNS", "")
    is_terminal = sys.stdout.isatty()
    width = int(columns) if columns.isdecimal() and int(columns) else None if is_terminal else _UNBOUNDED
    return Console(
        file=stream or sys.stdout,
        width=width,
        force_terminal=is_terminal,
        no_color=not is_terminal or bool(os.environ.get("NO_COLOR")) or None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def draw(*parts: RenderableType) -> str:
    """What the parts look like one below the other, without blanks at the ends of lines."""
    stream = StringIO()
    console = make_console(stream)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


def draw_mappings(session: Session, views: Sequence[View]) -> str:
    """The table of `ls`, and below it why a mapping failed."""
    told: dict[str, list[str]] = {}  # many may wait for one link: its cause is told once
    for view in views:
        for where, cause in _causes(session, view) if view["status"].get("problem") else ():
            told.setdefault(cause, []).append(where)
    causes = [f"{', '.join(names)}: {cause}" for cause, names in told.items()]
    return draw(tabulate(session, views, make_console(StringIO())), *causes)


def _causes(session: Session, view: View) -> Iterator[tuple[str, str]]:
    """Why a mapping failed, after its name: of one with several hops, how each of them is."""
    hops = () if state_of(view) == "waiting" else view["status"].get("hops") or ()
    for hop in hops:
        plane, _, state = hop_state(session, hop).partition(": ")
        yield f"{view['name']} ({plane})", state
    if not hops:
        yield view["name"], clean(str(view["status"]["problem"].get("title", "")))


def tabulate(session: Session, views: Sequence[View], console: Console) -> RenderableType:
    """Mappings as a table where one line each fits the console, else on two lines each."""
    table = _on_one_line(session, views)
    unbounded = console.options.update(max_width=_UNBOUNDED)
    return (
        table
        if console.measure(table, options=unbounded).maximum <= console.width
        else _on_two_lines(session, views)
    )


def _on_one_line(session: Session, views: Sequence[View]) -> Table:
    managed = any(map(_is_managed, views))
    keys = ["name", "leads", "sources", "until", "state", *_figures(views)]
    table = new_table(session, *(f"{key}>" if key in _NUMERIC else key for key in keys))
    if managed:
        table.add_column(session.word("head.managed"), overflow="fold")
    for view in views:
        cells = _cells(session, view)
        row = [cells[key] for key in keys]
        table.add_row(*row, *([_manager(session, view)] if managed else []))
    return table


def _on_two_lines(session: Session, views: Sequence[View]) -> Text:
    """The short facts in columns; below each, indented, what leads where and who manages it."""
    keys = ("name", "sources", "until", "state", *_figures(views))
    rows = [{key: Text(session.word(f"head.{key}"), style="bold") for key in keys}]
    rows += [{key: Text.assemble(cell) for key, cell in _cells(session, view).items()} for view in views]
    widths = {key: max(row[key].cell_len for row in rows) for key in keys}
    lines = []
    for row, view in zip(rows, (None, *views), strict=True):
        for key in keys:
            pad = " " * (widths[key] - row[key].cell_len)
            row[key] = Text(pad) + row[key] if key in _NUMERIC else row[key] + pad
        lines.append(Text("  ").join(row[key] for key in keys))
        if view is not None:
            manager = f"   ({_manager(session, view)})" if _is_managed(view) else ""
            lines.append(Text(f"  {row['leads']}{manager}"))
    return Text("\n").join(lines)


def _figures(views: Sequence[View]) -> list[str]:
    """The columns of figures: refusals stand there only where somebody was refused."""
    return ["now", "bytes", *(["refused"] if any(map(_refused, views)) else [])]


def _refused(view: View) -> int:
    return sum((view["counters"].get("refused") or {}).values())


def _cells(session: Session, view: View) -> dict[str, str | Text]:
    counters = view["counters"]
    return {
        "name": view["name"],
        "leads": clean(" → ".join(lead(view, session.options.language))),
        "sources": clean(who_may(view, session.options.language, short=True)),
        "until": session.clock.until(view),
        "state": state_word(session, state_of(view)),
        "now": str(counters["flows_active"]),
        "bytes": f"{tiny_size(counters['bytes_in'])}/{tiny_size(counters['bytes_out'])}",
        "refused": str(_refused(view)),
    }


def state_word(session: Session, state: str) -> Text:
    """A state's shape and word; the colour says nothing that they do not."""
    shape, colour = _SHAPES.get(state, ("?", ""))
    return Text(f"{shape} {session.word(f'state.{state}') if state in _SHAPES else state}", style=colour)


def draw_sources(session: Session, sources: Sequence[View]) -> str:
    """Who came, the busiest first."""
    table = new_table(session, "source", "now>", "flows>", "bytes>", "refused>", "first", "last")
    for one in sources:
        table.add_row(
            one["source"],
            str(one["flows_active"]),
            str(one["flows_total"]),
            f"{tiny_size(one['bytes_in'])}/{tiny_size(one['bytes_out'])}",
            str(one["refused"]),
            session.clock.when(one["first_seen"]),
            session.clock.ago(one["last_seen"]),
        )
    return draw(table)


def draw_flows(session: Session, flows: Sequence[View]) -> str:
    """The live connections."""
    table = new_table(session, "protocol", "source", "target", "bytes>", "age>", "idle>", "state")
    for one in flows:
        table.add_row(
            one["protocol"],
            one["source"],
            one["target"],
            f"{tiny_size(one['bytes_in'])}/{tiny_size(one['bytes_out'])}",
            span(one["age"], session.options.language),
            span(one["idle"], session.options.language),
            session.word(state) if has_word(state := f"flow.{one['state']}") else one["state"],
        )
    return draw(table)


def draw_history(session: Session, revisions: Sequence[View]) -> str:
    """Revisions, newest first; one row for each, whatever it changed."""
    table = new_table(session, "revision>", "when", "who", "door", "what", "why")
    for one in revisions:
        table.add_row(
            str(one["number"]),
            session.clock.when(one["at"]),
            person(session, one["actor"]),
            one["door"],
            _what(session, one["rows"]),
            _why(session, one["why"]),
        )
    return draw(table)


def draw_bans(session: Session, bans: Sequence[View]) -> str:
    """Who is kept out."""
    table = new_table(session, "banned", "until", "who", "when", "why")
    for one in bans:
        ends = one["expires_at"]
        table.add_row(
            one["name"],
            session.clock.when(ends) if ends else session.word("until.lifted"),
            _manager(session, one),
            session.clock.when(one["created_at"]),
            clean(str(one["reason"])),
        )
    return draw(table)


def draw_presets(session: Session, presets: Sequence[View]) -> str:
    """Known services with what they take unless told otherwise."""
    language = session.options.language
    table = new_table(session, "name", "title", "ports", "risk", "sources", "lifetime")
    for one in presets:
        table.add_row(
            one["name"],
            one["title"].get(language) or one["title"]["en"],
            ", ".join(one["ports"]),
            session.word(f"risk.{one['risk']}"),
            short_sources(one["from"], language),
            one["for"],
        )
    return draw(table)


def _what(session: Session, rows: Sequence[View]) -> str:
    """`open web`, `change web (from, limit)`; several with commas, many cut to a count."""
    shown = [_row(session, row) for row in rows[:3]]
    return ", ".join(shown) + (f" +{len(rows) - 3}" if len(rows) > 3 else "")


def _row(session: Session, row: View) -> str:
    verb = session.word(f"verb.{row['verb']}")
    changed = fold_fields(row.get("changed") or ()) if row["verb"] == "change" else ()
    fields = ", ".join(map(partial(_field, session), changed))
    return f"{verb} {clean(str(row['name']))}" + (f" ({fields})" if fields else "")


def _field(session: Session, name: str) -> str:
    """A field as it is written on the command line; in other languages, its word."""
    key = f"field.{name}"
    return session.word(key) if session.options.language != "en" and has_word(key) else name


def _why(session: Session, why: str) -> str:
    """The reason as it was given; what the daemon wrote by itself, in this language."""
    for key, pattern in _OURS.items():
        if found := pattern.fullmatch(why):
            return session.word(key, what=clean(found[1]))
    return one_line(why)


def _is_managed(view: View) -> bool:
    """Whether it is no person's: a config file's, or a device's that asked for it by itself."""
    return bool(view.get("managed_by") or view.get("lease"))


def _manager(session: Session, view: View) -> str:
    """The file that manages it, or the person whose it is."""
    if view.get("managed_by"):
        return session.word("managed.file", name=clean(os.path.basename(str(view["managed_by"]))))
    return person(session, str(view["owner"]))


def person(session: Session, owner: str) -> str:
    """An owner in the width of a table: a file without its directories."""
    kind, _, name = owner.partition(":")
    if kind == "file":
        return session.word("managed.file", name=clean(os.path.basename(name)))
    return owner_label(owner, session.options.language)


def new_table(session: Session, *heads: str) -> Table:
    """An empty table; a head that ends in `>` is of numbers, aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        numeric = head.endswith(">")
        table.add_column(
            session.word(f"head.{head.rstrip('>')}"),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
    return table
