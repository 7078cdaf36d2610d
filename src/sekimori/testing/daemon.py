"""A real daemon for tests: started, watched, killed and cleaned up by its socket and pids."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, TypeVar

from sekimori.client import Client
from sekimori.model.errors import Kind, Problem
from sekimori.planes.relay.control import Control, WorkerLostError, connect
from sekimori.testing.peers import eventually, is_alive

__all__ = ["DaemonEndedError", "DaemonProcess"]

T = TypeVar("T")

_START_WITHIN: Final = 30.0
"""Seconds; it is 1 s on an idle machine, and test machines are not idle."""
_END_WITHIN: Final = 15.0
_SHOWN: Final = 4000
_TWO_WORKERS: Final = "[relay]\nworkers = 2\n"


class DaemonEndedError(Exception):
    """The daemon ended instead of getting ready.

    Attributes:
        code: its exit code.
        log: all it wrote to standard error.
    """

    def __init__(self, code: int, log: str) -> None:
        self.code = code
        self.log = log
        super().__init__(f"the daemon ended with code {code}:\n{log}")


class DaemonProcess:
    """A daemon in a directory of its own, with the relay workers it makes.

    As a context manager it starts the daemon, and at the end stops it, ends every worker
    (those that outlived a killed daemon too) and removes the directory.

    Args:
        config: text of its config file. The default has two workers and nothing else, and
            keeps the machine's own file out of the test.
        state_dir: where its state is; a new directory, short enough for unix sockets, unless given.
        arguments: further words of the command line.
        environ: further environment variables.
        netns: name of a network namespace to run in (root only).
        prefix: words before the command, such as `setpriv …`; they must exec it.
        python: the interpreter, where it is not this one.
    """

    def __init__(
        self,
        config: str = _TWO_WORKERS,
        *,
        state_dir: Path | None = None,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        netns: str | None = None,
        prefix: Sequence[str] = (),
        python: str = sys.executable,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="skm-", dir="/tmp"))
        # An ordinary user's daemon must reach its places through this directory.
        self.home.chmod(0o755)
        self.state_dir = state_dir or self.home / "s"
        self.socket = self.state_dir / "sekimori.sock"
        self.config = self.home / "config.toml"
        self.config.write_text(config)
        self.client = Client(self.socket, timeout=30)
        self._arguments = tuple(arguments)
        self._environ = dict(environ or {})
        self._prefix = [*(("ip", "netns", "exec", netns) if netns else ()), *prefix]
        self._python = python
        self._log = self.home / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._workers: set[int] = set()

    def __enter__(self) -> DaemonProcess:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if value is not None:
            value.add_note(self.last_words)
        self.close()

    @property
    def log(self) -> str:
        """What the daemon and its workers wrote to standard error so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def last_words(self) -> str:
        """The end of the log, for a failure's report."""
        return f"-- the daemon's log --\n{self.log[-_SHOWN:]}"

    @property
    def pid(self) -> int:
        """The daemon's process id; it has been started."""
        assert self._process is not None, "the daemon was not started"
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The living workers in the order of their places, asked of themselves."""

        async def pid(control: Control) -> int:
            return control.pid

        pids = self.ask_workers(pid)
        self._workers.update(pids)
        return pids

    def ask_workers(self, ask: Callable[[Control], Awaitable[T]]) -> list[T]:
        """Ask every living worker the same, in the order of their places, with the daemon or without it."""
        return asyncio.run(_ask_at(sorted(self._worker_sockets()), ask))

    def start(self, *arguments: str) -> None:
        """Start the daemon and return once it answers; `arguments` are further words for this run.

        Raises:
            DaemonEndedError: it ended first.
        """
        assert self._process is None or self._process.poll() is not None, "it is running"
        with self._log.open("ab") as log:
            self._process = self._spawn([*self._arguments, *arguments], log)
        process = self._process
        try:
            eventually(lambda: process.poll() is not None or self._answers(), _START_WITHIN)
        except (AssertionError, Problem) as error:
            error.add_note(self.last_words)
            raise
        if process.poll() is not None:
            raise DaemonEndedError(process.returncode, self.log)
        self._workers.update(self.worker_pids)

    def kill9(self) -> None:
        """End the daemon as a crash does; its workers go on."""
        self._workers.update(self.worker_pids)
        self._signal(signal.SIGKILL)
        self.wait()

    def stop(self, deadline: float = _END_WITHIN) -> int:
        """Tell the daemon to end (SIGTERM), and return its exit code."""
        self._workers.update(self.worker_pids)
        self._signal(signal.SIGTERM)
        return self.wait(deadline)

    def wait(self, deadline: float = _END_WITHIN) -> int:
        """Wait until the daemon has ended; its exit code.

        Raises:
            subprocess.TimeoutExpired: it has not, by then.
        """
        assert self._process is not None, "the daemon was not started"
        return self._process.wait(deadline)

    def restart(self, *arguments: str) -> None:
        """Stop it where it runs, and start it again on the same state."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self.start(*arguments)

    def reload(self) -> None:
        """Have it read its config file again (SIGHUP); returns before it has."""
        self._signal(signal.SIGHUP)

    def close(self) -> None:
        """End the daemon and every worker, and remove its directory."""
        try:
            self._end_daemon()
        finally:
            self._end_workers()
            shutil.rmtree(self.home, ignore_errors=True)

    # -- within --------------------------------------------------------------------------

    def _spawn(self, arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [self._python, "-m", "sekimori.daemon", "--state-dir", str(self.state_dir)]
        command += ["--config", str(self.config), *arguments]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SEKIMORI_")}
        for key in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LANG"):
            kept.pop(key, None)
        return subprocess.Popen(
            [*self._prefix, *command],
            env={**kept, **self._environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the daemon was not started"
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            answer: dict[str, Any] = self.client.status()
        except Problem as problem:
            if problem.kind is not Kind.UNREACHABLE:
                raise
            return False
        return bool(answer["pid"] == self.pid)

    def _worker_sockets(self) -> Iterable[Path]:
        return (self.state_dir / "relay").glob("worker-*.sock")

    def _end_daemon(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_WITHIN)
            raise

    def _end_workers(self) -> None:
        asyncio.run(_quit_at(list(self._worker_sockets()), self._workers))
        late = [pid for pid in self._workers if is_alive(pid)]
        try:
            eventually(lambda: not any(map(is_alive, late)), _END_WITHIN)
        finally:
            for pid in filter(is_alive, late):
                os.kill(pid, signal.SIGKILL)


async def _ask_at(paths: Iterable[Path], ask: Callable[[Control], Awaitable[T]]) -> list[T]:
    answers = []
    for path in paths:
        with suppress(WorkerLostError):  # its process is gone, and left its socket
            control = await connect(path)
            try:
                answers.append(await ask(control))
            finally:
                control.close()
    return answers


async def _quit_at(paths: Iterable[Path], seen: set[int]) -> None:
    for path in paths:
        with suppress(WorkerLostError):  # gone, before or because we told it to go
            control = await connect(path)
            seen.add(control.pid)
            try:
                await control.quit()
            finally:
                control.close()
