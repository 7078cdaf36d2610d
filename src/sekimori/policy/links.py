"""Decisions about links: which machines mappings may go through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from sekimori.model.causes import Unreadable, cause, near
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.link import AddLink, Link, RemoveLink, check_link_name
from sekimori.model.mapping import Mapping
from sekimori.model.snapshot import Snapshot
from sekimori.policy.case import Case, in_place_of, refuse_foreign, refuse_own_only
from sekimori.wire.hostkeyline import HostKeyLine

__all__ = ["MOST_CONNECTIONS", "MOST_JUMPS", "decide_add_link", "decide_remove_link", "refuse_links_in_use"]

MOST_CONNECTIONS: Final = 16
MOST_JUMPS: Final = 8
_NAMED: Final = 5
"""Mappings that a refusal names; the rest is a number."""


def decide_add_link(ask: AddLink, case: Case) -> Made | None:
    """Add a link, or put another in its place; None where it is just that.

    Raises:
        Problem: `not-permitted`, `managed-by-file`, `bad-name`, `bad-value` or `bad-host-key`.
    """
    wanted = ask.link
    refuse_own_only(cause("do-link", name=wanted.name), case)
    check_link_name(wanted.name)
    before = case.draft.links.get(wanted.name)
    if before is not None:
        refuse_foreign(before, "do-edit", case)
    _check(wanted)
    after = in_place_of(before, wanted, case)
    return None if after == before else Made(Verb.LINK, before, after)


def decide_remove_link(ask: RemoveLink, case: Case) -> Made:
    """Remove a link. Whether mappings still go through it is seen when every ask is in.

    Raises:
        Problem: `not-permitted`, `managed-by-file` or `no-such-link`.
    """
    refuse_own_only(cause("do-link", name=ask.name), case)
    before = case.draft.links.get(ask.name)
    if before is None:
        alike = get_close_matches(ask.name, case.draft.links, 3)
        raise Problem("no-such-link", name=ask.name, near=near(alike))
    refuse_foreign(before, "do-edit", case)
    return Made(Verb.LINK, before, None)


def refuse_links_in_use(changes: Iterable[Made], draft: Snapshot) -> None:
    """Refuse to leave mappings without the link that they go through.

    Raises:
        Problem: `link-in-use`, with their names.
    """
    gone = [made.subject.name for made in changes if isinstance(made.subject, Link) and made.after is None]
    for name in gone:
        if name in draft.links:  # it was added again
            continue
        users = sorted((each for each in draft if _goes_through(each, name)), key=lambda each: each.name)
        if users:
            told = ", ".join(each.name for each in users[:_NAMED]) + (", …" if len(users) > _NAMED else "")
            raise Problem("link-in-use", name=name, mappings=told, elsewhere=_elsewhere(users, name))


def _goes_through(mapping: Mapping, link: str) -> bool:
    return link in (mapping.via, mapping.at, mapping.link)


def _elsewhere(users: Iterable[Mapping], link: str) -> str:
    """What edits of these mappings say so that they go without a link."""
    flags = dict.fromkeys("--at none" if each.at == link else "--via auto" for each in users)
    return " / ".join(sorted(flags, reverse=True))


def _check(link: Link) -> None:
    if not 1 <= link.connections <= MOST_CONNECTIONS:
        why = cause("not-in-range", first=1, last=MOST_CONNECTIONS)
        raise Problem("bad-value", key="connections", text=str(link.connections), why=why)
    if len(link.jump) > MOST_JUMPS:
        why = cause("too-many-jumps", most=MOST_JUMPS)
        raise Problem("bad-value", key="jump", text=",".join(map(str, link.jump)), why=why)
    for key, path in _paths(link):
        if not path.startswith("/") or "\0" in path:
            raise Problem("bad-value", key=key, text=path, why=cause("path-not-absolute", path=path))
    # Which jumps ssh_config(5) names is known where it is read; without a key for the server it is a slip.
    at_server = any(line.partition(" ")[0] == str(link.place) for line in link.host_keys)
    places = None if at_server and link.config != "none" else (link.place, *link.jump)
    for line in link.host_keys:
        try:
            same = str(HostKeyLine.parse(line, places)) == line
        except Unreadable as error:
            raise Problem("bad-host-key", text=line, why=error.why) from None
        if not same:  # a place or blanks in another form would never be found again
            raise Problem("bad-host-key", text=line, why=cause("host-key-form"))


def _paths(link: Link) -> Iterator[tuple[str, str]]:
    yield from (("identity", path) for path in link.identity)
    if link.config not in ("", "none"):
        yield "config", link.config
