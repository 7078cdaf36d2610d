"""The daemon under many mappings: start, one change, one open, and the CLI's start-up.

`python -m bench.mappings [COUNT]` (10,000 unless said). Every figure is wall-clock time on the
machine it runs on, with the targets of the project beside it.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sekimori.client import Client
from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol, PortPair, PortRange
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.lifetime import Lifetime
from sekimori.model.mapping import Hop, Mapping, Owner, OwnerKind
from sekimori.model.request import Context
from sekimori.model.source import Sources
from sekimori.model.target import Target

ROUNDS = 30
FIRST_PORT = 20000


def main(count: int) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory(prefix="sk") as directory, _echo() as inside:
        state = Path(directory)
        _fill(state, count, inside)
        begun = time.perf_counter()
        with _daemon(state) as child:
            _await_all(count)
            served = time.perf_counter() - begun
            client = _await_api(state, child)
            ready = time.perf_counter() - begun
            rows = [
                ("start, all mappings served", served, 2.0),
                ("start, API answers too", ready, None),
                ("one change (edit), median", _median(lambda i: _edit(client, i)), 0.010),
                ("open to first accepted byte, median", _median(lambda i: _open(client, i, inside)), 0.050),
                ("ls --json at this count, CLI wall", _cli(state, "ls", "--json"), None),
            ]
            _print(count, rows)
    with tempfile.TemporaryDirectory(prefix="sk") as directory, _daemon(Path(directory)) as child:
        _await_api(Path(directory), child)
        _print(0, [("ls start-up, CLI wall, median", _cli(Path(directory), "ls"), 0.200)])


def _fill(state: Path, count: int, inside: int) -> None:
    state.mkdir(exist_ok=True)
    ledger = Ledger.open(state)
    owner = Owner(OwnerKind.PERSON, "bench")
    target = Target.parse_host("127.0.0.1")
    made = []
    for index in range(count):
        port = FIRST_PORT + index
        pair = PortPair(IpProtocol.TCP, PortRange(port, port), PortRange(inside, inside))
        mapping = Mapping(
            id=f"b{index}",
            name=f"bench-{index}",
            owner=owner,
            ports=(pair,),
            target=target,
            sources=Sources.parse("lan"),
            lifetime=Lifetime.lasting(86400, time.time()),
            path=(Hop("relay"),),
        )
        made.append(Made(Verb.OPEN, None, mapping))
    ledger.commit(made, Context(owner, "bench"), time.time())
    ledger.close()


@contextmanager
def _daemon(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = {**os.environ, "SEKIMORI_STATE_DIR": str(state), "SEKIMORI_LOG": "warning"}
    child = subprocess.Popen(
        [sys.executable, "-m", "sekimori.daemon", "--attached"], stdin=subprocess.PIPE, env=environ
    )
    try:
        yield child
    finally:
        assert child.stdin
        child.stdin.close()
        child.wait(30)


def _await_api(state: Path, child: subprocess.Popen[bytes]) -> Client:
    client = Client(state / "sekimori.sock")
    deadline = time.monotonic() + 60
    while True:
        try:
            client.status()
        except Problem:
            if time.monotonic() > deadline or child.poll() is not None:
                raise
            time.sleep(0.005)
        else:
            return client


@contextmanager
def _echo() -> Iterator[int]:
    server = socket.create_server(("127.0.0.1", 0), backlog=512)

    def serve() -> None:
        with suppress(OSError):
            while True:
                flow, _ = server.accept()
                flow.sendall(flow.recv(64))
                flow.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def _await_all(count: int) -> None:
    """Until the last mapping answers: the first and the last are put in order."""
    deadline = time.monotonic() + 60
    for port in (FIRST_PORT + count - 1, FIRST_PORT):
        while not _answers(port):
            if time.monotonic() > deadline:
                raise SystemExit("not all mappings were served within 60 s")
            time.sleep(0.002)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as flow:
            flow.sendall(b"?")
            return flow.recv(1) == b"?"
    except OSError:
        return False


def _median(action: Callable[[int], None]) -> float:
    times = []
    for index in range(ROUNDS):
        begun = time.perf_counter()
        action(index)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _edit(client: Client, index: int) -> None:
    client.edit(f"bench-{index}", {"idle": f"{index + 60}s"})


def _open(client: Client, index: int, inside: int) -> None:
    port = 11100 + index
    client.open({"ports": f"{port}:{inside}", "to": "127.0.0.1", "from": "lan"})
    if not _answers(port):
        raise SystemExit(f"port {port} was opened and does not answer")


def _cli(state: Path, *arguments: str) -> float:
    command = [str(Path(sys.executable).parent / "sekimori"), *arguments]
    environ = {**os.environ, "SEKIMORI_STATE_DIR": str(state)}

    def run(_index: int) -> None:
        subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)

    run(0)
    return _median(run)


def _print(count: int, rows: list[tuple[str, float, float | None]]) -> None:
    for name, seconds, target in rows:
        goal = f"(target {target * 1000:,.0f} ms)" if target else ""
        print(f"{count:>7,} mappings  {name:<40} {seconds * 1000:>10,.1f} ms  {goal}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
