"""The client against servers that misbehave; against the real API it is tested in doors/api."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sekimori.client import Client, default_socket
from sekimori.model.errors import Problem
from sekimori.model.places import SYSTEM

pytestmark = pytest.mark.loopback

Answering = Callable[[socket.socket, bytes], None]


@contextmanager
def server(path: Path, answering: Answering) -> Iterator[list[bytes]]:
    """A socket that takes one request at a time, whole, and answers it as told; the requests."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:  # closed: the test is over
                    return
                with peer:
                    requests.append(_read_request(peer))
                    answering(peer, requests[-1])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()


def _read_request(peer: socket.socket) -> bytes:
    taken = b""
    while b"\r\n\r\n" not in taken:
        got = peer.recv(65536)
        if not got:
            return taken
        taken += got
    head, _, body = taken.partition(b"\r\n\r\n")
    length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def _says(answer: bytes) -> Answering:
    return lambda peer, _request: peer.sendall(answer)


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _refusal(path: Path, call: Callable[[Client], object], **words: float) -> Problem:
    with pytest.raises(Problem) as caught:
        call(Client(path, **words))  # type: ignore[arg-type]
    return caught.value


def test_a_request_on_the_wire(tmp_path: Path) -> None:
    with server(tmp_path / "s", _says(_ok(b"{}"))) as requests:
        Client(tmp_path / "s", "ja").extend("udp/53 é", {"add": "1h"}, why="理由")
        Client(tmp_path / "s").close("web", plan=True, why="a&b")
        Client(tmp_path / "s").status()
    head, _, body = requests[0].decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "POST /v1/mappings/udp%2F53%20%C3%A9/extend HTTP/1.0"
    assert {"Accept-Language: ja", "Content-Type: application/json", f"Content-Length: {len(body)}"} <= set(
        lines
    )
    assert body == '{"add": "1h", "plan": false, "why": "\\u7406\\u7531"}'
    assert requests[1].startswith(b"DELETE /v1/mappings/web?plan=true&why=a%26b HTTP/1.0\r\n")
    assert b"ontent-" not in requests[2]


def test_nobody_there(tmp_path: Path) -> None:
    problem = _refusal(tmp_path / "s", Client.status)
    assert (problem.code, problem.exit_code) == ("unreachable", 7)
    assert problem.title() == f"cannot reach the daemon at {tmp_path / 's'}: there is no such socket"
    assert "そのソケットがありません" in problem.title("ja")


def test_a_socket_left_behind(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    assert _refusal(tmp_path / "s", Client.status).fact("why") == "nobody listens there"


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    assert _refusal(tmp_path / "s", Client.status).code == "unreachable"


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    problem = _refusal(tmp_path / ("x" * 120), Client.status)
    assert (problem.code, problem.fact("why")) == ("unreachable", "AF_UNIX path too long")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 500,
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        _ok(b"<html>"),
        _ok(b"[1]"),
        _ok(b'{"a": 1}')[:-3],
        b"HTTP/1.1 500 Oops\r\n\r\nInternal Server Error",
        b"HTTP/1.1 404 No\r\n\r\n[]",
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    with server(tmp_path / "s", _says(answer)):
        assert _refusal(tmp_path / "s", Client.status).code == "unreachable"


def test_an_unknown_problem_keeps_its_title(tmp_path: Path) -> None:
    body = b'{"code": "from-the-future", "title": "cannot fly: no wings", "facts": {}}'
    with server(tmp_path / "s", _says(_ok(body).replace(b"200 OK", b"400 Bad"))):
        problem = _refusal(tmp_path / "s", Client.status)
    assert (problem.code, problem.facts["what"]) == ("unexpected", "cannot fly: no wings")


def test_silence_is_a_time_out(tmp_path: Path) -> None:
    release = threading.Event()
    with server(tmp_path / "s", lambda _peer, _request: (release.wait(10), None)[1]):
        problem = _refusal(tmp_path / "s", lambda client: client.get("web"), timeout=0.05)
        release.set()
    assert (problem.code, problem.exit_code) == ("timeout", 124)
    assert problem.title() == "cannot confirm in 0.05 s: no answer to GET /v1/mappings/web"


def test_silence_in_the_middle_of_an_answer_is_a_time_out(tmp_path: Path) -> None:
    release = threading.Event()

    def stall(peer: socket.socket, _request: bytes) -> None:
        peer.sendall(_ok(b'{"a": 1}')[:-3])
        release.wait(10)

    with server(tmp_path / "s", stall):
        assert _refusal(tmp_path / "s", Client.status, timeout=0.05).code == "timeout"
        release.set()


def test_a_refusal_that_comes_before_the_body_was_read_is_heard(tmp_path: Path) -> None:
    body = b'{"code": "bad-request", "facts": {"why": "too large"}}'
    answer = _ok(body).replace(b"200 OK", b"413 Large")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def refuse() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_RDWR)  # the client is still sending

        thread = threading.Thread(target=refuse)
        thread.start()
        problem = _refusal(tmp_path / "s", lambda client: client.apply(None, "x" * 4_000_000))
        thread.join(10)
    assert (problem.code, problem.fact("why")) == ("bad-request", "too large")


def test_events_in_every_framing(tmp_path: Path) -> None:
    stream = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        b': a comment\n\nevent: hello\ndata: {}\n\nevent:status\r\ndata: {"a":\r\ndata:  1}\r\n\r\n'
        b'id: 5\nretry: 10\n\nevent: empty\n\ndata: {"b": 2}\n\nevent: cut\ndata: {"c"'
    )
    with server(tmp_path / "s", _says(stream)) as requests:
        events = list(Client(tmp_path / "s").events(counters=True))
    assert events == [("hello", {}), ("status", {"a": 1}), ("message", {"b": 2})]
    assert requests[0].startswith(b"GET /v1/events?counters=true HTTP/1.0\r\n")


def test_a_refused_stream_raises(tmp_path: Path) -> None:
    body = b'{"code": "not-permitted", "facts": {"what": "look", "who": "me"}}'
    with server(tmp_path / "s", _says(_ok(body).replace(b"200 OK", b"403 No"))):
        assert _refusal(tmp_path / "s", lambda client: next(client.events())).code == "not-permitted"


def test_a_stream_that_falls_silent_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekimori.client.connection._SILENCE", 0.05)
    release = threading.Event()

    def stall(peer: socket.socket, _request: bytes) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nevent: hello\ndata: {}\n\n")
        release.wait(10)

    with server(tmp_path / "s", stall):
        events = Client(tmp_path / "s", timeout=0.05).events()
        assert next(events) == ("hello", {})
        with pytest.raises(Problem) as caught:
            next(events)
        release.set()
    assert caught.value.code == "unreachable"


def test_the_user_s_own_daemon_comes_before_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setattr("sekimori.client.SYSTEM", type(SYSTEM)(shared, shared, shared))
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    own = tmp_path / "run" / "sekimori" / "sekimori.sock"

    assert default_socket(environ, 1000) == own
    shared.touch()
    assert default_socket(environ, 1000) == shared
    assert default_socket({**environ, "SEKIMORI_SOCKET": "/said"}, 1000) == Path("/said")
    assert default_socket({**environ, "SEKIMORI_STATE_DIR": "/s"}, 1000) == Path("/s/sekimori.sock")
    own.parent.mkdir(parents=True)
    own.touch()
    assert default_socket(environ, 1000) == own


def test_it_is_quick_to_import_because_it_imports_little() -> None:
    script = "import sys; import sekimori.client; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
    )
    loaded = set(done.stdout.split())
    assert not loaded & {
        "http.client",
        "email",
        "ssl",
        "asyncio",
        "pydantic",
        "fastapi",
        "structlog",
        "sqlite3",
    }
