"""What is said of a port at the far end of a link, where other software listens than ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sekimori.cli.session import Session
from sekimori.model.errors import Kind, Problem

__all__ = ["is_shut_off", "tell_of_far_end", "tell_shut_off"]

View = Mapping[str, Any]


def tell_of_far_end(session: Session, view: View, link: View | None = None) -> None:
    """Say what keeps others out of a port that an sshd listens on: it agrees, and by default it listens on
    loopback alone. Nothing is said where that is what was asked for, of another Sekimori, and where a test of
    the link found that others come in. Where no test could tell, it is said with the first port of a link.

    `view` is the mapping, `link` that at whose far end it is; it is asked for where it is not given.
    """
    if not session.talks or not view.get("at") or _is_loopback(view.get("on")):
        return
    try:
        link = session.client.link(str(view["at"])) if link is None else link
        key = _word_of(session, view, link)
    except Problem as problem:
        if problem.kind not in (Kind.NOT_FOUND, Kind.UNREACHABLE):
            raise
        return  # it was removed, or the daemon ended, since the port was opened
    if key is not None:
        session.talk(session.word(key, link=link["name"]))


def is_shut_off(session: Session, view: View) -> bool:
    """Whether only the far machine itself gets in by a mapping there, as the last test of its link found."""
    return bool(_shut_off(session, [view]))


def tell_shut_off(session: Session, views: Iterable[View]) -> Iterator[str]:
    """A line for each link at whose far end only that machine itself gets in, with the mappings there."""
    for link, names in _shut_off(session, views).items():
        yield session.word("ls.loopback-only", link=link, names=", ".join(names))


def _shut_off(session: Session, views: Iterable[View]) -> dict[str, list[str]]:
    """The mappings that others are kept out of, by link."""
    there = [view for view in views if view.get("at") and not _is_loopback(view.get("on"))]
    if not there:
        return {}
    shut = {link["name"] for link in session.client.links() if link.get("outside") is False}
    found: dict[str, list[str]] = {}
    for view in there:
        if view["at"] in shut:
            found.setdefault(view["at"], []).append(view["name"])
    return found


def _word_of(session: Session, view: View, link: View) -> str | None:
    outside = link.get("outside")
    if link["sekimori"] or outside:
        return None
    if outside is False:
        return "share.loopback-only"
    before = (each for each in session.client.mappings() if each["id"] != view["id"])
    return None if any(each.get("at") == view["at"] for each in before) else "share.gateway-ports"


def _is_loopback(on: object) -> bool:
    try:
        return ipaddress.ip_address(str(on)).is_loopback
    except ValueError:  # every address, or a path
        return str(on).startswith("unix:")
