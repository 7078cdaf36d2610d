"""What is said of a port at the far end of a link, where other software listens than ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from sekimori.cli.session import Session
from sekimori.model.errors import Kind, Problem

__all__ = ["tell_of_far_end"]

View = Mapping[str, Any]


def tell_of_far_end(session: Session, view: View, link: View | None = None) -> None:
    """Say what keeps others out of a port that an sshd listens on: it agrees, and by default it listens on
    loopback alone. Nothing is said where that is what was asked for, and of another Sekimori.

    `view` is the mapping, `link` that at whose far end it is; it is asked for where it is not given.
    """
    if not session.talks or not view.get("at") or _is_loopback(view.get("on")):
        return
    if link is None:
        try:
            link = session.client.link(str(view["at"]))
        except Problem as problem:
            if problem.kind not in (Kind.NOT_FOUND, Kind.UNREACHABLE):
                raise
            return  # it was removed, or the daemon ended, since the port was opened
    if not link["sekimori"]:
        session.talk(session.word("share.gateway-ports", link=link["name"]))


def _is_loopback(on: object) -> bool:
    try:
        return ipaddress.ip_address(str(on)).is_loopback
    except ValueError:  # every address, or a path
        return str(on).startswith("unix:")
