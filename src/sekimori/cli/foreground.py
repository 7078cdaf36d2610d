"""`open --foreground`: a port that is open for as long as this command runs.

Where a daemon answers, it opens there. Otherwise it hosts one of its own in a
directory that goes with it: a child whose stdin is a pipe from here, so that the
child sees the end of this process however it comes (`--attached`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Final, NoReturn

from sekimori.cli.misuse import Fault
from sekimori.cli.session import Session
from sekimori.cli.text import clean
from sekimori.cli.writing import tell, tell_opened
from sekimori.model.errors import Kind, Problem

__all__ = ["host"]

_Events = Generator[tuple[str, dict[str, Any]], None, None]

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_WITHIN: Final = 15.0
"""Seconds a hosted daemon has until it answers."""
_END_WITHIN: Final = 10.0
"""Seconds it has to end after its port was closed, before it is told by signal."""
_LONGEST: Final = 60
"""Bytes of a directory for temporary files that leave room for `sekimori-12345678/relay/worker-00.sock`."""
_SAID: Final = 2000
"""Characters of its last words that are shown when it dies."""


def host(session: Session, fields: Mapping[str, object], why: str) -> int:
    """Open a port, tell how it fares, and close it on Ctrl-C, SIGTERM or SIGHUP.

    Returns:
        0 once the port is closed, whoever closed it.

    Raises:
        Problem: the port could not be opened, or the daemon went away.
    """
    with _ending_as_interrupt():
        if _answers(session):
            return _stay(session, fields, why, None)
        with _Hosted(session) as hosted:
            return _stay(hosted.session, fields, why, hosted)


def _answers(session: Session) -> bool:
    try:
        session.client.status()
    except Problem as problem:
        if problem.kind is not Kind.UNREACHABLE:
            raise
        return False
    return True


def _stay(session: Session, fields: Mapping[str, object], why: str, hosted: _Hosted | None) -> int:
    # Subscribed before the port is opened, so that no change of its state is missed.
    events = session.client.events()
    next(events, None)
    view = None
    closed = False
    try:
        with _deferred():
            outcome = session.client.open(fields, why=why)
            view = outcome["mappings"][0]
        tell(session, outcome, lambda: tell_opened(session, outcome, "open.ctrl-c"))
        _introduce(session, hosted)
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


def _introduce(session: Session, hosted: _Hosted | None) -> None:
    if hosted is not None:
        _say(session, "host.look")
    if hosted is not None and not session.options.quiet:
        session.talk(f"  SEKIMORI_SOCKET={shlex.quote(session.socket)} sekimori ls")


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
    state = session.word(f"state.{status['state']}")
    if status.get("problem"):
        state += f": {status['problem'].get('title', '')}"
    if not session.options.quiet:
        line = session.word("host.state", time=session.clock.time(), name=data["name"], state=state)
        session.print(clean(line))


def _again(session: Session, hosted: _Hosted | None) -> _Events:
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
                hosted.check(_END_WITHIN)
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


class _Hosted:
    """A daemon of this command's own, with everything it keeps in a directory that is removed after it."""

    def __init__(self, session: Session) -> None:
        self._home = _make_home()
        self._log = self._home / "log"
        socket = self._home / "s"
        self.session = Session(replace(session.options, socket=str(socket)))
        # An empty config file: what the machine's own file says belongs to the machine's own daemon.
        config = self._home / "sekimori.toml"
        config.touch()
        command = [sys.executable, "-P", "-m", "sekimori.daemon", "--attached"]
        command += ["--state-dir", str(self._home), "--socket", str(socket), "--config", str(config)]
        self._command = command
        with self._log.open("wb") as log:
            # Its own session: Ctrl-C on the terminal is for this process, which ends the child in order.
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> _Hosted:
        try:
            self._await_answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end()
        finally:
            shutil.rmtree(self._home, ignore_errors=True)

    def check(self, within: float = 0.0) -> None:
        """Raise `host-died` when the child has ended, or does so within some seconds."""
        with suppress(subprocess.TimeoutExpired):  # it lives: that is the answer
            status = self._child.wait(within)
            raise Fault("host-died", status=status, said=self._said())

    def _await_answer(self) -> None:
        deadline = monotonic() + _START_WITHIN
        while not _answers(self.session):
            self.check()
            if monotonic() > deadline:
                raise Fault("host-silent", Kind.TIMEOUT, seconds=f"{_START_WITHIN:g}", said=self._said())
            try:
                self._child.wait(0.02)
            except subprocess.TimeoutExpired:
                continue

    def _end(self) -> None:
        """Ask by the end of its stdin, then by SIGTERM, then do not ask."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._await_end()
        if self._child.returncode != 0:
            self._collect()

    def _collect(self) -> None:
        """End the relay workers of a daemon that did not: they are made to outlive it and to be adopted
        by the next. So the next is started, with its stdin at its end already.
        """
        with self._log.open("ab") as log, suppress(subprocess.TimeoutExpired):  # run() has killed it then
            subprocess.run(
                self._command,
                input=b"",
                stdout=log,
                stderr=log,
                start_new_session=True,
                timeout=_START_WITHIN + _END_WITHIN,
                check=False,
            )

    def _await_end(self) -> None:
        for insist in (self._child.terminate, self._child.kill):
            try:
                self._child.wait(_END_WITHIN)
            except subprocess.TimeoutExpired:
                insist()
            else:
                return
        self._child.wait()

    def _said(self) -> str:
        return self._log.read_text(errors="replace").strip()[-_SAID:] or "-"


def _make_home() -> Path:
    """A directory only we can enter, its path short enough for sockets (unix(7): 107 bytes)."""
    usual = tempfile.gettempdir()
    short = "/tmp" if len(os.fsencode(usual)) > _LONGEST else usual  # noqa: S108 - mkdtemp makes it ours
    return Path(tempfile.mkdtemp(prefix="sekimori-", dir=short))


@contextmanager
def _ending_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end this command as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deferred() -> Iterator[None]:
    """Hold the ending signals back: an open that was asked for must be known here, to be closed again."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
