"""Where the state, the socket and the config file are: one answer for the daemon and its clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekimori.model.errors import Problem

__all__ = ["SYSTEM", "Places", "places"]

_SOCKET: Final = "sekimori.sock"
_CONFIG: Final = "sekimori.toml"


@dataclass(frozen=True, slots=True)
class Places:
    """The three places of one daemon, all absolute."""

    state_dir: Path
    socket: Path
    config: Path


SYSTEM: Final = Places(
    Path("/var/lib/sekimori"),
    Path("/run/sekimori") / _SOCKET,
    Path("/etc/sekimori") / _CONFIG,
)
"""Those of the machine's own daemon (Filesystem Hierarchy Standard 3.0)."""


def places(environ: Mapping[str, str], euid: int) -> Places:
    """The places for a user: what the environment says, else root's or the user's own.

    `SEKIMORI_STATE_DIR`, `SEKIMORI_SOCKET` and `SEKIMORI_CONFIG` come first; a state
    directory that is given alone also holds the socket, so that two daemons never
    meet on one. A user's places follow the XDG Base Directory Specification 0.8.

    Raises:
        Problem: `state-unusable`, when nothing says where the user's files are.
    """
    usual = SYSTEM if euid == 0 else None
    given = _given(environ, "SEKIMORI_STATE_DIR")
    state = given or (usual.state_dir if usual else _xdg(environ, "XDG_STATE_HOME", ".local/state"))
    socket = _given(environ, "SEKIMORI_SOCKET")
    if socket is None:
        if given is not None:
            socket = given / _SOCKET
        else:
            socket = usual.socket if usual else _runtime(environ, state) / _SOCKET
    config = _given(environ, "SEKIMORI_CONFIG")
    if config is None:
        config = usual.config if usual else _xdg(environ, "XDG_CONFIG_HOME", ".config") / _CONFIG
    return Places(state, socket, config)


def _given(environ: Mapping[str, str], key: str) -> Path | None:
    text = environ.get(key, "")
    return Path(text).absolute() if text else None


def _xdg(environ: Mapping[str, str], key: str, below_home: str) -> Path:
    text = environ.get(key, "")
    if text.startswith("/"):  # "paths must be absolute … relative ones ignored" (XDG §2)
        return Path(text) / "sekimori"
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise Problem("state-unusable", directory=f"~/{below_home}/sekimori", why="HOME is not set")
    return Path(home) / below_home / "sekimori"


def _runtime(environ: Mapping[str, str], state: Path) -> Path:
    text = environ.get("XDG_RUNTIME_DIR", "")
    return Path(text) / "sekimori" if text.startswith("/") else state
