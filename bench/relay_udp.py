"""Datagrams per second through the relay, beside nginx `stream` and socat.

    .venv/bin/python -m bench.relay_udp [--rounds 5] [--seconds 1.0]

The relay under test has one processor to itself; the load generator has another. The
generator is one process that sends, and reads the sink, by turns: it sends
segmented (64 datagrams cross the stack at once), so it is stronger than any relay here.
What counts is what *arrives at the sink*; in the echoed cases, what came back to the
client, which has at most 256 datagrams under way (flooded without that limit, nginx
serves answers hardly at all). Relays take turns within each round.

`sekimori, datagrams one by one` has UDP_GRO switched off on its sockets, so that it
gets what a client without segmentation sends; nginx and socat always get that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sekimori.planes.relay.bans import Bans
from sekimori.planes.relay.entry import Entry, Listen
from sekimori.planes.relay.idle import IdleWheel
from sekimori.planes.relay.libc import open_calls
from sekimori.planes.relay.loop import Loop
from sekimori.planes.relay.mmsg import SLOTS, Receiver, Sender, Slots, trains
from sekimori.planes.relay.service import Service, key_of
from sekimori.planes.relay.udp import UdpListener
from sekimori.planes.relay.udpflow import UdpFlow

HOST = "127.0.0.1"
UDP_SEGMENT = 103
BUFFER = 4 << 20
PEERS = 1000
WINDOW = 256


# -- the relays ---------------------------------------------------------------


def serve(port: int, target: int, trains: bool) -> None:
    """Our relay, in a process of its own, until killed."""
    listen = Listen("udp", HOST, port, target)
    UdpFlow.trains = trains
    loop = Loop()
    service = Service(loop, IdleWheel(loop), Entry("bench", (listen,), (HOST,)), Bans())
    sock = udp_socket((HOST, port))
    listener = UdpListener(loop, sock, listen, service)
    service.listeners[key_of(listen)] = listener
    loop.run()


NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log {folder}/error.log error;
events {{ worker_connections 20000; multi_accept on; }}
stream {{
  server {{ listen {host}:{port} udp rcvbuf=4m sndbuf=4m; proxy_pass {host}:{target}; proxy_timeout 120s; }}
}}
"""


def ours(port: int, target: int, _folder: Path, trains: bool = True) -> list[str]:
    mode = "trains" if trains else "plain"
    return [sys.executable, "-m", "bench.relay_udp", "--serve", f"{port},{target},{mode}"]


def ours_plain(port: int, target: int, folder: Path) -> list[str]:
    return ours(port, target, folder, trains=False)


def nginx(port: int, target: int, folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, host=HOST, port=port, target=target))
    return ["/usr/sbin/nginx", "-p", str(folder), "-c", str(config)]


def socat(port: int, target: int, _folder: Path) -> list[str]:
    options = f"reuseaddr,fork,rcvbuf={BUFFER}"
    return ["socat", "-b", "65536", f"UDP4-LISTEN:{port},{options}", f"UDP4:{HOST}:{target}"]


RELAYS: dict[str, Callable[[int, int, Path], list[str]]] = {
    "nginx stream": nginx,
    "socat": socat,
    "sekimori, one by one": ours_plain,
    "sekimori": ours,
}


@contextlib.contextmanager
def running(name: str, port: int, target: int) -> Iterator[int]:
    """The relay on processor 0; yields its process id."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["taskset", "-c", "0", *RELAYS[name](port, target, Path(folder))]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(process.pid, 9)
            process.wait()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children, ended or not (socat forks)."""
    total = 0
    group = [pid, *(int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    for member in group:
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


# -- the load -----------------------------------------------------------------


def udp_socket(address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.bind(address)
    return sock


class Drain:
    """Reads a socket to its end; counts datagrams, and sends them back when told."""

    def __init__(self, sock: socket.socket, echo: bool = False, peers: int = 1) -> None:
        self.fd = sock.fileno()
        # Segmented answers only when all go to one address.
        self.limit = 65_507 if peers == 1 else 0
        slots, calls = Slots(), open_calls()
        self.receiver = Receiver(slots, calls, 4)
        self.sender = Sender(slots, calls) if echo else None

    def __call__(self) -> int:
        total = 0
        while (count := self.receiver.receive(self.fd)) > 0:
            self.receiver.segments(0, count)
            if self.sender is not None:
                self._return(self.sender, count)
            total += count
            if count < SLOTS or total >= 16 * SLOTS:
                break
        return total

    def _return(self, sender: Sender, count: int) -> None:
        sender.lengths[:count] = self.receiver.lengths[:count]
        sizes = self.receiver.lengths[:count].tolist()
        for first, run, _ in trains(sizes, self.limit):
            name = self.receiver.name_address(first)
            sender.add(first, run, sizes[first] if run > 1 else 0, name, 16)
        sender.send(self.fd)
        sender.clear()


class Load:
    """Sends `size`-byte datagrams from `peers` sockets and counts what arrives."""

    def __init__(self, port: int, sink: socket.socket, size: int, peers: int, echo: bool) -> None:
        self.poll = select.epoll()
        self.clients = [udp_socket((HOST, 0)) for _ in range(peers)]
        for client in self.clients:
            client.connect((HOST, port))
            self.poll.register(client.fileno(), select.EPOLLIN)
        self.burst = min(SLOTS, 65_507 // size)
        self.payload = os.urandom(size) * self.burst
        self.one = self.payload[:size]
        self.control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", size))]
        self.sink = Drain(sink, echo, peers)
        self.back = self.drain_clients if echo else None
        self.drain = Drain(self.clients[0])
        self.limit = self.window = WINDOW if peers == 1 else peers
        if peers > 1:
            self.burst = peers
        self.lost_at = 0.0

    def turn(self) -> int:
        """One burst out, everything in; datagrams that arrived."""
        if self.back is None:
            self.send()
            return self.sink()
        now = time.perf_counter()
        if self.window >= self.burst:
            self.send()
            self.window -= self.burst
            self.lost_at = now + 0.02
        elif now > self.lost_at:  # a datagram was lost on the way: begin again
            self.window = self.limit
        self.sink()
        arrived = self.back()
        self.window = min(self.limit, self.window + arrived)
        return arrived

    def drain_clients(self) -> int:
        """Read what has come back; datagrams."""
        if len(self.clients) == 1:
            return self.drain()
        arrived = 0
        for fd, _ in self.poll.poll(0, PEERS):
            with contextlib.suppress(ConnectionRefusedError):  # the relay was not up yet
                os.read(fd, 2048)
                arrived += 1
        return arrived

    def send(self) -> None:
        """One burst out."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):  # the relay may lag or start late
            if len(self.clients) == 1:
                self.clients[0].sendmsg((self.payload,), self.control)
            else:
                for client in self.clients:
                    client.send(self.one)

    def run(self, seconds: float) -> tuple[int, float]:
        """Datagrams that arrived, and the seconds that took."""
        start = now = time.perf_counter()
        total = 0
        while now - start < seconds:
            total += self.turn()
            now = time.perf_counter()
        return total, now - start

    def warm(self, deadline: float) -> None:
        """Until the relay passes datagrams on."""
        while not self.turn():
            if time.monotonic() > deadline:
                raise TimeoutError("no datagram came through the relay")
            time.sleep(0.005)
        self.run(0.2)

    def close(self) -> None:
        self.poll.close()
        for client in self.clients:
            client.close()


@dataclass(frozen=True)
class Case:
    title: str
    size: int
    peers: int = 1
    echo: bool = False


CASES = (
    Case("64 B, one peer", 64),
    Case("1400 B, one peer", 1400),
    Case("64 B, one peer, echoed", 64, echo=True),
    Case("1400 B, one peer, echoed", 1400, echo=True),
    Case(f"64 B, {PEERS} peers in turn", 64, PEERS),
    Case(f"1400 B, {PEERS} peers in turn", 1400, PEERS),
    Case(f"64 B, {PEERS} peers, echoed", 64, PEERS, echo=True),
)


def measure(name: str, case: Case, seconds: float) -> tuple[float, float]:
    """(datagrams per second, CPU seconds per million datagrams)."""
    with udp_socket((HOST, 0)) as sink, udp_socket((HOST, 0)) as place:
        port = place.getsockname()[1]
        load = Load(port, sink, case.size, case.peers, case.echo)
        place.close()  # not before the clients have ports of their own
        try:
            with running(name, port, sink.getsockname()[1]) as pid:
                load.warm(time.monotonic() + 10)
                before = cpu_seconds(pid)
                count, taken = load.run(seconds)
                return count / taken, (cpu_seconds(pid) - before) / count * 1e6
        finally:
            load.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--case", help="only cases whose title has this text")
    options = parser.parse_args()
    if options.serve:
        port, target, mode = options.serve.split(",")
        serve(int(port), int(target), mode == "trains")
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one descriptor per peer, in all relays
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    present = [name for name in RELAYS if name != "socat" or shutil.which("socat")]
    print(f"{'case':34}{'relay':24}{'datagrams/s':>12}{'x nginx':>9}{'CPU-s/M':>9}{'x nginx':>9}")
    for case in CASES:
        if options.case and options.case not in case.title:
            continue
        relays = [name for name in present if name != "socat" or case.peers == 1]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in relays}
        for _ in range(options.rounds):
            for name in relays:
                found[name].append(measure(name, case, options.seconds))
        report(case, found)


def report(case: Case, found: dict[str, list[tuple[float, float]]]) -> None:
    middle = {
        name: (statistics.median(r for r, _ in runs), statistics.median(c for _, c in runs))
        for name, runs in found.items()
    }
    rate0, cpu0 = middle["nginx stream"]
    for name, (rate, cpu) in middle.items():
        print(f"{case.title:34}{name:24}{rate:12,.0f}{rate / rate0:9.2f}{cpu:9.2f}{cpu / cpu0:9.2f}")


if __name__ == "__main__":
    main()
