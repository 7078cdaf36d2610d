"""A daemon of this command's own, where none answers: for ports that are open for as long as it runs.

It is a child whose stdin is a pipe from here, so that it sees the end of this process however that comes
(`--attached`), with all it keeps in a directory that goes with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Final, NoReturn

from sekimori.cli.misuse import Fault
from sekimori.cli.session import Session
from sekimori.model.errors import Kind, Problem

__all__ = ["END_WITHIN", "Hosted", "answers", "deferred", "ending_as_interrupt", "introduce", "unheed_ends"]

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_WITHIN: Final = 15.0
"""Seconds a hosted daemon has until it answers."""
END_WITHIN: Final = 10.0
"""Seconds it has to end after its port was closed, before it is told by signal."""
_LONGEST: Final = 60
"""Bytes of a directory for temporary files that leave room for `sekimori-12345678/relay/worker-00.sock`."""
_SAID: Final = 2000
"""Characters of its last words that are shown when it dies."""


def answers(session: Session) -> bool:
    """Whether a daemon answers.

    Raises:
        Problem: it may not be asked.
    """
    try:
        session.client.status()
    except Problem as problem:
        if problem.kind is not Kind.UNREACHABLE:
            raise
        return False
    return True


def introduce(session: Session, hosted: Hosted | None) -> None:
    """Tell how to look at a hosted daemon from elsewhere."""
    if hosted is None or session.options.quiet:
        return
    session.talk(session.word("host.look"))
    session.talk(f"  SEKIMORI_SOCKET={shlex.quote(session.socket)} sekimori ls")


class Hosted:
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

    def __enter__(self) -> Hosted:
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
        while not answers(self.session):
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
                timeout=_START_WITHIN + END_WITHIN,
                check=False,
            )

    def _await_end(self) -> None:
        for insist in (self._child.terminate, self._child.kill):
            try:
                self._child.wait(END_WITHIN)
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
def ending_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end this command as Ctrl-C does.

    The first of them counts. Another, which a group of processes or an impatient person may send at once,
    must not keep what is open from being closed.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        unheed_ends()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def unheed_ends() -> None:
    """From now on this command ends anyhow, and its last steps are not broken off."""
    for number in _ENDS:  # not SIG_IGN, which children would inherit
        signal.signal(number, lambda _number, _frame: None)


@contextmanager
def deferred() -> Iterator[None]:
    """Hold the ending signals back: an open that was asked for must be known here, to be closed again."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
