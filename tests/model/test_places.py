"""Where things are, from the environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekimori.model.errors import Problem
from sekimori.model.places import SYSTEM, places

HOME = {"HOME": "/home/a"}


@pytest.mark.parametrize(
    ("environ", "euid", "state", "socket", "config"),
    [
        ({}, 0, "/var/lib/sekimori", "/run/sekimori/sekimori.sock", "/etc/sekimori/sekimori.toml"),
        (
            {**HOME, "XDG_STATE_HOME": "/x", "XDG_RUNTIME_DIR": "/run/user/0"},
            0,
            "/var/lib/sekimori",
            "/run/sekimori/sekimori.sock",
            "/etc/sekimori/sekimori.toml",
        ),
        (
            HOME,
            1000,
            "/home/a/.local/state/sekimori",
            "/home/a/.local/state/sekimori/sekimori.sock",
            "/home/a/.config/sekimori/sekimori.toml",
        ),
        (
            {
                **HOME,
                "XDG_STATE_HOME": "/x/state",
                "XDG_RUNTIME_DIR": "/run/user/1",
                "XDG_CONFIG_HOME": "/x/c",
            },
            1000,
            "/x/state/sekimori",
            "/run/user/1/sekimori/sekimori.sock",
            "/x/c/sekimori/sekimori.toml",
        ),
        (
            {**HOME, "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "relative", "XDG_CONFIG_HOME": ""},
            1000,
            "/home/a/.local/state/sekimori",
            "/home/a/.local/state/sekimori/sekimori.sock",
            "/home/a/.config/sekimori/sekimori.toml",
        ),
        (
            {**HOME, "XDG_RUNTIME_DIR": "/run/user/1", "SEKIMORI_STATE_DIR": "/s"},
            1000,
            "/s",
            "/s/sekimori.sock",
            "/home/a/.config/sekimori/sekimori.toml",
        ),
        (
            {"SEKIMORI_STATE_DIR": "/s", "SEKIMORI_SOCKET": "/t", "SEKIMORI_CONFIG": "/c"},
            1000,
            "/s",
            "/t",
            "/c",
        ),
        (
            {"SEKIMORI_SOCKET": "/t", "SEKIMORI_CONFIG": "/c"},
            0,
            "/var/lib/sekimori",
            "/t",
            "/c",
        ),
    ],
)
def test_places(environ: dict[str, str], euid: int, state: str, socket: str, config: str) -> None:
    found = places(environ, euid)
    assert (str(found.state_dir), str(found.socket), str(found.config)) == (state, socket, config)


def test_given_places_are_made_absolute() -> None:
    found = places({"SEKIMORI_STATE_DIR": "s", "HOME": "/h"}, 1000)
    assert found.socket == Path.cwd() / "s" / "sekimori.sock"


def test_the_system_s_places_are_root_s() -> None:
    assert places({}, 0) == SYSTEM


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}, {"XDG_STATE_HOME": "/x"}])
def test_a_user_without_a_home_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        places(environ, 1000)
    assert caught.value.code == "state-unusable"
