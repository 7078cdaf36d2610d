"""watch: lines in a pipe, NDJSON, a live table on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest


@pytest.fixture
def ticking(fake):
    """Two ticks; between them the first mapping carries a mebibyte out."""
    first = fake.view(fake.mapping(), flows_active=2, bytes_out=0)
    second = fake.view(fake.mapping(), flows_active=3, bytes_out=1 << 20)
    events = [
        ("hello", {}),
        ("counters", {"mappings": [first]}),
        ("status", {}),
        ("counters", {"mappings": [second]}),
    ]
    fake.answers["GET /v1/events"] = events
    return events


def test_a_line_for_each_tick_and_0_at_ctrl_c(ticking, fake, spawn):
    process = spawn("watch")
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert re.fullmatch(r"\d\d:\d\d:\d\d open 1 of 1, live 2, in 0 B/s, out 0 B/s\n", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d open 1 of 1, live 3, in 0 B/s, out [\d.]+ [KMGT]iB/s\n", lines[1])
    assert fake.asked[0][1] == "/v1/events?counters=true"


def test_ndjson(ticking, spawn):
    process = spawn("watch", "--json")
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=20)
    assert (process.returncode, rest, err) == (0, "", "")
    assert [line["schema"] for line in lines] == ["sekimori/1", "sekimori/1"]
    assert [line["data"]["mappings"][0]["counters"]["flows_active"] for line in lines] == [2, 3]


def test_a_daemon_that_goes_away_is_7(ticking, fake, run):
    fake.ends_streams = True
    ran = run("watch")
    assert ran.code == 7
    assert len(ran.out.splitlines()) == 2
    assert ran.err.startswith("sekimori: cannot go on watching: the daemon at ")
    told = run("watch", "--json")
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert [line["ok"] for line in lines] == [True, True, False]
    assert lines[-1]["problems"][0]["kind"] == "unreachable"


def test_a_live_table_on_a_terminal(ticking, fake):
    leader, follower = pty.openpty()
    environ = {
        "SEKIMORI_SOCKET": str(fake.socket),
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sekimori", "watch"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environ,
        start_new_session=True,
    )
    os.close(follower)
    try:
        seen = read_until(leader, lambda text: re.search(r"live 3 .*Ctrl-C ends", text))
        assert "tcp/8080 → 192.168.1.5:8080" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", seen)
        process.send_signal(signal.SIGINT)
        read_until(leader, lambda _: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def read_until(descriptor: int, done: Callable[[str], object]) -> str:
    """What a terminal showed by the time `done` was true of it."""
    text, deadline = "", time.monotonic() + 20
    while not done(text):
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 0.05)[0]:
            try:
                text += os.read(descriptor, 65536).decode("utf-8", "replace")
            except OSError:  # EIO: the other end of the terminal is closed
                time.sleep(0.01)
    return text
