"""What one run of the daemon goes by: the command line, then the environment, then the config file."""

from __future__ import annotations

import argparse
import os
import pwd
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes
from typing import Final

from sekimori.config.load import load_config
from sekimori.config.schema import Config
from sekimori.host.zone import local_zone
from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.places import places
from sekimori.model.words import Reading
from sekimori.presets.load import Presets

__all__ = ["Settings", "new_salt", "read_settings"]

_MOST_WORKERS: Final = 8
_UNIX_PATH: Final = 107
"""Bytes that a unix socket's path may have (unix(7))."""


def new_salt() -> bytes:
    """What a password is kept with: 128 bits of chance, as NIST SP 800-132 §5.1 asks for."""
    return token_bytes(16)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are, and what the config file says.

    Attributes:
        worker_user: UID and GID that relay workers become; None when we are not root.
        attached: end when standard input does.
        leave_flows: on a stop, leave the relay workers serving for the next daemon.
        config_file_exists: whether `config.path` was there to be read.
    """

    state_dir: Path
    socket: Path
    zone: str
    config: Config
    config_file_exists: bool
    workers: int
    worker_user: tuple[int, int] | None
    attached: bool
    leave_flows: bool

    @property
    def relay_dir(self) -> Path:
        """Where the workers' sockets are."""
        return self.state_dir / "relay"


def read_settings(arguments: Sequence[str], environ: Mapping[str, str], presets: Presets) -> Settings:
    """Read everything that decides how this daemon runs.

    Raises:
        Problem: an unreadable config file, or a place that cannot be used.
        SystemExit: unusable arguments (argparse).
    """
    options = _parser().parse_args(arguments)
    where = places(environ, os.geteuid())
    zone = local_zone()
    reading = Reading(time.time(), zone, presets.get, presets.suggest, new_salt)
    config, exists = _read_config(options.config, environ, where.config, reading)
    state_dir, socket = _choose_places(options, environ, config)
    relay = state_dir / "relay" / "worker-00.sock"
    for path in (socket, relay):
        if len(os.fsencode(path)) > _UNIX_PATH:
            why = f"the socket's path {path} is longer than {_UNIX_PATH} bytes"
            raise Problem("state-unusable", directory=str(state_dir), why=why)
    return Settings(
        state_dir=state_dir,
        socket=socket,
        zone=config.daemon.zone or zone,
        config=config,
        config_file_exists=exists,
        workers=config.relay.workers or min(os.cpu_count() or 1, _MOST_WORKERS),
        worker_user=_worker_user(config.relay.user),
        attached=options.attached,
        leave_flows=options.leave_flows,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sekimori up", description="Run the daemon in the foreground.")
    parser.add_argument("--config", type=Path, help="config file (TOML)")
    parser.add_argument("--state-dir", type=Path, help="where the ledger is kept")
    parser.add_argument("--socket", type=Path, help="unix socket of the API")
    parser.add_argument("--attached", action="store_true", help="end when standard input ends")
    parser.add_argument(
        "--leave-flows", action="store_true", help="on a stop, leave ports open for the next daemon"
    )
    return parser


def _read_config(
    named: Path | None, environ: Mapping[str, str], usual: Path, reading: Reading
) -> tuple[Config, bool]:
    """The config file that was named, or the usual one where there is one."""
    path = named.absolute() if named else usual
    if named or environ.get("SEKIMORI_CONFIG") or path.exists():
        return load_config(path, reading), True
    return Config(path=path), False


def _choose_places(
    options: argparse.Namespace, environ: Mapping[str, str], config: Config
) -> tuple[Path, Path]:
    chosen = dict(environ)
    for key, option, configured in (
        ("SEKIMORI_STATE_DIR", options.state_dir, config.daemon.state_dir),
        ("SEKIMORI_SOCKET", options.socket, config.daemon.socket),
    ):
        if option or (configured and not chosen.get(key)):
            chosen[key] = str(option or configured)
    where = places(chosen, os.geteuid())
    return where.state_dir, where.socket


def _worker_user(name: str | None) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name or "nobody")
    except KeyError:
        why = cause("no-such-user")
        raise Problem("bad-value", key="relay.user", text=name or "nobody", why=why) from None
    return entry.pw_uid, entry.pw_gid
