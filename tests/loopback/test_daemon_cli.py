"""The command line against a real daemon: what a user types, sees, and the exit code of each kind of no."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback


def run(daemon: DaemonProcess, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("SEKIMORI_", "LANG", "LC_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "sekimori", *words],
        env={**kept, "SEKIMORI_SOCKET": str(daemon.socket)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def listed(daemon: DaemonProcess, name: str) -> dict[str, Any] | None:
    views = {each["name"]: each for each in daemon.client.mappings()}
    return views.get(name)


def test_open_use_look_close(daemon: DaemonProcess, peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    done = run(daemon, "open", str(port), "--to", f"127.0.0.1:{echo.port}", "--name", "typed", "--for", "2h")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    talker = peers.dial(port)
    assert talker.says_back(b"x" * 100)

    view = listed(daemon, "typed")
    assert view is not None
    assert (view["asked"], view["status"]["state"]) == ({"how": "for", "value": "2h"}, "open")
    shown = run(daemon, "ls")
    assert "typed" in shown.stdout
    who = run(daemon, "who", "typed")
    assert "127.0.0.1" in who.stdout
    envelope = json.loads(run(daemon, "ls", "--json").stdout)
    assert "typed" in json.dumps(envelope)

    assert run(daemon, "close", "typed", "--now").returncode == 0
    talker.ended()
    assert listed(daemon, "typed") is None
    assert run(daemon, "undo").returncode == 0
    eventually(lambda: peers.accepts(port))
    assert run(daemon, "close", "typed", "--now").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["open", "99999", "--to", "127.0.0.1"], 2, "99999"),
        (["open", "20-25:30-32", "--to", "127.0.0.1"], 2, "20-25"),
        (["open", "nosuchgame", "--to", "127.0.0.1"], 4, "nosuchgame"),
        (["open", "8080", "--to", "no-such-host.invalid"], 4, "no-such-host.invalid"),
        (["open", "8080", "--to", "127.0.0.1:1", "--for", "soon"], 2, "soon"),
        (["close", "nothing"], 4, "nothing"),
        (["open", "ssh", "--to", "192.0.2.1", "--from", "anyone"], 8, "--accept-risk"),
    ],
)
def test_a_no_has_its_exit_code_and_says_why(
    daemon: DaemonProcess, words: list[str], code: int, said: str
) -> None:
    revision = daemon.client.status()["revision"]
    done = run(daemon, *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert daemon.client.status()["revision"] == revision


def test_a_busy_port_names_the_process(daemon: DaemonProcess, peers: Peers) -> None:
    busy = peers.tcp_echo("127.0.0.1", free_ports())
    done = run(daemon, "open", str(busy.port), "--to", "127.0.0.1:1")
    assert done.returncode == 5, done.stderr
    assert f"pid {os.getpid()}" in done.stderr
    assert "python" in done.stderr


def test_without_a_daemon_it_says_so() -> None:
    made = DaemonProcess()
    try:
        done = run(made, "ls")
        assert done.returncode == 7
        assert str(made.socket) in done.stderr
    finally:
        made.close()
