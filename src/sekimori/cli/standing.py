"""Links, and the doors that are open, in `status`: a line or two each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sekimori.cli.line import beside
from sekimori.cli.session import Session
from sekimori.cli.text import clean, one_line
from sekimori.cli.words import has_word

__all__ = ["draw_open_doors", "draw_standing_links"]

View = Mapping[str, Any]

_NAMED: Final = 4
"""Names that are told before the rest is counted."""


def draw_standing_links(session: Session, links: Sequence[View]) -> str:
    """How each link is and since when, what goes through it, and why not."""
    rows = [(clean(link["name"]), list(_link(session, link))) for link in links]
    return "\n".join([session.word("status.links"), *beside(rows)])


def draw_open_doors(session: Session, doors: Sequence[View]) -> str:
    """Where each door answers or why not, for whom, and who is there."""
    told = {"ssh": _ssh_door}
    rows = [(clean(door["name"]), list(told.get(door["name"], _door)(session, door))) for door in doors]
    return "\n".join([session.word("status.doors"), *beside(rows)])


def _link(session: Session, link: View) -> Iterator[str]:
    phase = str(link["phase"])
    state = session.word(f"phase.{phase}") if has_word(f"phase.{phase}") else one_line(phase)
    if link["since"]:
        state = session.word("show.since", state=state, when=session.clock.when(link["since"]))
    if link["mappings"]:
        key = "standing.carries" if phase == "up" else "standing.awaited"
        names = _some(session, link["mappings"])
        yield session.word(key, state=state, names=names, count=link["flows"])
    else:
        yield session.word("standing.idle", state=state)
    if link["problem"]:
        again = ""
        if link["next_try"]:
            again = session.word("link.again", when=session.clock.left(link["next_try"]))
        yield session.word("standing.why", why=one_line(link["problem"]["title"]), again=again).strip()


def _ssh_door(session: Session, door: View) -> Iterator[str]:
    whom = [_some(session, door["users"])] if door["users"] else []
    if door["authorized_keys"]:
        whom.append(session.word("standing.keys-of", file=clean(door["authorized_keys"])))
    yield session.word(
        "standing.ssh-outside" if door["outside"] else "standing.ssh",
        places=_places(door),
        users=session.word("standing.and").join(whom) or session.word("standing.nobody-yet"),
    )
    there = [f"{one_line(each['user'])} ({one_line(each['source'])})" for each in door["sessions"]]
    now = session.word("standing.there", names=_some(session, there)) if there else ""
    yield now or session.word("standing.nobody-there")
    if door["keys_refused"]:
        yield session.word("standing.keys-refused", count=door["keys_refused"])
    yield from _failures(door)


def _door(session: Session, door: View) -> Iterator[str]:
    yield session.word("standing.door", places=_places(door), count=door["leases"])
    yield from _failures(door)


def _places(door: View) -> str:
    return clean(", ".join(place["interface"] for place in door["interfaces"]))


def _failures(door: View) -> Iterator[str]:
    for place in door["interfaces"]:
        if place["problem"]:
            yield one_line(f"{place['interface']}: {place['problem']['title']}")


def _some(session: Session, names: Sequence[str]) -> str:
    shown = clean(", ".join(names[:_NAMED]))
    more = len(names) - _NAMED
    return session.word("standing.more", names=shown, count=more) if more > 0 else shown
