"""A daemon that only answers: HTTP on a unix socket, with scripted answers and a record of what was asked.

Its mappings are drawn by the real API's `render`, so their shape is the shape a daemon gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from sekimori.cli.main import main
from sekimori.doors.api.render import find_edges, render_change, render_now, render_terms
from sekimori.model.actual import Counters, HopStatus, State, Status
from sekimori.model.address import parse_ports
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner
from sekimori.model.source import Sources
from sekimori.model.target import Target, pair_ports
from sekimori.presets.load import load_presets

NOW = int(time.time())
PRESETS = load_presets()


def a_mapping(name: str = "web", ports: str = "8080", to: str = "192.168.1.5", **changes: Any) -> Mapping:
    """A mapping as the ledger would hold it."""
    host, _, port = to.partition(":")
    inside = parse_ports(port)[0].outside if port else None
    given: dict[str, Any] = {
        "id": f"m-{name}",
        "name": name,
        "owner": Owner.parse("person:alice"),
        "ports": pair_ports(parse_ports(ports), inside, to),
        "target": Target.parse_host(host),
        "sources": Sources(anyone=True),
        "lifetime": Lifetime.lasting(86400, NOW),
        "path": (Hop("relay"),),
        "created_at": NOW - 60,
        "revision": 7,
    }
    return Mapping(**{**given, **changes})


def a_view(
    mapping: Mapping,
    state: State = State.OPEN,
    problem: Problem | None = None,
    hops: tuple[HopStatus, ...] = (),
    **counters: Any,
) -> dict[str, Any]:
    """A mapping as the API shows it."""
    status = Status(state, NOW - 60, NOW, problem, ("192.168.1.5:8080",), hops)
    terms = render_terms(mapping, PRESETS)
    edges = find_edges(mapping, NOW)
    return {**terms, **render_now(mapping, NOW, edges, status, Counters(**counters), "en")}


def an_outcome(*made: Made, planned: bool = False, notices: list[Any] | None = None) -> dict[str, Any]:
    """An outcome as the API shows it."""
    views = [a_view(one.after) for one in made if isinstance(one.after, Mapping)]
    return {
        "planned": planned,
        "revision": None if planned else 7,
        "changes": [render_change(one) for one in made],
        "mappings": views,
        "notices": notices or [],
        "confirm": None,
    }


@dataclass
class Fake:
    """The scripted daemon.

    `answers` is by "METHOD /path" without the query; a Problem answers as the API tells one.
    A list of events answers as a stream that stays open until the reader goes.
    """

    socket: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    callers: list[str | None] = field(default_factory=list)
    ends_streams: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def view(self, mapping: Mapping, state: State = State.OPEN, **facts: Any) -> dict[str, Any]:
        """A mapping as the API shows it; `facts` are its problem and its counters."""
        return a_view(mapping, state, **facts)

    def mapping(
        self, name: str = "web", ports: str = "8080", to: str = "192.168.1.5", **changes: Any
    ) -> Mapping:
        """A mapping as the ledger would hold it."""
        return a_mapping(name, ports, to, **changes)

    def outcome(self, *made: Made, **facts: Any) -> dict[str, Any]:
        """An outcome as the API shows it."""
        return an_outcome(*made, **facts)

    def opening(self, mapping: Mapping | None = None, **facts: Any) -> dict[str, Any]:
        """The outcome of opening a mapping."""
        return an_outcome(Made(Verb.OPEN, None, mapping or a_mapping()), **facts)

    def changing(self, verb: Verb, before: Mapping, after: Mapping | None, **facts: Any) -> dict[str, Any]:
        """The outcome of changing a mapping."""
        return an_outcome(Made(verb, before, after), **facts)

    def bodies(self, method: str) -> list[Any]:
        """What was sent with a method."""
        return [body for verb, _, body in self.asked if verb == method]


class _Handler(BaseHTTPRequestHandler):
    fake: Fake

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.fake.asked.append((self.command, self.path, body))
        language = self.headers.get("Accept-Language", "en")
        self.fake.languages.append(language)
        self.fake.callers.append(self.headers.get("Sekimori-Caller"))
        answer = self.fake.answers.get(f"{self.command} {self.path.partition('?')[0]}")
        if callable(answer):
            answer = answer(body)
        if answer is None:
            answer = Problem("bad-request", why=f"the fake has no {self.command} {self.path}")
        if isinstance(answer, Problem):
            problem = answer.body(language)
            self._send(int(str(problem["status"])), "application/problem+json", json.dumps(problem))
        elif isinstance(answer, list):
            self._stream(answer)
        elif isinstance(answer, str):
            self._send(200, "text/plain", answer)
        else:
            self._send(200, "application/json", json.dumps(answer))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _send(self, status: int, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: list[Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for name, data in events:
            self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()
        if not self.fake.ends_streams:
            self.fake.over.wait(20)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A reader that went away is what several tests are about."""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """A scripted daemon on a socket of its own."""
    found = Fake(tmp_path / "s")
    server = _Server(str(found.socket), type("Handler", (_Handler,), {"fake": found}))
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True)
class Ran:
    """What one run of the CLI came to."""

    code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one envelope on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def run(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    """Run the CLI in this process against the fake; English, UTC, a pipe for stdout."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "COLUMNS", "NO_COLOR", "SEKIMORI_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEKIMORI_SOCKET", str(fake.socket))
    monkeypatch.setenv("SEKIMORI_LANG", "en")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def call(*words: str, **environ: str) -> Ran:
        with monkeypatch.context() as context:
            for name, value in environ.items():
                context.setenv(name, value)
            code = main(list(words))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    yield call
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.fixture
def spawn(fake: Fake) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the CLI as a process of its own against the fake."""
    started: list[subprocess.Popen[str]] = []

    def call(*words: str, **environ: str) -> subprocess.Popen[str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        env = {**kept, "TZ": "UTC", "SEKIMORI_SOCKET": str(fake.socket), **environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "sekimori", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ports nobody listens on, below those the kernel hands out, so that no passing connection takes one."""

    def find() -> int:
        while True:
            port = random.randrange(20_000, 32_000)
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port

    return find
