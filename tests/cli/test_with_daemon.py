"""The verbs against a real daemon that `sekimori up` became."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.loopback


@pytest.fixture
def echo() -> Iterator[int]:
    """A port on loopback that gives every connection its first bytes back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    client.sendall(client.recv(100))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.fixture
def daemon(
    spawn: Callable[..., subprocess.Popen[str]],
    run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[subprocess.Popen[str]]:
    """A daemon of its own, answering; it must end with 0 when it is told to."""
    # Below /tmp itself: a socket's path has 107 bytes at most.
    kept = tempfile.TemporaryDirectory(prefix="skm", dir="/tmp")
    state = Path(kept.name)
    config = state / "sekimori.toml"
    config.touch()
    socket_path = state / "s"
    monkeypatch.setenv("SEKIMORI_SOCKET", str(socket_path))
    process = spawn("up", "--state-dir", str(state), "--config", str(config), "--socket", str(socket_path))
    deadline = time.monotonic() + 20
    while run("status").code != 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    kept.cleanup()
    assert process.returncode == 0


def bounce(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        return client.recv(100)


def test_a_port_from_its_opening_to_its_undoing(daemon, run, echo, free_port, tmp_path):
    port = free_port()
    assert run("ls").out.startswith("Nothing is open.")
    opened = run(
        "open", str(port), "--to", f"127.0.0.1:{echo}", "--name", "web", "--for", "2h", "--why", "try"
    )
    assert opened.code == 0, opened.err
    assert opened.out.startswith(
        f"web: tcp/{port} on all addresses leads to 127.0.0.1:{echo}, for LAN, until "
    )
    assert bounce(port) == b"hello"
    assert re.search(rf"^web +tcp/{port} → 127.0.0.1:{echo} .* ● open ", run("ls").out, re.MULTILINE)
    assert re.search(r"^state +open since today", run("show", str(port)).out, re.MULTILINE)
    assert re.search(r"^127\.0\.0\.1 ", run("who", "web").out, re.MULTILINE)
    assert (
        "+ open web-2"
        in run("open", str(free_port()), "--to", "127.0.0.1:9", "--name", "web-2", "--plan").out
    )
    edited = run("edit", "web", "--limit", "20/min", "--hours", "none")
    assert edited.out == "Changed web: limit not set → 20/min.\n"
    assert run("extend", "web", "1h").out.startswith("Extended web: until ")
    assert run("pause", "web").code == 0
    with pytest.raises(ConnectionRefusedError):
        bounce(port)
    assert "= paused" in run("ls").out
    assert run("resume", "web").code == 0
    assert bounce(port) == b"hello"
    assert run("close", "web").out.startswith("Closed web. To take that back: sekimori undo ")
    assert run("undo").out.startswith("Opened web: ")
    assert bounce(port) == b"hello"
    history = run("history", "web", "--json").envelope["data"]["revisions"]
    verbs = [row["verb"] for revision in reversed(history) for row in revision["rows"]]
    assert verbs == ["open", "change", "extend", "pause", "resume", "close", "open"]
    assert history[-1]["why"] == "try"
    exported = tmp_path / "exported.toml"
    exported.write_text(run("export").out)
    assert "[mappings.web]" in exported.read_text()


def test_a_config_file_from_diff_to_apply(daemon, run, free_port, tmp_path):
    port = free_port()
    file = tmp_path / "ports.toml"
    file.write_text(f'[mappings.cam]\nports = "{port}:9"\nto = "127.0.0.1"\nfrom = "lan"\nfor = "2h"\n')
    differs = run("diff", str(file))
    assert differs.code == 3
    assert "+ open cam" in differs.out
    assert run("apply", str(file)).out.startswith("Opened cam: ")
    assert run("diff", str(file)).code == 0
    assert "file ports.toml" in run("ls").out
    refused = run("edit", "cam", "--from", "anyone")
    assert refused.code == 6
    assert str(file) in refused.err
    file.write_text("[mappings.cam]\nbogus = 1\n")
    wrong = run("apply", str(file))
    assert wrong.code == 2
    assert f"{file}, line 2" in wrong.err


WRONG = {
    "open abc/def --to 127.0.0.1": 2,
    "open 8000-8010:9000 --to 127.0.0.1": 2,
    "open no-such-preset --to 127.0.0.1": 4,
    "open 8080 --to no-such-host.invalid": 4,
    "open 8080 --to 127.0.0.1:1 --for soon": 2,
    "open 8080 --to 127.0.0.1:1 --for 1h --until 18:00": 2,
    "open 8080 --to 127.0.0.1:1 --on 192.0.2.1": 4,
    "open 20022:22 --to 127.0.0.1 --from anyone": 8,
    "show no-such-mapping": 4,
    "undo 999": 4,
}


def test_what_cannot_be_done_has_its_code_and_changes_nothing(daemon, run):
    for words, code in WRONG.items():
        ran = run(*words.split())
        assert (words, ran.code, ran.out) == (words, code, ""), ran.err
        assert ran.err.startswith("sekimori: cannot ")
    assert run("ls", "--json").envelope["data"] == {"mappings": []}


def test_a_port_somebody_listens_on_is_5_and_names_them(daemon, run, echo):
    ran = run("open", str(echo), "--to", "127.0.0.1:9")
    assert ran.code == 5
    assert "listens on port" in ran.err


def test_watch_sees_a_flow(daemon, run, spawn, free_port, echo):
    port = free_port()
    assert run("open", str(port), "--to", f"127.0.0.1:{echo}", "--name", "web").code == 0
    process = spawn("watch", "--json", SEKIMORI_SOCKET=run("status", "--json").envelope["data"]["socket"])
    with socket.create_connection(("127.0.0.1", port), 10):
        for line in process.stdout:
            if json.loads(line)["data"]["mappings"][0]["counters"]["flows_active"] == 1:
                break
    for line in process.stdout:
        if json.loads(line)["data"]["mappings"][0]["counters"]["flows_active"] == 0:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_rules_for_devices_from_an_import_to_its_undoing(daemon, run, tmp_path):
    assert "\n 1  allow all\n" in run("door", "rules").out
    denied = run("door", "deny", "on:guest0", "--why", "guests")
    assert denied.out == "Changed the permission rules:\n  + deny on:guest0\n  + allow all\n"
    assert denied.err.startswith("note: The usual rule, 'allow all', ")
    file = tmp_path / "miniupnpd.conf"
    file.write_text("allow 1024-65535 192.168.1.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n")
    planned = run("import", str(file), "--plan")
    assert planned.code == 0, planned.err
    assert "  - deny on:guest0\n" in planned.out
    assert run("import", str(file)).out.endswith("  + allow 192.168.1.0/24\n  + deny 0.0.0.0/0\n")
    exported = run("export").out
    assert '[doors]  # owner "person:' in exported
    assert "\n 1  deny on:guest0\n 2  allow all\n" in (run("undo").code == 0 and run("door", "rules").out)
    again = tmp_path / "sekimori.toml"
    again.write_text(exported)
    assert run("apply", str(again)).code == 0
    assert "\n 2  deny 0.0.0.0/0\n" in run("door", "rules").out
    refused = run("door", "forget", "1")
    assert (refused.code, refused.out) == (6, "")
