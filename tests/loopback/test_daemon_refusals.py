"""What a daemon refuses, in which words and with which exit code, and that nothing is lost by it."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sekimori.host.ports import first_unprivileged_port
from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonEndedError, DaemonProcess
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

pytestmark = pytest.mark.loopback

CONFIG = "[relay]\nworkers = 1\ngrace = '1s'\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A directory that outlives the daemons on it, short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="skm-", dir="/tmp"))
    yield path / "s"
    shutil.rmtree(path)


def refused(
    *, config: str = CONFIG, state_dir: Path | None = None, arguments: tuple[str, ...] = ()
) -> DaemonEndedError:
    """Start a daemon that must refuse to."""
    made = DaemonProcess(config, state_dir=state_dir, arguments=arguments)
    try:
        with pytest.raises(DaemonEndedError) as told:
            made.start()
    finally:
        made.close()
    assert "Traceback" not in told.value.log
    return told.value


def test_two_daemons_on_one_state_directory(peers: Peers) -> None:
    echo, port = peers.tcp_echo(), free_ports()
    with DaemonProcess(CONFIG) as first:
        first.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
        talker = peers.dial(port)
        told = refused_beside(first)
        assert told.code == 5
        assert f"(pid {first.pid})" in told.log
        assert str(first.state_dir) in told.log
        assert talker.says_back(b"untouched")
        assert first.client.get(str(port))["status"]["state"] == "open"


def refused_beside(first: DaemonProcess) -> DaemonEndedError:
    """Start a second daemon on the state of the first, which keeps its workers."""
    command = [sys.executable, "-m", "sekimori.daemon", "--state-dir", str(first.state_dir)]
    done = subprocess.run(
        [*command, "--config", str(first.config)], capture_output=True, text=True, timeout=30, check=False
    )
    return DaemonEndedError(done.returncode, done.stderr)


def test_two_daemons_on_one_socket(peers: Peers) -> None:
    with DaemonProcess(CONFIG) as first:
        told = refused(arguments=("--socket", str(first.socket)))
        assert told.code == 5
        assert f"pid {first.pid}" in told.log
        assert first.client.status()["pid"] == first.pid


def test_an_unknown_config_key_is_told_with_file_line_and_key() -> None:
    told = refused(config="# comment\n[relay]\nworkers = 1\ngrcae = '1s'\n")
    assert told.code == 2
    assert "config.toml" in told.log
    assert "grcae" in told.log
    assert "line 4" in told.log or ":4" in told.log


def test_a_corrupt_ledger_is_kept_aside(state_dir: Path) -> None:
    with DaemonProcess(CONFIG, state_dir=state_dir) as running:
        running.client.open({"ports": f"{free_ports()}:1", "to": "127.0.0.1"})
    ledger = state_dir / "ledger.db"
    damaged = b"not a database, and long enough to be read as one" * 100
    ledger.write_bytes(damaged)

    told = refused(state_dir=state_dir)
    assert told.code == 1
    kept = [path for path in state_dir.iterdir() if "corrupt" in path.name and path.read_bytes() == damaged]
    assert len(kept) == 1
    assert str(kept[0]) in told.log
    with DaemonProcess(CONFIG, state_dir=state_dir) as running:
        assert running.client.mappings() == []
    assert kept[0].read_bytes() == damaged


def test_a_ledger_of_a_newer_version_is_not_touched(state_dir: Path) -> None:
    with DaemonProcess(CONFIG, state_dir=state_dir) as running:
        running.client.open({"ports": f"{free_ports()}:1", "to": "127.0.0.1", "name": "kept"})
    ledger = state_dir / "ledger.db"
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = ledger.read_bytes()

    told = refused(state_dir=state_dir)
    assert told.code == 1
    assert "newer version" in told.log
    assert "9999" in told.log
    assert ledger.read_bytes() == before


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 1 MiB."""
    path = Path(tempfile.mkdtemp(prefix="skm-", dir="/tmp"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "sekimori-test", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        path.rmdir()
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()


@needs_root
def test_a_full_disk_refuses_changes_and_leaves_flows_alone(small_disk: Path, peers: Peers) -> None:
    echo, port, more = peers.tcp_echo(), free_ports(), free_ports(50)
    with DaemonProcess(CONFIG, state_dir=small_disk / "s") as running:
        running.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}", "name": "kept"})
        talker = peers.dial(port)
        assert talker.says_back(b"before")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):  # until the disk is full
            while file.write(b"x" * 4096):
                pass

        # Room that the ledger has already may do for a few more.
        opened: list[int] = []
        told: Problem | None = None
        for number in range(50):
            try:
                running.client.open({"ports": f"{more + number}", "to": f"127.0.0.1:{echo.port}"})
            except Problem as problem:
                told = problem
                break
            opened.append(number)
        assert told is not None, "the disk was not full"
        assert (told.code, told.exit_code) == ("disk-full", 1)
        assert not peers.accepts(more + len(opened))
        assert talker.says_back(b"meanwhile")
        assert peers.accepts(port)
        assert len(running.client.mappings()) == 1 + len(opened)

        filler.unlink()
        running.client.open({"ports": f"{more + len(opened)}", "to": f"127.0.0.1:{echo.port}"})
        assert peers.accepts(more + len(opened))
        assert talker.says_back(b"after")


@pytest.fixture
def nobody() -> Iterator[DaemonProcess]:
    """A daemon of an ordinary user."""
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    user = pwd.getpwnam("nobody")
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    become += ["--inh-caps=-all", "--bounding-set=-all"]
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    made = DaemonProcess(CONFIG, prefix=become, python=_public_python(become, environ), environ=environ)
    os.chown(made.home, user.pw_uid, user.pw_gid)
    with made as running:
        yield running


def _public_python(become: list[str], environ: dict[str, str]) -> str:
    """An interpreter that an ordinary user can start, and start again from itself."""
    again = (
        "import subprocess, sys, sekimori.daemon.main; subprocess.run([sys.executable, '-c', ''], check=True)"
    )
    for python in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        trial = subprocess.run(
            [*become, python, "-c", again], env=os.environ | environ, capture_output=True, check=False
        )
        if trial.returncode == 0:
            return python
    pytest.skip("no Python here can be run by an ordinary user")


@needs_root
def test_an_ordinary_user_gets_everything_but_privileged_ports(nobody: DaemonProcess, peers: Peers) -> None:
    if first_unprivileged_port() < 1024:
        pytest.skip("this machine has no privileged ports")
    echo, port = peers.tcp_echo(), free_ports()
    nobody.client.open({"ports": f"{port}", "to": f"127.0.0.1:{echo.port}"})
    assert peers.dial(port).says_back(b"no privilege needed")

    with pytest.raises(Problem) as told:
        nobody.client.open({"ports": f"81:{echo.port}", "to": "127.0.0.1"})
    assert (told.value.code, told.value.exit_code) == ("privileged-port", 6)
    assert "port 81" in told.value.title()
    assert "CAP_NET_BIND_SERVICE" in told.value.fix()
    other = int(str(told.value.facts["other"]))
    nobody.client.open({"ports": f"{other}:{echo.port}", "to": "127.0.0.1"})
    assert peers.dial(other).says_back(b"as it said")


def test_a_state_directory_that_cannot_be_used_is_told(state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / "relay").write_text("in the way")
    told = refused(state_dir=state_dir)
    assert told.code == 1
    assert f"cannot use the state directory {state_dir}" in told.log


def test_the_socket_is_gone_after_a_stop_and_back_after_a_crash() -> None:
    with DaemonProcess(CONFIG) as running:
        assert running.stop() == 0
        assert not running.socket.exists()
        running.start()
        running.kill9()
        assert running.socket.exists()
        running.start()
        assert running.client.status()["pid"] == running.pid
        eventually(lambda: running.socket.stat().st_mode & 0o777 == 0o660)
