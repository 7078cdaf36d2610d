"""The daemon on a gateway with 60,000 mappings: `python -m bench.kernel_changes [--count N]`.

Restore: a daemon starts on a full ledger and an empty kernel; a clock beside it asks the kernel for the
first and the last element, and the API whether it answers. Then a start with the table still there.

`open`: one request after another through the API, each answered once its elements are in the kernel. What
is beyond the ledger's own sync is measured with the ledger in memory (tmpfs), where a sync costs nothing;
beside it the same on the disk, with the commit of one mapping to a ledger of its own.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.kernel_lab import (
    AFTER,
    BENCH,
    COUNT,
    FIRST_PORT,
    Road,
    build,
    cannot,
    fill,
    mapping,
    median,
    pss,
    quantile,
    verdict,
)
from sekimori.client import Client
from sekimori.host.nfsocket import NetfilterError, NfSocket
from sekimori.ledger.store import Ledger
from sekimori.model.address import IpProtocol
from sekimori.model.decision import Made, Verb
from sekimori.model.errors import Problem
from sekimori.model.request import Context
from sekimori.planes.kernel.frame import TABLE
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Lab
from sekimori.wire.nftelements import get_element, port_key

MEMORY = Path("/dev/shm")
WITHIN = 120.0


@dataclass
class Kernel:
    """What a gateway's kernel holds, asked element by element."""

    socket: NfSocket

    def close(self) -> None:
        self.socket.close()

    def leads(self, port: int) -> bool:
        """Whether a UDP port is forwarded."""
        try:
            self.socket.ask(get_element(TABLE, "fwd4_all", port_key(IpProtocol.UDP.number, port)))
        except NetfilterError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True


class Clock:
    """How long after a moment something came true, looked at from beside."""

    def __init__(self, condition: Callable[[], bool], every: float) -> None:
        self._condition, self._every = condition, every
        self._begun = time.perf_counter()
        self._took: float | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while time.perf_counter() - self._begun < WITHIN:
            if self._condition():
                self._took = time.perf_counter() - self._begun
                return
            time.sleep(self._every)

    def read(self) -> float:
        self._thread.join(WITHIN)
        if self._took is None:
            raise SystemExit(f"it did not come true within {WITHIN:g} s")
        return self._took


def answers(client: Client) -> bool:
    try:
        client.status()
    except Problem:
        return False
    return True


def restore(kernel: Kernel, daemon: DaemonProcess, count: int) -> tuple[float, float]:
    """Start it: seconds until the kernel has the first and the last mapping, and until the API answers."""
    last = FIRST_PORT + count - 1
    held = Clock(lambda: kernel.leads(last) and kernel.leads(FIRST_PORT), 0.005)
    ready = Clock(lambda: answers(daemon.client), 0.01)
    daemon.start()
    return held.read(), ready.read()


def restores(road: Road, kernel: Kernel, count: int, rounds: int) -> None:
    daemon = DaemonProcess(netns=road.gateway.netns)
    now = time.time()
    fill(daemon.state_dir, (mapping(index, road.inside, IpProtocol.UDP, now) for index in range(count)))
    held, ready, adopted, memory = [], [], [], []
    with closing(daemon):
        for _ in range(rounds):
            found = restore(kernel, daemon, count)
            held.append(found[0])
            ready.append(found[1])
            memory.append(pss(daemon.pid) / 1e6)
            daemon.stop()
            adopted.append(restore(kernel, daemon, count)[1])
            memory.append(pss(daemon.pid) / 1e6)
            daemon.stop()
            road.gateway.run(["nft", "delete", "table", "inet", TABLE])
    show("restore: start to the last element in the kernel, s", median(held), 2.0)
    show("restore: start to the API's answer, s", median(ready))
    show("start with the table there, to the API's answer, s", median(adopted))
    show("memory of the daemon after a start, MB (PSS)", max(memory), 250.0)


def opens(road: Road, kernel: Kernel, count: int, number: int, state: Path, where: str) -> None:
    daemon = DaemonProcess(netns=road.gateway.netns, state_dir=state / "daemon")
    now = time.time()
    fill(daemon.state_dir, (mapping(index, road.inside, IpProtocol.UDP, now) for index in range(count)))
    opened, closed, synced = [], [], []
    fields = {"to": road.inside, "from": "anyone", "via": "kernel"}
    with daemon, closing(Ledger.open(state)) as ledger:
        for index in range(number):
            port = AFTER + index
            begun = time.perf_counter()
            view = daemon.client.open({"ports": f"udp/{port}:{port - 1000}", **fields})["mappings"][0]
            opened.append((time.perf_counter() - begun) * 1e3)
            if not kernel.leads(port):
                raise SystemExit(f"udp/{port} was opened and is not in the kernel")
            one = mapping(index, road.inside, IpProtocol.UDP, now)
            begun = time.perf_counter()
            ledger.commit([Made(Verb.OPEN, None, one)], Context(BENCH, "bench"), now)
            synced.append((time.perf_counter() - begun) * 1e3)
            if index % 2:
                begun = time.perf_counter()
                daemon.client.close(view["id"], now=True)
                closed.append((time.perf_counter() - begun) * 1e3)
        memory = pss(daemon.pid) / 1e6
    goal = 5.0 if where == "in memory" else None
    show(f"`open`, ledger {where}, median, ms", median(opened))
    show(f"`open`, ledger {where}, p99, ms", quantile(opened, 0.99), goal)
    show(f"`close`, ledger {where}, p99, ms", quantile(closed, 0.99))
    show(f"commit of one mapping, ledger {where}, median, ms", median(synced))
    show(f"commit of one mapping, ledger {where}, p99, ms", quantile(synced, 0.99))
    show(f"memory of the daemon after {number:,} of them, MB (PSS)", memory, 250.0)


def show(what: str, value: float, goal: float | None = None) -> None:
    said = "" if goal is None else verdict(value, goal, at_most=True)
    print(f"  {what:64}{value:10.2f}  {said}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of mappings")
    parser.add_argument("--rounds", type=int, default=5, help="of starts")
    parser.add_argument("--opens", type=int, default=1000)
    parser.add_argument("--only", default="", help="restore or open")
    options = parser.parse_args()
    why = cannot("nft")
    if why is not None:
        print(f"cannot measure: {why}")
        return 1
    print(f"the daemon at {options.count:,} mappings")
    with Lab() as lab, ExitStack() as stack:
        road = build(lab, ("sekimori",)).roads[0]
        kernel = Kernel(stack.enter_context(road.gateway.call(NfSocket)))
        if options.only in ("", "restore"):
            restores(road, kernel, options.count, options.rounds)
        for where, place in (("in memory", MEMORY), ("on disk", None)):
            if options.only in ("", "open"):
                state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skm-", dir=place)))
                opens(road, kernel, options.count, options.opens, state, where)
                road.gateway.run(["nft", "delete", "table", "inet", TABLE])
    return 0


if __name__ == "__main__":
    sys.exit(main())
