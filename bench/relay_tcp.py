"""The relay's TCP path beside HAProxy: `python -m bench.relay_tcp [--rounds N] [--seconds S]`.

Both run on this machine in the same run, one worker against one thread, rounds
interleaved, and the medians are compared. Needs haproxy, nginx, iperf3 and wrk.
Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sekimori.planes.relay.control import connect
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.sockets import open_listen

GIB = 1 << 30
BASE = 21_000
"""Ports used: targets at BASE.., HAProxy at BASE + 100.., ours at BASE + 200..."""
HTTP, IPERF, IDLE = 0, 1, 2
ANSWER = "ok\n" * 32

HAPROXY = """
global
    nbthread 1
    maxconn {most}
    maxpipes 32
    tune.maxaccept 64
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 1h
    timeout server 1h
"""

NGINX = """
worker_processes 1;
daemon off;
pid {run}/nginx.pid;
error_log {run}/error.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {run}; proxy_temp_path {run}; fastcgi_temp_path {run};
    uwsgi_temp_path {run}; scgi_temp_path {run};
    server {{ listen 127.0.0.1:{port} backlog=16384 reuseport; location / {{ return 200 "{answer}"; }} }}
}}
"""


@dataclass
class Peer:
    """One relay under test."""

    name: str
    pid: int
    base: int
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        self.figures.setdefault(what, []).append(value)

    def median(self, what: str) -> float:
        return statistics.median(self.figures[what])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--only", default="", help="throughput, rate, latency or memory")
    options = parser.parse_args()
    missing = [tool for tool in ("haproxy", "nginx", "iperf3", "wrk") if not shutil.which(tool)]
    if missing:
        print(f"cannot measure: {', '.join(missing)} not installed")
        return 1
    with ExitStack() as stack:
        run = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(targets(run))
        theirs = Peer("haproxy", stack.enter_context(haproxy(run)), BASE + 100)
        ours = Peer("sekimori", stack.enter_context(sekimori(run)), BASE + 200)
        measure(ours, theirs, options)
    report(ours, theirs)
    return 0


def measure(ours: Peer, theirs: Peer, options: argparse.Namespace) -> None:
    only, seconds = options.only, options.seconds
    for turn in range(options.rounds):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        if only in ("", "throughput"):
            for streams in (1, 8):
                for peer in order:
                    throughput(peer, streams, seconds)
        if only in ("", "rate"):
            for peer in order:
                rate(peer, seconds)
        if only in ("", "latency"):
            for peer in order:
                latency(peer, seconds)
    if only in ("", "memory"):
        for peer in (ours, theirs):
            memory(peer)


# -- what runs -----------------------------------------------------------------


@contextmanager
def process(*command: str, **more: Any) -> Iterator[int]:
    """A child for the time of the block."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait()


@contextmanager
def targets(run: Path) -> Iterator[None]:
    config = run / "nginx.conf"
    config.write_text(NGINX.format(run=run, port=BASE + HTTP, answer=ANSWER.replace("\n", " ")))
    sink = [sys.executable, "-m", "bench.relay_tcp_sink", str(BASE + IDLE)]
    with (
        process("nginx", "-c", str(config)),
        process("iperf3", "-s", "-p", str(BASE + IPERF)),
        process(*sink),
    ):
        for what in (HTTP, IPERF, IDLE):
            wait_for(BASE + what)
        yield


@contextmanager
def haproxy(run: Path) -> Iterator[int]:
    config = run / "haproxy.cfg"
    lines = [HAPROXY.format(most=most_connections())]
    for what in (HTTP, IPERF, IDLE):
        lines.append(f"listen l{what}\n    bind 127.0.0.1:{BASE + 100 + what} backlog 4096")
        lines.append(f"    server s 127.0.0.1:{BASE + what}\n")
    config.write_text("\n".join(lines))
    with process("haproxy", "-db", "-f", str(config)) as pid:
        wait_for(BASE + 100 + HTTP)
        yield pid


@contextmanager
def sekimori(run: Path) -> Iterator[int]:
    path = run / "worker.sock"
    with process(sys.executable, "-m", "sekimori.planes.relay.worker", "--socket", str(path)) as pid:
        until(path.is_socket)
        asyncio.run(tell(path))
        yield pid


async def tell(path: Path) -> None:
    control = await connect(path)
    entries, sockets = [], {}
    for what in (HTTP, IPERF, IDLE):
        listen = Listen("tcp", "127.0.0.1", BASE + 200 + what, BASE + what)
        entries.append(Entry(f"e{what}", (listen,), ("127.0.0.1",)))
        sockets[f"e{what}", listen] = open_listen(listen)
    await control.set(entries, sockets)
    control.close()


def wait_for(port: int) -> None:
    def reachable() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    until(reachable)


def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("a process of the benchmark did not start")
        time.sleep(0.02)


# -- what is measured ------------------------------------------------------------


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) * 1024  # type: ignore[index]


def throughput(peer: Peer, streams: int, seconds: int) -> None:
    before = cpu(peer.pid)
    command = ["iperf3", "-c", "127.0.0.1", "-p", str(peer.base + IPERF), "-P", str(streams), "-J"]
    for _ in range(20):  # the server takes one test at a time and needs a moment between two
        done = subprocess.run([*command, "-t", str(seconds)], capture_output=True, check=False)
        result = json.loads(done.stdout or b"{}")
        if "end" in result and "sum_received" in result["end"]:
            break
        time.sleep(0.1)
    received = result["end"]["sum_received"]
    peer.note(f"Gbit/s, {streams} stream(s)", received["bits_per_second"] / 1e9)
    peer.note(f"CPU-s per GiB, {streams} stream(s)", (cpu(peer.pid) - before) / (received["bytes"] / GIB))


def rate(peer: Peer, seconds: int) -> None:
    before = cpu(peer.pid)
    url = f"http://127.0.0.1:{peer.base + HTTP}/"
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "Connection: close", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    peer.note("connections/s", float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))  # type: ignore[index]
    peer.note("CPU-us per connection", (cpu(peer.pid) - before) / count * 1e6)


LATENCY_RATE = 2_000
"""New connections per second: about half of what either relay does here with its load on two processors."""


def latency(peer: Peer, seconds: int) -> None:
    """Connect, ask, read to the end, at a steady pace: open loop, so a late answer delays no question."""
    times = pace(peer.base + HTTP, LATENCY_RATE, seconds)
    peer.note("latency p50, us", times[len(times) // 2] * 1e6)
    peer.note("latency p99, us", times[len(times) * 99 // 100] * 1e6)


def pace(port: int, per_second: int, seconds: int) -> list[float]:
    poll = select.epoll()
    live: dict[int, tuple[socket.socket, float]] = {}
    times: list[float] = []
    begun = time.perf_counter()
    asked, total = 0, int(per_second * seconds)
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    while len(times) < total:
        now = time.perf_counter()
        while asked < total and begun + asked / per_second <= now:
            sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.connect_ex(("127.0.0.1", port))
            poll.register(sock.fileno(), select.EPOLLOUT)
            live[sock.fileno()] = sock, begun + asked / per_second
            asked += 1
        due = begun + asked / per_second - time.perf_counter() if asked < total else 1.0
        for fd, events in poll.poll(max(0.0, due)):
            sock, started = live[fd]
            if events & select.EPOLLOUT:
                sock.send(request)
                poll.modify(fd, select.EPOLLIN)
            elif not sock.recv(65536):
                times.append(time.perf_counter() - started)
                del live[fd]
                sock.close()
    poll.close()
    return sorted(times)


def memory(peer: Peer) -> None:
    """Growth of the process per idle connection, kernel buffers aside."""
    count = most_connections() - 100
    before = pss(peer.pid)
    idle = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", peer.base + IDLE))
        sock.sendall(b"x")
        idle.append(sock)
    for sock in idle:
        assert sock.recv(1) == b"x"
    peer.note(f"KiB per connection, {count} idle", (pss(peer.pid) - before) / count / 1024)
    for sock in idle:
        sock.close()


def most_connections() -> int:
    """10,000 and some to spare, or what two descriptors each leave room for."""
    return min(10_100, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300) // 2)


LEAST_IS_BEST = ("CPU", "latency", "KiB")
TARGETS = (("Gbit/s", 1.2), ("connections/s", 0.8), ("latency", 1.25), ("CPU-s", 1.0), ("KiB", 1.0))


def report(ours: Peer, theirs: Peer) -> None:
    print(f"{'':34}{ours.name:>12}{theirs.name:>12}{'ratio':>8}  target")
    for what in ours.figures:
        ratio = ours.median(what) / theirs.median(what)
        wanted = next((value for name, value in TARGETS if what.startswith(name)), None)
        verdict = ""
        if wanted is not None:
            low = what.startswith(LEAST_IS_BEST)
            met = ratio <= wanted if low else ratio >= wanted
            verdict = f"{'<=' if low else '>='} {wanted:g} {'met' if met else 'MISSED'}"
        print(f"{what:34}{ours.median(what):12.2f}{theirs.median(what):12.2f}{ratio:8.2f}  {verdict}")


if __name__ == "__main__":
    sys.exit(main())
