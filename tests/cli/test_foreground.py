"""open --foreground: beside a daemon that answers, and hosting one of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekimori.doors.api.render import render_change
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem

OPEN = ("open", "8080", "--to", "192.168.1.5", "--foreground")


def event(name: str, /, **facts: Any) -> tuple[str, dict[str, Any]]:
    return name, facts


@pytest.fixture
def answering(fake):
    """A daemon that answers, and tells of one change of state."""
    failed = {"state": "failed", "problem": Problem("no-such-host", host="x", why="y").body()}
    fake.answers["GET /v1/status"] = {"version": "1"}
    fake.answers["POST /v1/mappings"] = fake.opening()
    fake.answers["DELETE /v1/mappings/m-web"] = fake.outcome(Made(Verb.CLOSE, fake.mapping(), None))
    fake.answers["GET /v1/events"] = [
        event("hello"),
        event("status", id="another", name="other", status={"state": "open"}),
        event("status", id="m-web", name="web", status=failed),
    ]
    return fake


def until(stream: Any, text: str) -> list[str]:
    """Lines up to the one that has `text`; the test's own time limit ends a wait in vain."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} is not in {lines}")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_tells_each_change_and_closes_at_the_end(answering, spawn, ending):
    process = spawn(*OPEN, "--why", "a test")
    lines = until(process.stdout, "web is failed")
    assert lines[0].startswith("web: tcp/8080 on all addresses leads to 192.168.1.5:8080")
    assert lines[0].endswith(". Ctrl-C closes it.\n")
    assert len(lines) == 2
    assert lines[1].endswith("web is failed: cannot find the host 'x': y\n")
    process.send_signal(ending)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err == "Closed web.\n"
    assert answering.bodies("POST") == [
        {"ports": "8080", "to": "192.168.1.5", "plan": False, "why": "a test"}
    ]
    # Beside a daemon that goes on, the connections get their grace: no `now`.
    assert answering.asked[-1][:2] == ("DELETE", "/v1/mappings/m-web")


def test_it_listens_before_it_opens(answering, spawn):
    process = spawn(*OPEN)
    until(process.stdout, "web is failed")
    asked = [(method, path) for method, path, _ in answering.asked]
    assert asked.index(("GET", "/v1/events")) < asked.index(("POST", "/v1/mappings"))


def test_it_ends_when_somebody_else_closes_the_port(answering, run):
    closed = render_change(Made(Verb.CLOSE, answering.mapping(), None))
    other = render_change(Made(Verb.CLOSE, answering.mapping("other"), None))
    answering.answers["GET /v1/events"] = [
        event("hello"),
        event("committed", changes=[other]),
        event("committed", changes=[closed]),
    ]
    answering.answers["DELETE /v1/mappings/m-web"] = Problem("no-such-mapping", ref="m-web", near="")
    ran = run(*OPEN)
    assert ran.code == 0
    assert ran.err == "web was closed.\n"


def test_ndjson(answering, spawn):
    process = spawn(*OPEN, "--json")
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert lines[0]["data"]["changes"][0]["verb"] == "open"
    assert lines[1]["data"]["event"] == "status"
    assert lines[1]["data"]["status"]["state"] == "failed"


def test_quiet_says_nothing(answering, spawn):
    process = spawn(*OPEN, "--quiet")
    deadline = time.monotonic() + 20
    while not answering.bodies("POST"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0
    assert answering.asked[-1][0] == "DELETE"


def test_a_refusal_leaves_nothing_behind(answering, run):
    answering.answers["POST /v1/mappings"] = Problem("bad-ports", text="8080", why="no")
    assert run(*OPEN).code == 2
    assert "DELETE" not in [method for method, _, _ in answering.asked]


def test_a_daemon_that_goes_away_is_7(answering, run):
    answering.ends_streams = True
    streams = iter([answering.answers["GET /v1/events"]])
    answering.answers["GET /v1/events"] = lambda _: next(
        streams, Problem("unreachable", socket="s", why="gone")
    )
    ran = run(*OPEN)
    assert ran.code == 7
    assert "stopped answering" in ran.err


def test_an_interrupt_while_it_opens_closes_it_again(answering, spawn):
    interrupted = threading.Event()
    outcome: dict[str, Any] = answering.opening()

    def open_when_interrupted(_: Any) -> dict[str, Any]:
        interrupted.wait(20)
        return outcome

    answering.answers["POST /v1/mappings"] = open_when_interrupted
    process = spawn(*OPEN)
    deadline = time.monotonic() + 20
    while not answering.bodies("POST"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    interrupted.set()
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert answering.asked[-1][:2] == ("DELETE", "/v1/mappings/m-web")


def test_a_stream_that_was_cut_is_taken_up_again(answering, spawn):
    answering.ends_streams = True
    process = spawn(*OPEN)
    for _ in range(3):
        until(process.stdout, "web is failed")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_host_that_cannot_start_says_why(run, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho no luck >&2\nexit 3\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    ran = run(*OPEN, "--socket", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == ("sekimori: cannot host the port: the daemon ended (exit code 3)\n  It said: no luck\n")
    asked = (tmp_path / "asked").read_text().split()
    assert "--attached" in asked
    assert not Path(asked[asked.index("--state-dir") + 1]).exists()


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path: sockets are made below it."""
    with tempfile.TemporaryDirectory(prefix="skm", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def target() -> Iterator[int]:
    """A port on loopback where somebody says hello."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def greet() -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    client.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


def children(home: Path) -> list[str]:
    """The pids of processes whose command line names a directory."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if str(home).encode() in Path("/proc", pid, "cmdline").read_bytes():
                found.append(pid)
        except OSError:  # it ended while we looked
            continue
    return found


@pytest.mark.loopback
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_it_hosts_a_daemon_where_none_runs(
    spawn: Callable[..., subprocess.Popen[str]],
    free_port: Callable[[], int],
    target: int,
    short: Path,
    ending: signal.Signals,
) -> None:
    port = free_port()
    words = ("open", str(port), "--to", f"127.0.0.1:{target}", "--foreground")
    none = {"SEKIMORI_SOCKET": str(short / "none"), "TMPDIR": str(short)}
    process = spawn(*words, **none)
    first = process.stdout.readline()  # type: ignore[union-attr]
    assert f"tcp/{port} on all addresses leads to 127.0.0.1:{target}" in first, process.communicate()
    look = until(process.stderr, "SEKIMORI_SOCKET=")[-1]
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        assert client.recv(5) == b"hello"
    hosted = look.split()[0].partition("=")[2]
    listed, _ = spawn("ls", "--json", SEKIMORI_SOCKET=hosted).communicate(timeout=20)
    assert [view["ports"] for view in json.loads(listed)["data"]["mappings"]] == [f"tcp/{port}:{target}"]
    home = Path(hosted).parent
    assert children(home)
    process.send_signal(ending)
    process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while children(home):
        assert time.monotonic() < deadline, children(home)
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
    if ending is signal.SIGINT:
        assert process.returncode == 0
        assert not home.exists()


@pytest.mark.loopback
def test_a_hosted_daemon_that_is_killed_leaves_nothing_behind(
    spawn: Callable[..., subprocess.Popen[str]],
    free_port: Callable[[], int],
    target: int,
    short: Path,
) -> None:
    port = free_port()
    words = ("open", str(port), "--to", f"127.0.0.1:{target}", "--foreground")
    process = spawn(*words, SEKIMORI_SOCKET=str(short / "none"), TMPDIR=str(short))
    home = Path(until(process.stderr, "SEKIMORI_SOCKET=")[-1].split()[0].partition("=")[2]).parent
    daemons = [
        pid for pid in children(home) if b"sekimori.daemon" in Path("/proc", pid, "cmdline").read_bytes()
    ]
    for pid in daemons:
        os.kill(int(pid), signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the daemon ended (exit code -9)" in err
    assert not home.exists()
    deadline = time.monotonic() + 20
    while children(home):
        assert time.monotonic() < deadline, children(home)
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
