"""What `make run` does: the daemon, one port opened, and what to type next.

With arguments it does that job instead: `make run ARGS="open 2222 --to 192.168.1.5:22 --for 2h"`.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sekimori.client import Client
from sekimori.model.errors import Problem
from sekimori.model.places import places

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sekimori</title>
<body style="font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 4rem auto">
<h1>関守 Sekimori</h1>
<p>This sample page is served on loopback. You reached it through a port that Sekimori opened.</p>
<p>この見本ページはループバックで動いています。Sekimori が開けたポートを通って届きました。</p>
"""
WAIT = 15.0


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the terminal is the daemon's."""


def main(arguments: list[str]) -> int:
    """Run the job; its exit code."""
    socket = places(os.environ, os.geteuid()).socket
    client = Client(socket)
    if arguments and arguments[0] not in ("open", "up"):
        return subprocess.call([sys.executable, "-m", "sekimori", *arguments])
    if arguments and arguments[0] == "up":
        os.execv(sys.executable, [sys.executable, "-m", "sekimori", *arguments])
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with _daemon(client):
        if arguments:
            code = subprocess.call([sys.executable, "-m", "sekimori", *arguments])
            if code:
                return code
            _say(("ls", _word("what is open, to whom, until when", "開いているポートの一覧")))
            _wait(ended)
        else:
            with _sample_page() as port, _opened(client, port) as outside:
                _say_sample(outside)
                _wait(ended)
    return 0


@contextlib.contextmanager
def _daemon(client: Client) -> Iterator[None]:
    """A daemon for as long as this runs, or the one that runs already."""
    with contextlib.suppress(Problem):
        about = client.status()
        print(f"A daemon is running already (pid {about['pid']}); using it.", flush=True)
        yield
        return
    # Its own session: Ctrl-C is ours to hear, and the end of its input tells it to stop.
    child = subprocess.Popen(
        [sys.executable, "-m", "sekimori.daemon", "--attached"],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "SEKIMORI_LOG": os.environ.get("SEKIMORI_LOG", "warning")},
    )
    try:
        _await_answer(client, child)
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(WAIT)


def _await_answer(client: Client, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT
    while True:
        if child.poll() is not None:
            raise SystemExit(child.returncode)
        try:
            client.status()
        except Problem:
            if time.monotonic() > deadline:
                raise SystemExit(f"cannot start: no answer from the daemon within {WAIT:g} s") from None
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def _sample_page() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextlib.contextmanager
def _opened(client: Client, inside: int) -> Iterator[int]:
    """Open the sample page's port: 8080, or the next one that is free."""
    with contextlib.suppress(Problem):  # left by a run that was killed
        client.close("sample-page", now=True, why="an earlier make run left it")
    for port in range(8080, 8100):
        fields = {"name": "sample-page", "ports": f"{port}:{inside}", "to": "127.0.0.1", "from": "lan"}
        try:
            client.open(fields, why="make run")
            break
        except Problem as problem:
            if problem.code not in ("port-busy", "port-taken"):
                raise SystemExit(f"{problem.title()}\n  {problem.fix()}") from None
            print(problem.title(), flush=True)
    else:
        raise SystemExit("cannot open the sample page: the ports 8080 to 8099 are all taken")
    try:
        yield port
    finally:
        with contextlib.suppress(Problem):  # closed by hand meanwhile, or the daemon is gone
            client.close("sample-page", now=True, why="make run ended")


def _say_sample(port: int) -> None:
    print(
        _word(
            f"\nOpen: tcp/{port}, to the local network, until Ctrl-C. "
            "It leads to a sample page on loopback.\n",
            f"\n開放中: tcp/{port}（LAN から、Ctrl-C まで）。ループバックの見本ページにつながります。\n",
        )
    )
    print(_word("In a second terminal:", "別の端末で:"))
    print(f"  curl http://127.0.0.1:{port}/")
    _say(
        ("ls", _word("what is open, to whom, until when, and its counters", "開いているポートの一覧")),
        ("who sample-page", _word("who is using it", "使っている人")),
        ("open 2222 --to 192.168.1.5:22 --from 198.51.100.0/24 --for 2h", ""),
        ("presets game", _word("known services", "知っているサービス")),
    )
    print(_word("\nCtrl-C ends it.", "\nCtrl-C で終わります。"), flush=True)


def _word(english: str, japanese: str) -> str:
    chosen = next(filter(None, (os.environ.get(key) for key in ("SEKIMORI_LANG", "LC_ALL", "LANG"))), "")
    return japanese if chosen.startswith("ja") else english


def _say(*lines: tuple[str, str]) -> None:
    command = os.path.relpath(Path(sys.executable).parent / "sekimori")
    for words, meaning in lines:
        print(f"  {command} {words:21} {meaning}".rstrip())
    sys.stdout.flush()


def _wait(ended: threading.Event) -> None:
    ended.wait()
    print(_word("\nClosing.", "\n閉じています。"), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
