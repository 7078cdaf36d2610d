"""Tables of the doors for devices, their rules, and what devices leased; imported last, as `tables` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from sekimori.cli.session import Session
from sekimori.cli.tables import draw, new_table, person, state_word
from sekimori.cli.text import clean, lead, one_line, protocol_name

__all__ = ["draw_doors", "draw_leases", "draw_refusals", "draw_rules"]

View = Mapping[str, Any]


def draw_doors(session: Session, doors: Sequence[View]) -> str:
    """Every door, open or shut."""
    table = new_table(session, "for-devices", "state", "where", "terms", "leases>", "managed")
    for door in doors:
        table.add_row(
            door["name"],
            _state(session, door),
            clean(", ".join(place["interface"] for place in door["interfaces"])),
            _terms(session, door),
            str(door["leases"]),
            person(session, str(door["owner"])) if door["owner"] else "",
        )
    return draw(table)


def draw_refusals(session: Session, refusals: Sequence[View]) -> str:
    """What devices asked for in vain, the newest first."""
    table = new_table(session, "last", "device", "for-devices", "wished", "times>", "refused-why")
    for one in refusals:
        wished = f"{one['ports']} → {one['to']}"
        said = one_line(one["description"])
        table.add_row(
            session.clock.ago(one["at"]),
            clean(one["device"]),
            clean(one["door"]),
            clean(f"{wished} '{said}'" if said else wished),
            str(one["times"]),
            one_line(one["problem"]["title"]),
        )
    return draw(table)


def draw_rules(session: Session, rules: Sequence[View]) -> str:
    """The rules with their numbers."""
    table = new_table(session, "number>", "rule")
    for one in rules:
        table.add_row(str(one["number"]), one_line(one["rule"]))
    return draw(table)


def draw_leases(session: Session, views: Sequence[View]) -> str:
    """What devices opened; their own words stand on one line, without what would drive the terminal."""
    table = new_table(session, "name", "device", "leads", "asked", "description", "left", "last")
    for view in views:
        used = view["counters"].get("last_flow_at")
        ends = view.get("expires_at")
        table.add_row(
            view["name"],
            clean(str(view["owner"]).partition(":")[2]),
            clean(" → ".join(lead(view, session.options.language))),
            protocol_name(view["lease"]["protocol"]),
            one_line(view["lease"]["description"]),
            session.clock.left(ends) if ends else session.word("until.permanent"),
            session.clock.ago(used) if used else session.word("leases.unused"),
        )
    return draw(table)


def _terms(session: Session, door: View) -> str:
    if door["version"] is not None:
        return f"IGD:{door['version']}"
    if door["name"] == "ssh":
        return session.word("door.sessions", count=len(door["sessions"])) if door["enabled"] else ""
    return session.word("door.nonce", rule=clean(str(door["nonce"]))) if door["nonce"] else ""


def _state(session: Session, door: View) -> Text:
    if not door["enabled"]:
        return Text("○ " + session.word("door.shut"))
    return state_word(session, "failed" if any(each["problem"] for each in door["interfaces"]) else "open")
