"""What 60,000 mappings cost a packet: `python -m bench.kernel_packets [--count N] [--rounds N]`.

First packets: UDP datagrams, each from a source port of its own to a mapped port by chance, so each makes a
flow. What is timed is the sending call, within which the packet crosses the visitor's stack and the gateway
up to a LAN that swallows it. Beside us, in turns: a gateway with an empty chain for inbound NAT, which
tracks and routes; one hand-written rule for all ports; a hand-written hash map; and a hand-written rule for
each port. Every one of them masquerades what its LAN sends out, without which the kernel would track nothing.

Throughput: iperf3 through the gateway with 60,000 mappings, beside one with a single hand-written rule for
that port; and small datagrams of a flow that stands. No flowtable on either side.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial

from bench.kernel_lab import (
    COUNT,
    FIRST_PORT,
    Road,
    Roads,
    Volley,
    all_forwarded,
    build,
    cannot,
    fill,
    in_turns,
    mapping,
    median,
    new_flows,
    verdict,
)
from sekimori.model.address import IpProtocol
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host, Lab

IPERF = 5201
"""Its mapping keeps the port (`mapping`)."""
FLOWS = 20_000
FLOWS_OF_RULES = 400
"""First packets to a gateway with a rule for each port, each of which takes milliseconds."""
DATAGRAMS = 200_000

OURS, EMPTY, ONE, MAP, RULES = "sekimori", "empty chain", "one rule", "map by hand", "a rule each, by hand"


def table(name: str, inside: str, count: int) -> str:
    """What somebody would write by hand, for nft."""
    ports, rules, elements = range(FIRST_PORT, FIRST_PORT + count), "", ""
    match name:
        case "one rule":
            rules = f'iifname "wan" meta l4proto {{ tcp, udp }} dnat to {inside}'
        case "map by hand":
            elements = ",\n".join(f"{port} : {inside} . {port}" for port in ports)
            rules = 'iifname "wan" dnat ip to udp dport map @at'
        case "a rule each, by hand":
            rules = "\n".join(f'iifname "wan" udp dport {port} dnat to {inside}:{port}' for port in ports)
    filled = f"elements = {{ {elements} }}" if elements else ""
    return f"""
table ip nat {{
    map at {{ type inet_service : ipv4_addr . inet_service ; {filled} }}
    chain prerouting {{
        type nat hook prerouting priority dstnat ; policy accept ;
        {rules}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat ; policy accept ;
        iifname "home" oifname "wan" masquerade
    }}
}}
"""


@contextlib.contextmanager
def ours(road: Road, count: int) -> Iterator[DaemonProcess]:
    """Our daemon on a gateway, with so many UDP mappings."""
    daemon = DaemonProcess(netns=road.gateway.netns)
    now = time.time()
    fill(daemon.state_dir, (mapping(index, road.inside, IpProtocol.UDP, now) for index in range(count)))
    with daemon:
        yield daemon


def prepare(stack: ExitStack, roads: Sequence[Road], count: int) -> None:
    for road in roads:
        if road.name == OURS:
            daemon = stack.enter_context(ours(road, count))
            daemon.client.enable_gateway(masquerade=True, firewall=False)
            fields = {"ports": f"tcp/{IPERF}", "to": road.inside, "from": "anyone", "via": "kernel"}
            daemon.client.open(fields)
        else:
            road.gateway.run(["nft", "-f", "-"], text=table(road.name, road.inside, count), timeout=120)


# -- first packets ---------------------------------------------------------------------------------


def first_packets(count: int, rounds: int) -> None:
    with Lab() as lab, ExitStack() as stack:
        roads = build(lab, (EMPTY, ONE, MAP, OURS, RULES), serve=False)
        prepare(stack, roads.roads, count)
        found: dict[str, list[float]] = {road.name: [] for road in roads.roads}
        volleys = [(road, _first_volley(stack, roads.visitor, road, count)) for road in roads.roads]
        in_turns(rounds, [partial(_fire_first, road, *volley, found) for road, volley in volleys])
    base = median(found[EMPTY])
    print(f"time of a first packet at {count:,} mappings, µs (x an empty chain's)")
    for name, times in found.items():
        goal = verdict(median(times) / base, 2.0, at_most=True) if name == OURS else ""
        print(f"  {name:24}{median(times) * 1e6:10.2f}  x {median(times) / base:8.2f}  {goal}", flush=True)


def _first_volley(stack: ExitStack, visitor: Host, road: Road, count: int) -> tuple[Volley, int]:
    number = FLOWS_OF_RULES if road.name == RULES else FLOWS
    # Nothing is translated where the chain is empty, so there the packets say where they want to go.
    to = road.inside if road.name == EMPTY else road.outside
    return stack.enter_context(closing(Volley(visitor, to, new_flows(number, count)))), number


def _fire_first(road: Road, volley: Volley, number: int, found: dict[str, list[float]]) -> None:
    road.forget_flows()
    before = road.forwarded()
    found[road.name].append(volley.fire() / number)
    all_forwarded(road, before, number)
    tracked = int(road.gateway.run(["conntrack", "-C"]).stdout)
    if tracked < number:
        raise SystemExit(f"{road.name}: of {number} flows, {tracked} are tracked")


# -- flows that stand --------------------------------------------------------------------------------


def throughput(count: int, rounds: int, seconds: int) -> None:
    with Lab() as lab, ExitStack() as stack:
        roads = build(lab, (ONE, OURS))
        prepare(stack, roads.roads, count)
        stack.enter_context(
            roads.server.running(["iperf3", "-s", "-p", str(IPERF)], stdout=subprocess.DEVNULL)
        )
        found: dict[str, dict[str, list[float]]] = {road.name: {} for road in roads.roads}
        for streams in (1, 8):
            what = f"TCP, {streams} stream(s), Gbit/s"
            in_turns(
                rounds, [partial(_iperf, roads, road, streams, seconds, found, what) for road in roads.roads]
            )
        what = "UDP, 26 bytes, datagrams/s"
        with closing(_listening(roads.server)) as service:
            stands = [(road, _standing(stack, roads.visitor, road, service)) for road in roads.roads]
            in_turns(rounds, [partial(_fire_standing, road, volley, found, what) for road, volley in stands])
    print(f"throughput through NAT at {count:,} mappings (x one hand-written rule's)")
    for what, values in found[OURS].items():
        mine, other = median(values), median(found[ONE][what])
        goal = verdict(mine / other, 0.98, at_most=False)
        print(f"  {what:28}{mine:14,.2f}{other:14,.2f}  x {mine / other:5.3f}  {goal}", flush=True)


def _iperf(
    roads: Roads, road: Road, streams: int, seconds: int, found: dict[str, dict[str, list[float]]], what: str
) -> None:
    command = ["iperf3", "-c", road.outside, "-p", str(IPERF), "-P", str(streams), "-J", "-t", str(seconds)]
    for _ in range(20):  # the server takes one test at a time and needs a moment between two
        done = roads.visitor.run(command, check=False, timeout=seconds + 20)
        result = json.loads(done.stdout or "{}")
        if "end" in result and "sum_received" in result["end"]:
            rate = result["end"]["sum_received"]["bits_per_second"] / 1e9
            found[road.name].setdefault(what, []).append(rate)
            return
        time.sleep(0.1)
    raise SystemExit(f"{road.name}: iperf3 did not get through: {result.get('error')}")


def _listening(server: Host) -> socket.socket:
    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", IPERF))
        sock.settimeout(5)
        return sock

    return server.call(bind)


def _standing(stack: ExitStack, visitor: Host, road: Road, service: socket.socket) -> Volley:
    """Datagrams of a flow that was answered once. Later ones stay in the service's queue, soon full."""

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.connect((road.outside, IPERF))
        return sock

    sock = stack.enter_context(closing(visitor.call(connect)))
    sock.send(b"hello")
    data, peer = service.recvfrom(100)
    service.sendto(data, peer)
    assert sock.recv(100) == b"hello"
    ports = [(sock.getsockname()[1], IPERF)] * DATAGRAMS
    return stack.enter_context(closing(Volley(visitor, road.outside, ports)))


def _fire_standing(road: Road, volley: Volley, found: dict[str, dict[str, list[float]]], what: str) -> None:
    before = road.forwarded()
    rate = DATAGRAMS / volley.fire()
    all_forwarded(road, before, DATAGRAMS)
    found[road.name].setdefault(what, []).append(rate)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of mappings")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each iperf3 test")
    parser.add_argument("--only", default="", help="first or throughput")
    options = parser.parse_args()
    why = cannot("nft", "iperf3", "conntrack")
    if why is not None:
        print(f"cannot measure: {why}")
        return 1
    if options.only in ("", "first"):
        first_packets(options.count, options.rounds)
    if options.only in ("", "throughput"):
        throughput(options.count, options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
