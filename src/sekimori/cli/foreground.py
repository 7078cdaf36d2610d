"""`open --foreground`: a port that is open for as long as this command runs.

Where a daemon answers, it opens there. Otherwise it hosts one of its own (`hosting`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from sekimori.cli.farend import tell_of_far_end
from sekimori.cli.hosting import END_WITHIN, Hosted, answers, deferred, ending_as_interrupt, introduce
from sekimori.cli.misuse import Fault
from sekimori.cli.session import Session
from sekimori.cli.text import clean, state_of
from sekimori.cli.writing import tell, tell_opened
from sekimori.model.errors import Kind, Problem

__all__ = ["host"]

_Events = Generator[tuple[str, dict[str, Any]], None, None]


def host(session: Session, fields: Mapping[str, object], why: str) -> int:
    """Open a port, tell how it fares, and close it on Ctrl-C, SIGTERM or SIGHUP.

    Returns:
        0 once the port is closed, whoever closed it.

    Raises:
        Problem: the port could not be opened, or the daemon went away.
    """
    with ending_as_interrupt():
        if answers(session):
            return _stay(session, fields, why, None)
        with Hosted(session) as hosted:
            return _stay(hosted.session, fields, why, hosted)


def _stay(session: Session, fields: Mapping[str, object], why: str, hosted: Hosted | None) -> int:
    # Subscribed before the port is opened, so that no change of its state is missed.
    events = session.client.events()
    next(events, None)
    view = None
    closed = False
    try:
        with deferred():
            outcome = session.client.open(fields, why=why)
            view = outcome["mappings"][0]
        tell(session, outcome, lambda: tell_opened(session, outcome, "open.ctrl-c"))
        tell_of_far_end(session, view)
        introduce(session, hosted)
        while _follow(session, events, view):
            events = _again(session, hosted)
    except KeyboardInterrupt:
        if view is None:
            raise
        # Otherwise it is the normal end of this command.
    finally:
        events.close()
        if view is not None:
            closed = _close(session, view, now=hosted is not None)
    _say(session, "host.closed" if closed else "host.ended", name=view["name"])
    return 0


def _follow(session: Session, events: _Events, view: Mapping[str, Any]) -> bool:
    """Tell each change of the mapping's state. False when it is gone, True when the stream ended."""
    for name, data in events:
        if name == "status" and data["id"] == view["id"]:
            _tell_status(session, data)
        elif name == "committed" and any(_ends(change, view) for change in data["changes"]):
            return False
    return True


def _ends(change: Mapping[str, Any], view: Mapping[str, Any]) -> bool:
    before = change.get("before") or {}
    return not change.get("after") and before.get("id") == view["id"]


def _tell_status(session: Session, data: Mapping[str, Any]) -> None:
    if session.options.json:
        session.answer({"event": "status", **data}, str)
        return
    status = data["status"]
    state = session.word(f"state.{state_of(data)}")
    if status.get("problem"):
        state += f": {status['problem'].get('title', '')}"
    if not session.options.quiet:
        line = session.word("host.state", time=session.clock.time(), name=data["name"], state=state)
        session.print(clean(line))


def _again(session: Session, hosted: Hosted | None) -> _Events:
    """A new stream after one ended: this end was too slow, or the daemon is gone.

    Raises:
        Problem: it is gone.
    """
    try:
        events = session.client.events()
        next(events, None)
    except Problem as problem:
        if problem.kind is Kind.UNREACHABLE:
            if hosted is not None:
                hosted.check(END_WITHIN)
            raise Fault("stream-ended", Kind.UNREACHABLE, socket=session.socket) from None
        raise
    return events


def _close(session: Session, view: Mapping[str, Any], *, now: bool) -> bool:
    """Close the port; whether it was this that closed it."""
    try:
        session.client.close(view["id"], now=now)
    except Problem as problem:
        if problem.kind in (Kind.NOT_FOUND, Kind.UNREACHABLE):
            return False
        raise
    return True


def _say(session: Session, key: str, **facts: object) -> None:
    if not session.options.quiet:
        session.talk(session.word(key, **facts))
