"""Tables of links, of the SSH door's users and keys, and of who is connected; imported late, as `tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from sekimori.cli.session import Session
from sekimori.cli.tables import draw, new_table, person
from sekimori.cli.text import clean, key_comment, one_line, short_sources, tiny_size
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
    managed = any(link["managed_by"] for link in links)
    heads = ["name", "server", "state", "since", "mappings", "flows>", *(["managed"] if managed else [])]
    table = new_table(session, *heads)
    for column in table.columns[2:4]:
        column.no_wrap = True
    for link in links:
        way = " → ".join(place.removeprefix("ssh://") for place in (*link["jump"], link["to"]))
        row = [
            link["name"],
            clean(way),
            _state(session, link),
            session.clock.when(link["since"]) if link["since"] else "",
            clean(", ".join(link["mappings"])),
            str(link["flows"]),
        ]
        table.add_row(*row, *([person(session, str(link["owner"]))] if managed else []))
    return draw(table)


def draw_users(session: Session, users: Sequence[View]) -> str:
    """Every user: what their keys may open and reach."""
    managed = any(user["managed_by"] for user in users)
    heads = ["name", "keys>", "ports", "sources", "reach", "until", "sessions>"]
    table = new_table(session, *heads, *(["managed"] if managed else []))
    for user in users:
        grant, ends = user["grant"], user["expires_at"]
        row = [
            user["name"],
            str(len(user["keys"])),
            clean(grant["ports"] or "-"),
            clean(short_sources(grant["from"] or "lan", session.options.language)) if grant["ports"] else "-",
            clean(grant["to"] if grant["to"] != "none" else "-"),
            session.clock.when(ends) if ends else session.word("until.permanent"),
            str(len(user["sessions"])),
        ]
        table.add_row(*row, *([person(session, str(user["owner"]))] if managed else []))
    return draw(table)


def draw_keys(session: Session, keys: Sequence[View]) -> str:
    """Keys with whose they are."""
    options = any(key["options"] for key in keys)
    heads = ["user", "fingerprint", "algorithm", *(["options"] if options else []), "comment"]
    table = new_table(session, *heads)
    table.columns[1].no_wrap = True  # it is there to be compared
    for key in keys:
        kind = str(key["algorithm"]).removeprefix("ssh-")
        row = [key["user"], key["fingerprint"], one_line(kind)]
        table.add_row(*row, *([one_line(key["options"])] if options else []), key_comment(key))
    return draw(table)


def draw_sessions(session: Session, sessions: Sequence[View]) -> str:
    """Who is connected to the SSH door; what a client calls itself stands on one line."""
    table = new_table(session, "user", "source", "since", "holds", "channels>", "bytes>", "client")
    for column in table.columns[1:3]:
        column.no_wrap = True  # half an address or time is none
    for one in sessions:
        table.add_row(
            one["user"],
            one["source"],
            session.clock.when(one["since"]),
            clean(", ".join(one["mappings"])),
            str(one["channels"]),
            f"{tiny_size(one['bytes_in'])}/{tiny_size(one['bytes_out'])}",
            _program(one["client"]),
        )
    return draw(table)


def _program(client: str) -> str:
    """What a client calls itself (RFC 4253 section 4.2), without the protocol's version and the comment."""
    words = one_line(client).removeprefix("SSH-2.0-").split(" ")
    return words[0]


def _state(session: Session, link: View) -> Text:
    phase = str(link["phase"])
    shape, colour = _SHAPES.get(phase, ("?", ""))
    word = session.word(f"phase.{phase}") if has_word(f"phase.{phase}") else one_line(phase)
    return Text(f"{shape} {word}", style=colour)
