"""Tables of links, of the SSH door's users and keys, and of who is connected; imported late, as `tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from sekimori.cli.session import Session
from sekimori.cli.tables import draw, new_table, person
from sekimori.cli.text import clean, one_line, short_sources, tiny_size
from sekimori.cli.words import has_word

__all__ = ["draw_keys", "draw_links", "draw_sessions", "draw_users"]

View = Mapping[str, Any]

_SHAPES: Final = {
    "up": ("●", "green"),
    "connecting": ("◌", "cyan"),
    "waiting": ("×", "bold red"),
    "refused": ("×", "bold red"),
}


def draw_links(session: Session, links: Sequence[View]) -> str:
    """Every link: where it leads, how it is, and what goes through it."""
    table = new_table(session, "name", "server", "state", "mappings", "flows>", "managed")
    for link in links:
        way = " → ".join([*link["jump"], link["to"]])
        table.add_row(
            link["name"],
            clean(way),
            _state(session, link),
            clean(", ".join(link["mappings"])),
            str(link["flows"]),
            person(session, str(link["owner"])),
        )
    return draw(table)


def draw_users(session: Session, users: Sequence[View]) -> str:
    """Every user: what their keys may open and reach."""
    table = new_table(session, "name", "keys>", "ports", "sources", "reach", "until", "sessions>", "managed")
    for user in users:
        grant, ends = user["grant"], user["expires_at"]
        table.add_row(
            user["name"],
            str(len(user["keys"])),
            clean(grant["ports"] or "-"),
            clean(short_sources(grant["from"] or "lan", session.options.language)) if grant["ports"] else "-",
            clean(grant["to"] if grant["to"] != "none" else "-"),
            session.clock.when(ends) if ends else session.word("until.permanent"),
            str(len(user["sessions"])),
            person(session, str(user["owner"])),
        )
    return draw(table)


def draw_keys(session: Session, keys: Sequence[View]) -> str:
    """Keys with whose they are."""
    table = new_table(session, "user", "fingerprint", "algorithm", "options", "comment")
    for key in keys:
        table.add_row(
            key["user"],
            key["fingerprint"],
            key["algorithm"],
            one_line(key["options"]),
            one_line(key["comment"]),
        )
    return draw(table)


def draw_sessions(session: Session, sessions: Sequence[View]) -> str:
    """Who is connected to the SSH door; what a client calls itself stands on one line."""
    table = new_table(session, "user", "source", "since", "holds", "channels>", "bytes>", "client")
    for one in sessions:
        table.add_row(
            one["user"],
            one["source"],
            session.clock.when(one["since"]),
            clean(", ".join(one["mappings"])),
            str(one["channels"]),
            f"{tiny_size(one['bytes_in'])}/{tiny_size(one['bytes_out'])}",
            one_line(one["client"]),
        )
    return draw(table)


def _state(session: Session, link: View) -> Text:
    phase = str(link["phase"])
    shape, colour = _SHAPES.get(phase, ("?", ""))
    word = session.word(f"phase.{phase}") if has_word(f"phase.{phase}") else one_line(phase)
    if phase == "up" and link["since"]:
        word = session.word("show.since", state=word, when=session.clock.when(link["since"]))
    return Text(f"{shape} {word}", style=colour)
