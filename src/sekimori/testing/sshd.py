"""A private OpenSSH server on loopback, with keys of its own, that can be frozen, killed and started anew."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sekimori.testing.peers import eventually

__all__ = ["Sshd", "make_key", "why_no_sshd"]

_PROGRAM: Final = "/usr/sbin/sshd"

_SETTINGS: Final = {
    "PidFile": "none",
    "StrictModes": "no",  # the keys are in a directory of a test
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "UsePAM": "no",
    "PermitRootLogin": "yes",
    "GatewayPorts": "clientspecified",
    "LogLevel": "VERBOSE",
    "MaxStartups": "100",
}


def why_no_sshd() -> str | None:
    """Why there can be none here; None where there can."""
    if not Path(_PROGRAM).exists():
        return "no OpenSSH server is installed"
    if os.geteuid() != 0:
        return "sshd lets in as another user only as root"
    return None


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen(1); the private one's path."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)], check=True
    )
    return path


class Sshd:
    """One server.

    Attributes:
        port: on 127.0.0.1.
        key: a private key that it lets in.
        host_key: its own, the private file.
        log: what it said.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None, port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = port or _free_port()
        self.key = directory / "user"
        self.host_key = directory / "host"
        self.log = directory / "log"
        self.authorized = directory / "authorized_keys"
        self.settings = {**_SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        for path in (self.key, self.host_key):
            if not path.exists():
                make_key(path)
        if not self.authorized.exists():
            shutil.copy(f"{self.key}.pub", self.authorized)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """As a link names it."""
        return f"ssh://root@127.0.0.1:{self.port}"

    @property
    def host_key_line(self) -> str:
        """As `Link.host_keys` has it."""
        algorithm, key = Path(f"{self.host_key}.pub").read_text().split()[:2]
        return f"{self.url} {algorithm} {key}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        Path("/run/sshd").mkdir(exist_ok=True)  # for its privilege separation
        config = self.directory / "sshd_config"
        lines = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.host_key),
            "AuthorizedKeysFile": str(self.authorized),
            **self.settings,
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        # A session of its own: its children, one for each connection, are found by its group.
        self._process = subprocess.Popen(
            [_PROGRAM, "-D", "-f", str(config), "-E", str(self.log)], start_new_session=True
        )
        eventually(self._answers)

    def new_host_key(self) -> None:
        """Have another host key from the next start on."""
        for path in (self.host_key, Path(f"{self.host_key}.pub")):
            path.unlink()
        make_key(self.host_key)

    def sessions(self) -> list[int]:
        """Process ids of its connections (the privileged ones and those without privilege)."""
        assert self._process is not None
        return _below(self._process.pid)

    def freeze(self) -> None:
        """Stop it and all its connections as they are (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def cut(self) -> None:
        """Kill every connection; the server goes on."""
        for pid in self.sessions():
            _kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it and all its connections."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (*self.sessions(), self._process.pid):
            _kill(pid, number)

    def _answers(self) -> bool | None:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return None


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _below(pid: int) -> list[int]:
    """All processes that descend from one (proc(5))."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_below(child)]
    return found


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has ended by itself
        return
