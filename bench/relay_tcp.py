"""The relay's TCP path beside its peers: `python -m bench.relay_tcp [--rounds N] [--seconds S]`.

All run on this machine in the same run, one worker each, rounds interleaved, and the medians are
compared. HAProxy (with splice) is the one the targets speak of; nginx stream and socat stand beside it.
Needs haproxy, nginx with its stream module, socat, iperf3 and wrk. Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.relay_peers import (
    BASE,
    HTTP,
    IDLE,
    IPERF,
    haproxy,
    most_connections,
    nginx,
    sekimori,
    socat,
    targets,
)

GIB = 1 << 30


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
    missing = [tool for tool in ("haproxy", "nginx", "socat", "iperf3", "wrk") if not shutil.which(tool)]
    if missing:
        print(f"cannot measure: {', '.join(missing)} not installed")
        return 1
    most_connections()  # raises the limit that the children inherit
    with ExitStack() as stack:
        run = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run.chmod(0o755)  # nginx's worker is another user
        stack.enter_context(targets(run))
        peers = [
            Peer("sekimori", stack.enter_context(sekimori(run)), BASE + 200),
            Peer("haproxy", stack.enter_context(haproxy(run)), BASE + 100),
            Peer("nginx", stack.enter_context(nginx(run)), BASE + 300),
            Peer("socat", stack.enter_context(socat(run)), BASE + 400),
        ]
        measure(peers, options)
    report(peers)
    return 0


def measure(peers: list[Peer], options: argparse.Namespace) -> None:
    only, seconds = options.only, options.seconds
    without_socat = peers[:3]
    for turn in range(options.rounds):
        step = -1 if turn % 2 else 1
        if only in ("", "throughput"):
            for streams in (1, 8):
                for peer in peers[::step]:
                    throughput(peer, streams, seconds)
        if only in ("", "rate", "latency"):
            for peer in without_socat[::step]:
                rate(peer, seconds)
        if only in ("", "latency"):
            half = min(peer.median("connections/s") for peer in without_socat) / 2
            for peer in without_socat[::step]:
                latency(peer, int(half), seconds)
    if only in ("", "memory"):
        for peer in without_socat:
            memory(peer)


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
    if peer.name != "socat":  # it has a process for each connection, gone by now
        peer.note(f"CPU-s per GiB, {streams} stream(s)", (cpu(peer.pid) - before) / (received["bytes"] / GIB))


def rate(peer: Peer, seconds: int) -> None:
    before = cpu(peer.pid)
    url = f"http://127.0.0.1:{peer.base + HTTP}/"
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "Connection: close", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    peer.note("connections/s", float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))  # type: ignore[index]
    peer.note("CPU-us per connection", (cpu(peer.pid) - before) / count * 1e6)


def latency(peer: Peer, per_second: int, seconds: int) -> None:
    """Connect, ask, read to the end, at half of the slowest relay's rate.

    Open loop: a late answer delays no question.
    """
    times = pace(peer.base + HTTP, per_second, seconds)
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
    count = most_connections()
    before = pss(peer.pid)
    idle = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", peer.base + IDLE))
        sock.sendall(b"x")
        idle.append(sock)
    for sock in idle:
        assert sock.recv(1) == b"x"
    peer.note(f"KiB per connection, {count:,} idle", (pss(peer.pid) - before) / count / 1024)
    for sock in idle:
        sock.close()


LEAST_IS_BEST = ("CPU", "latency", "KiB")
TARGETS = (("Gbit/s", 1.2), ("connections/s", 0.8), ("latency", 1.25), ("CPU-s", 1.0), ("KiB", 1.0))


def report(peers: list[Peer]) -> None:
    ours, theirs, *others = peers
    print(f"{'':32}{ours.name:>10}{theirs.name:>10}{'ratio':>8}  {'target':16}", end="")
    print("".join(f"{peer.name:>10}" for peer in others))
    for what in ours.figures:
        ratio = ours.median(what) / theirs.median(what)
        wanted = next((value for name, value in TARGETS if what.startswith(name)), None)
        verdict = ""
        if wanted is not None:
            low = what.startswith(LEAST_IS_BEST)
            met = ratio <= wanted if low else ratio >= wanted
            verdict = f"{'<=' if low else '>='} {wanted:g} {'met' if met else 'MISSED'}"
        print(
            f"{what:32}{ours.median(what):10.2f}{theirs.median(what):10.2f}{ratio:8.2f}  {verdict:16}", end=""
        )
        print("".join(f"{p.median(what):10.2f}" if what in p.figures else f"{'-':>10}" for p in others))


if __name__ == "__main__":
    sys.exit(main())
