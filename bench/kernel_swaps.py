"""Replacing mappings under new flows: `python -m bench.kernel_swaps [--count N] [--times N] [--rate N]`.

A plane of its own in the gateway's namespace applies 20,000 mappings that lead to one host, then the same
that lead to another, and back, 50 times over: elements and the flows that are cut. Meanwhile a client
outside opens 1,000 UDP flows a second, each from a socket of its own to a mapped port by chance. Each must
be answered by one of the two hosts.

A flow whose mapping changes between its question and the answer is cut, which is what is wanted; a client
asks again after 250 ms, as any does. How many had to is told. Lost is what had no answer within 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.kernel_lab import FIRST_PORT, Road, Roads, build, cannot, mapping, median, verdict
from sekimori.host.links import read_facts
from sekimori.model.address import IpProtocol
from sekimori.model.network import find_roles
from sekimori.planes.kernel.opening import open_kernel
from sekimori.planes.kernel.plane import KernelPlane
from sekimori.reconcile.ports import Changes, Ground, Wanted
from sekimori.testing.netlab import Host, Lab
from sekimori.testing.peers import eventually

COUNT: Final = 20_000
AGAIN: Final = 0.25
GIVEN_UP: Final = 2.0
ECHO: Final = 7


# -- in the gateway: the plane ----------------------------------------------------------------------


async def swap(count: int, times: int, insides: Sequence[str]) -> None:
    """Apply, say so, and once told to, replace all again and again; the seconds of each as JSON."""
    plane = await asyncio.to_thread(open_kernel)
    assert isinstance(plane, KernelPlane), plane.obstacle
    plane.reframe(find_roles(await asyncio.to_thread(read_facts)))
    plane.start()
    await plane.lay(Ground())
    await plane.observe()
    both = [_all_wanted(count, inside) for inside in insides]
    gc.freeze()
    await _apply(plane, both[0])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    took = []
    for turn in range(1, times + 1):
        begun = time.perf_counter()
        await _apply(plane, both[turn % 2])
        took.append(time.perf_counter() - begun)
    print(json.dumps({"took": took, "cpu": time.process_time()}), flush=True)
    await plane.close()


async def _apply(plane: KernelPlane, wanted: tuple[Wanted, ...]) -> None:
    failed = await plane.apply(Changes(put=wanted))
    if failed:
        raise SystemExit(f"{len(failed)} mappings could not be applied: {next(iter(failed.values()))}")


def _all_wanted(count: int, inside: str) -> tuple[Wanted, ...]:
    now = time.time()
    found = []
    for index in range(count):
        one = mapping(4 * (index // 2) + index % 2, inside, IpProtocol.UDP, now)  # those for anyone
        found.append(Wanted(one, one.lifetime.expires_at, (inside,), None, 0.0))
    return tuple(found)


# -- in the server: two hosts that answer with their names -------------------------------------------


def echo(addresses: Sequence[str]) -> None:
    poll, socks = select.epoll(), {}
    for address in addresses:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((address, ECHO))
        poll.register(sock.fileno(), select.EPOLLIN)
        socks[sock.fileno()] = sock, address.encode()
    print("ready", flush=True)
    while True:
        for fd, _ in poll.poll():
            sock, name = socks[fd]
            _, peer = sock.recvfrom(100)
            sock.sendto(name, peer)


# -- outside: flows -----------------------------------------------------------------------------------


@dataclass
class Flow:
    sock: socket.socket
    begun: float
    asked: float


@dataclass
class Client:
    """Opens flows at an even pace until told to stop, and follows each to its answer.

    Attributes:
        answers: how many each host gave.
        again: flows that had to ask more than once.
        lost: ports of flows that were not answered.
        late: flows that were begun more than 50 ms behind their time.
    """

    gateway: str
    ports: Sequence[int]
    rate: int
    stop: threading.Event = field(default_factory=threading.Event)
    opened: int = 0
    answers: dict[bytes, int] = field(default_factory=dict)
    again: int = 0
    lost: int = 0
    late: int = 0

    def run(self) -> None:
        poll, live = select.epoll(), dict[int, Flow]()
        chance, begun = random.Random(1), time.perf_counter()
        while live or not self.stop.is_set():
            now = time.perf_counter()
            while not self.stop.is_set() and begun + self.opened / self.rate <= now:
                self.late += now - (begun + self.opened / self.rate) > 0.05
                flow = self._open(chance.choice(self.ports), now)
                live[flow.sock.fileno()] = flow
                poll.register(flow.sock.fileno(), select.EPOLLIN)
            for fd, _ in poll.poll(0.5 / self.rate):
                flow = live.pop(fd)
                name = flow.sock.recv(100)
                self.answers[name] = self.answers.get(name, 0) + 1
                self.again += flow.asked != flow.begun
                flow.sock.close()
            self._look_after(live, time.perf_counter())

    def _open(self, port: int, now: float) -> Flow:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((self.gateway, port))
        sock.send(b"who are you?")
        self.opened += 1
        return Flow(sock, now, now)

    def _look_after(self, live: dict[int, Flow], now: float) -> None:
        for fd, flow in list(live.items()):
            if now - flow.begun > GIVEN_UP:
                self.lost += 1
                live.pop(fd).sock.close()
            elif now - flow.asked > AGAIN:
                flow.sock.send(b"who are you?")
                flow.asked = now


# -- together -------------------------------------------------------------------------------------------


def measure(roads: Roads, road: Road, count: int, times: int, rate: int) -> None:
    insides = [road.inside, road.inside[:-1] + "1"]
    _all_ports_answer(roads.server, insides)
    me = [sys.executable, "-m", "bench.kernel_swaps"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    numbers = ["--count", str(count), "--times", str(times)]
    with (
        roads.server.running([*me, "--echo", *insides], **pipes) as server,
        road.gateway.running([*me, "--swap", *insides, *numbers], **pipes) as plane,
    ):
        assert server.stdout is not None
        assert plane.stdin is not None
        assert plane.stdout is not None
        for said in (server.stdout, plane.stdout):
            if said.readline() != "ready\n":
                raise SystemExit("a process of the benchmark did not start")
        ports = [mapping_port(index) for index in range(count)]
        client = Client(road.outside, ports, rate)
        thread = threading.Thread(target=roads.visitor.call, args=(client.run,))
        thread.start()
        eventually(lambda: client.opened > rate / 10)
        plane.stdin.write("go\n")
        plane.stdin.flush()
        told = plane.stdout.readline()
        client.stop.set()
        thread.join()
    _report(client, json.loads(told) if told else {}, count, times)


def mapping_port(index: int) -> int:
    """The outside port of one of those (`_all_wanted`)."""
    return FIRST_PORT + 4 * (index // 2) + index % 2


def _all_ports_answer(server: Host, addresses: Sequence[str]) -> None:
    """Whatever port is asked at, the echo answers, as if from there."""
    rules = "\n".join(f"ip daddr {each} udp dport != {ECHO} dnat to {each}:{ECHO}" for each in addresses)
    chain = "type nat hook prerouting priority dstnat ;"
    server.run(["nft", "-f", "-"], text=f"table ip ports {{ chain c {{ {chain}\n{rules}\n}} \n }}\n")


def _report(client: Client, plane: dict[str, list[float]], count: int, times: int) -> None:
    if len(plane.get("took", ())) != times:
        raise SystemExit("the plane did not replace them all; see above")
    took = plane["took"]
    print(f"{times} full replacements of {count:,} mappings, {client.rate:,} new flows a second")
    print(f"  one replacement, median and longest, s              {median(took):10.2f}{max(took):10.2f}")
    shares = ", ".join(f"{number:,} by {name.decode()}" for name, number in sorted(client.answers.items()))
    print(f"  flows opened                                        {client.opened:10,}  ({shares})")
    print(f"  cut between question and answer, so asked again     {client.again:10,}")
    print(f"  begun more than 50 ms late                          {client.late:10,}")
    print(
        f"  lost                                                {client.lost:10,}"
        f"  {verdict(client.lost, 0, at_most=True)}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of mappings")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1000, help="new flows a second")
    parser.add_argument("--swap", nargs=2, metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--echo", nargs=2, metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.swap:
        asyncio.run(swap(options.count, options.times, options.swap))
        return 0
    if options.echo:
        echo(options.echo)
        return 0
    why = cannot("nft")
    if why is not None:
        print(f"cannot measure: {why}")
        return 1
    with Lab() as lab:
        roads = build(lab, ("sekimori",))
        measure(roads, roads.roads[0], options.count, options.times, options.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
