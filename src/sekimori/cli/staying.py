"""Ports that are open for as long as a command runs, with a line for each who comes and goes.

They are leased for minutes and renewed while the command lives. So they close on Ctrl-C, at the end of the
time that was said, and also when the command dies without a word.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sekimori.cli.hosting import END_WITHIN, Hosted, deferred
from sekimori.cli.misuse import Fault
from sekimori.cli.session import Session
from sekimori.cli.text import clean, size, state_of
from sekimori.cli.visits import Visit, Visits
from sekimori.model.errors import Kind, Problem
from sekimori.model.lifetime import format_duration

__all__ = ["Stay"]

View = Mapping[str, Any]

_LEASE: Final = 600
"""Seconds for which a port stands once this command does not renew it."""
_RENEW_AFTER: Final = 300
"""Seconds from one renewal to the next: one that fails leaves time for another."""
_RETURN_WITHIN: Final = 15.0
"""Seconds in which a daemon that went away is waited for: it may be starting again."""
_STARTS_WITHIN: Final = 10.0
"""Seconds after which a port that is still starting is left to start by itself."""
_EVERY: Final = 0.1
_TOLD_OTHERWISE: Final = frozenset({Kind.NOT_FOUND, Kind.UNREACHABLE})
"""That a port is gone is told by an event, and that the daemon is by the end of them."""


@dataclass(slots=True)
class _Held:
    """A port that this command holds open."""

    view: View
    renew_at: float
    figures: tuple[int, int] = (0, 0)
    visits: Visits = field(default_factory=Visits)


class Stay:
    """The ports of one command. `close` must be called, however it ends.

    Args:
        seconds: for how long they stand at most; None is for as long as the command runs.
    """

    def __init__(self, session: Session, hosted: Hosted | None, seconds: float | None) -> None:
        self._session = session
        self._hosted = hosted
        self._ends = None if seconds is None else time.time() + seconds
        self._held: dict[str, _Held] = {}
        # Subscribed before a port is opened, so that no change of its state is missed.
        self._events = self._subscribe()

    def open(self, fields: Mapping[str, object], why: str) -> Mapping[str, Any]:
        """Open a port, and answer its outcome; an interrupt waits until it is known here.

        Raises:
            Problem: it is refused.
        """
        with deferred():
            outcome = self._session.client.open({**fields, "for": format_duration(self._lease())}, why=why)
            view = outcome["mappings"][0]
            self._held[view["id"]] = _Held(view, time.time() + _RENEW_AFTER)
        return outcome

    def settle(self, mapping_id: str) -> View:
        """Wait until a port is open, or why it is not is known; not for ever."""
        deadline = time.monotonic() + _STARTS_WITHIN
        while True:
            view = self._session.client.get(mapping_id)
            if not self._begins(view) or time.monotonic() > deadline:
                self._held[mapping_id].view = view
                return view
            time.sleep(_EVERY)

    def drop(self, mapping_id: str) -> None:
        """Close one port and hold the others."""
        held = self._held.pop(mapping_id)
        self._close(held.view)

    def run(self) -> None:
        """Tell who comes and goes, and renew, until the last port is gone.

        Raises:
            KeyboardInterrupt: somebody ends it.
            Problem: the daemon went away and did not come back.
        """
        while self._held:
            if not self._follow():
                self._events = self._again()

    def close(self) -> list[str]:
        """Close what is still open; the names of what this closed."""
        self._events.close()
        closed = [str(held.view["name"]) for held in self._held.values() if self._close(held.view)]
        self._held.clear()
        return closed

    # -- within --------------------------------------------------------------------------

    def _begins(self, view: View) -> bool:
        """Whether a port may be open in a moment: it starts, or its link is just being connected."""
        if view["status"]["state"] == "starting":
            return True
        problem = view["status"].get("problem") or {}
        if problem.get("code") not in ("link-down", "link-slow"):
            return False
        name = view.get("at") or view.get("via")
        return any(
            link["name"] == name and link["phase"] == "connecting" for link in self._session.client.links()
        )

    def _lease(self) -> int:
        if self._ends is None:
            return _LEASE
        return max(1, min(_LEASE, round(self._ends - time.time())))

    def _subscribe(self) -> Generator[tuple[str, dict[str, Any]], None, None]:
        events = self._session.client.events(counters=True)
        next(events, None)
        return events

    def _follow(self) -> bool:
        """Go by events; False once they ended, True once no port is left."""
        for name, data in self._events:
            match name:
                case "status" if data["id"] in self._held:
                    self._tell_status(data)
                case "committed":
                    for change in data["changes"]:
                        self._note_end(change)
                case "counters":
                    self._look(data["mappings"])
            if not self._held:
                return True
        return False

    def _note_end(self, change: Mapping[str, Any]) -> None:
        gone = (change.get("before") or {}).get("id")
        if not change.get("after") and gone in self._held:
            held = self._held.pop(gone)
            self._say("host.ended", name=held.view["name"])

    def _look(self, views: Sequence[View]) -> None:
        for view in views:
            held = self._held.get(view["id"])
            if held is None:
                continue
            self._renew(held)
            counters = view["counters"]
            figures = (counters["flows_total"], counters["flows_active"])
            if figures != held.figures:
                held.figures = figures
                self._tell_visits(held)

    def _renew(self, held: _Held) -> None:
        if time.time() < held.renew_at or (self._ends is not None and self._ends <= time.time() + 1):
            return
        try:
            self._session.client.extend(held.view["id"], {"for": format_duration(self._lease())})
        except Problem as problem:
            if problem.kind not in _TOLD_OTHERWISE:
                raise
        else:
            held.renew_at = time.time() + _RENEW_AFTER

    def _tell_visits(self, held: _Held) -> None:
        try:
            who = self._session.client.who(held.view["id"])
        except Problem as problem:
            if problem.kind not in _TOLD_OTHERWISE:
                raise
            return
        for visit in held.visits.look(who["sources"], who["flows"]):
            self._tell_visit(held.view, visit)

    def _tell_visit(self, view: View, visit: Visit) -> None:
        session = self._session
        facts = {
            "name": view["name"],
            "source": visit.source,
            "count": visit.count,
            "now": visit.now,
            "bytes_in": visit.bytes_in,
            "bytes_out": visit.bytes_out,
        }
        if session.options.json:
            session.answer({"event": visit.kind, **facts}, str)
        elif not session.options.quiet:
            shown = {"bytes_in": size(visit.bytes_in), "bytes_out": size(visit.bytes_out)}
            key = f"visit.{visit.kind}" if visit.count == 1 else f"visit.{visit.kind}-several"
            if visit.kind == "came" and visit.now > visit.count:  # others of theirs were here before
                key += "-more"
            session.print(clean(session.word(key, **{**facts, **shown, "time": session.clock.time()})))

    def _tell_status(self, data: Mapping[str, Any]) -> None:
        session = self._session
        held = self._held[data["id"]]
        try:
            # As it is by now: what it was while `settle` waited for it has come as events too.
            status = session.client.get(data["id"])["status"]
        except Problem as problem:
            if problem.kind not in _TOLD_OTHERWISE:
                raise
            return
        data = {**data, "status": status}
        if _gist(status) == _gist(held.view["status"]):
            return  # it was told when it was opened
        held.view = {**held.view, "status": status}
        if session.options.json:
            session.answer({"event": "status", **data}, str)
            return
        state = session.word(f"state.{state_of(data)}")
        if status.get("problem"):
            state += f": {status['problem'].get('title', '')}"
        if not session.options.quiet:
            line = session.word("host.state", time=session.clock.time(), name=data["name"], state=state)
            session.print(clean(line))

    def _again(self) -> Generator[tuple[str, dict[str, Any]], None, None]:
        """A new stream after one ended: this end was too slow, or the daemon is starting again.

        Raises:
            Problem: it did not come back.
        """
        deadline = time.monotonic() + _RETURN_WITHIN
        while True:
            try:
                return self._subscribe()
            except Problem as problem:
                if problem.kind is not Kind.UNREACHABLE:
                    raise
            if self._hosted is not None:
                self._hosted.check(END_WITHIN)
            if time.monotonic() > deadline:
                raise Fault("stream-ended", Kind.UNREACHABLE, socket=self._session.socket)
            time.sleep(_EVERY)

    def _close(self, view: View) -> bool:
        """Close a port; whether it was this that closed it."""
        try:
            self._session.client.close(view["id"], now=self._hosted is not None)
        except Problem as problem:
            if problem.kind in (Kind.NOT_FOUND, Kind.UNREACHABLE):
                return False
            raise
        return True

    def _say(self, key: str, **facts: object) -> None:
        if not self._session.options.quiet:
            self._session.talk(self._session.word(key, **facts))


def _gist(status: Mapping[str, Any]) -> tuple[str, str | None]:
    """What of a status is told: the state, and what kind of problem there is."""
    return status["state"], (status.get("problem") or {}).get("code")
