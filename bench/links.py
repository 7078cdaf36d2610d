"""Ports through SSH, ours beside OpenSSH's: `python -m bench.links [--rounds N] [--seconds S] [--only WHAT]`.

Two tables. *local*: a port here that leads through a link to a stock sshd, beside `ssh -L` to the same sshd.
*remote*: `ssh -R` of the same stock client to our SSH door, beside `ssh -R` to sshd. OpenSSH runs with the
cipher that it takes by default (chacha20-poly1305 before OpenSSH 10) and with AES-GCM, which is what ours
takes. All on this machine in the same run, rounds interleaved, medians compared.

A third, *datagrams*: UDP through a link between two daemons of ours, which OpenSSH has not: what arrives of
as much as can be sent, and what is lost of half of that. A fourth, *far*: 100 ms there and back, in network
namespaces.

Needs OpenSSH, nginx, iperf3 and wrk. Everything stays on
this machine.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.links_far import far_throughput, far_tunnels, why_no_far
from bench.links_lab import Lab, Tunnel, most_idle
from bench.links_load import Load
from bench.relay_peers import HTTP, IDLE, IPERF
from bench.relay_tcp import pace

GIB = 1 << 30
FAR_ROUNDS = 1
"""It waits for windows to grow, and what it shows is far from close."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--only", default="", help="throughput, rate, latency or memory")
    parser.add_argument("--table", default="", help="local, remote, datagrams or far")
    options = parser.parse_args()
    missing = [tool for tool in ("ssh", "ssh-keygen", "nginx", "iperf3", "wrk") if not shutil.which(tool)]
    if missing:
        print(f"cannot measure: {', '.join(missing)} not installed")
        return 1
    with ExitStack() as stack:
        run = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run.chmod(0o755)  # nginx's worker is another user
        lab = stack.enter_context(Lab(run))
        for direction in ("local", "remote"):
            if options.table in ("", direction):
                with ExitStack() as inner:
                    tunnels = [inner.enter_context(each) for each in lab.tunnels(direction)]
                    measure(tunnels, options)
                print(f"\n{direction}")
                report(tunnels)
        if options.table in ("", "datagrams") and not options.only:
            print("\ndatagrams")
            report([datagrams(lab, options)])
        if options.table in ("", "far") and options.only in ("", "throughput"):
            far(run, options)
    return 0


def far(run: Path, options: argparse.Namespace) -> None:
    print("\nfar, 100 ms there and back")
    why = why_no_far()
    if why is not None:
        print(f"cannot measure: {why}")
        return
    with far_tunnels(run) as (near, tunnels):
        for turn in range(min(options.rounds, FAR_ROUNDS)):
            for tunnel in tunnels[:: -1 if turn % 2 else 1]:
                far_throughput(near, tunnel, options.seconds)
        report(tunnels)


def measure(tunnels: Sequence[Tunnel], options: argparse.Namespace) -> None:
    only, seconds = options.only, options.seconds
    for turn in range(options.rounds):
        ordered = tunnels[:: -1 if turn % 2 else 1]
        if only in ("", "throughput"):
            for streams in (1, 8):
                for tunnel in ordered:
                    throughput(tunnel, streams, seconds)
        if only in ("", "rate", "latency"):
            for tunnel in ordered:
                rate(tunnel, seconds)
        if only in ("", "latency"):
            half = min(statistics.median(each.figures["connections/s"]) for each in tunnels) / 2
            for tunnel in ordered:
                latency(tunnel, int(half), seconds)
    if only in ("", "memory"):
        for tunnel in tunnels:
            memory(tunnel)


def throughput(tunnel: Tunnel, streams: int, seconds: int) -> None:
    before = tunnel.cpu()
    command = ["iperf3", "-c", "127.0.0.1", "-p", str(tunnel.base + IPERF), "-P", str(streams), "-J"]
    for _ in range(40):  # the server takes one test at a time and needs a moment between two
        done = subprocess.run([*command, "-t", str(seconds)], capture_output=True, check=False)
        result = json.loads(done.stdout or b"{}")
        if "sum_received" in result.get("end", {}):
            break
        time.sleep(0.1)
    received = result["end"]["sum_received"]
    tunnel.note(f"Gbit/s, {streams} stream(s)", received["bits_per_second"] / 1e9)
    tunnel.note(f"CPU-s per GiB, {streams} stream(s)", (tunnel.cpu() - before) / (received["bytes"] / GIB))


def rate(tunnel: Tunnel, seconds: int) -> None:
    before = tunnel.cpu()
    url = f"http://127.0.0.1:{tunnel.base + HTTP}/"
    command = ["wrk", "-t1", "-c64", f"-d{seconds}s", "-H", "Connection: close", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    tunnel.note("connections/s", float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]))  # type: ignore[index]
    tunnel.note("CPU-us per connection", (tunnel.cpu() - before) / count * 1e6)


def latency(tunnel: Tunnel, per_second: int, seconds: int) -> None:
    """Connect, ask, read to the end, at half of the slowest tunnel's rate; open loop."""
    times = pace(tunnel.base + HTTP, per_second, seconds)
    tunnel.note("latency p50, us", times[len(times) // 2] * 1e6)
    tunnel.note("latency p99, us", times[len(times) * 99 // 100] * 1e6)


def memory(tunnel: Tunnel) -> None:
    """Growth of the processes at both ends per idle connection, kernel buffers aside."""
    count = most_idle()
    before = tunnel.memory()
    idle = [socket.create_connection(("127.0.0.1", tunnel.base + IDLE)) for _ in range(count)]
    for sock in idle:
        sock.sendall(b"x")
    for sock in idle:
        assert sock.recv(1) == b"x"
    tunnel.note(f"KiB per connection, {count:,} idle", (tunnel.memory() - before) / count / 1024)
    for sock in idle:
        sock.close()


def datagrams(lab: Lab, options: argparse.Namespace) -> Tunnel:
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(size)) for size in (64, 1200)]
        tunnels = lab.datagrams([load.target for load in loads])
        noted = tunnels[0]
        for _ in range(options.rounds):
            for load, tunnel in zip(loads, tunnels, strict=True):
                load.lead_to(tunnel.base)
                before = tunnel.cpu()
                flood = load.flood(options.seconds / 2)
                used = tunnel.cpu() - before
                noted.note(f"{load.size} B, datagrams/s", flood.arrived / flood.seconds)
                noted.note(f"{load.size} B, CPU-us each", used / flood.arrived * 1e6)
                half = load.steady(flood.arrived / flood.seconds / 2, options.seconds / 2)
                noted.note(f"{load.size} B, % lost at half of it", 100 * (1 - half.arrived / half.sent))
        return noted


def report(tunnels: Sequence[Tunnel]) -> None:
    ours, *others = tunnels
    print(f"{'':32}{ours.name:>12}" + "".join(f"{each.name:>18}{'ratio':>8}" for each in others))
    for what in ours.figures:
        row = f"{what:32}{ours.median(what):12.2f}"
        for each in others:
            row += f"{each.median(what):18.2f}{ours.median(what) / each.median(what):8.2f}"
        print(row)


if __name__ == "__main__":
    sys.exit(main())
