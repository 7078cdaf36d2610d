"""The kernel's mappings without their daemon, after its restart, and when others meddle with the ruleset."""

from __future__ import annotations

import functools
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import DEADLINE, Transfer, eventually
from sekimori.testing.ports import free_ports

from .agreement import agree, table_text
from .home import Home, Knock
from .talks import Talk, fire, go_on, have_ended, talk

pytestmark = pytest.mark.netns

GATEWAY, SERVER = HomeNetwork.GATEWAY, HomeNetwork.SERVER
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
WITHIN = 3.0
"""Seconds in which damage is mended: a tenth of one on an idle machine."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


class Place:
    """A mapping of every kind that elements have, to echoes on the server, for the visitor only."""

    def __init__(self, home: Home, family: int, **words: object) -> None:
        self.home, self.family = home, family
        self.port = free_ports()
        home.server.tcp_echo(SERVER[family], self.port)
        self.udp = home.server.udp_echo(SERVER[family], self.port)
        self.address = (GATEWAY[0], SERVER[1])[family]
        fields = {"ports": f"tcp+udp/{self.port}", "to": SERVER[family], "from": VISITOR[family], **words}
        self.view = home.open(fields)

    def talks(self, stack: ExitStack) -> list[Talk]:
        """Conversations of the visitor's."""
        end, host = (self.address, self.port), self.home.net.visitor
        made = [talk(stack, kind, host, (VISITOR[self.family], 0), end) for kind in ("tcp", "udp")]
        assert go_on(made)
        return made

    def admits(self) -> bool:
        """Whether the visitor is let in anew, and the stranger is not."""
        seen = len(self.udp.seen)
        fire(self.home.stranger, self.port, self.address, 1)
        with Knock(self.home.net.stranger, self.port, self.address) as knock:
            is_in = self.home.visitor.accepts(self.port, self.address)
            return is_in and not knock.is_answered and len(self.udp.seen) == seen

    def is_closed(self) -> bool:
        """Whether the visitor's newcomers do not reach the server."""
        seen = len(self.udp.seen)
        fire(self.home.visitor, self.port, self.address, 1)
        try:
            with Knock(self.home.net.visitor, self.port, self.address) as knock:
                return not knock.is_accepted(0.2) and len(self.udp.seen) == seen
        except ConnectionRefusedError:
            return True


@contextmanager
def dead(home: Home, how: int = signal.SIGKILL) -> Iterator[None]:
    """While the daemon is not there."""
    if how == signal.SIGKILL:
        home.daemon.kill9()
    else:
        assert home.daemon.stop() == 0
    try:
        yield
    finally:
        home.daemon.start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_without_a_daemon_all_goes_on_and_ends_on_its_second(kernel_home: Home, how: int) -> None:
    home, client = kernel_home, kernel_home.daemon.client
    client.enable_gateway(masquerade=True, firewall=True)
    stays = [Place(home, family) for family in (0, 1)]
    leases = [Place(home, family, **{"for": "4s"}) for family in (0, 1)]
    ends = time.time() + 4
    client.ban("198.51.100.99", {"for": "4s"})
    client.ban(STRANGER[0])
    with ExitStack() as stack:
        going = [each for place in stays for each in place.talks(stack)]
        ending = [each for place in leases for each in place.talks(stack)]
        with dead(home, how):
            assert all(place.admits() for place in (*stays, *leases))
            assert go_on([*going, *ending])
            eventually(lambda: all(place.is_closed() for place in leases), DEADLINE, 0.05)
            assert abs(time.time() - ends) < 1
            eventually(lambda: "198.51.100.99" not in bans(home))
            assert STRANGER[0] in bans(home)
            assert all(place.admits() for place in stays)
            assert go_on([*going, *ending]), "flows are cut by a daemon"
        assert have_ended(ending)
        assert go_on(going)
    agree(home.daemon, home.net.gateway)


def bans(home: Home) -> str:
    return home.net.gateway.run(["nft", "list", "set", "inet", "sekimori", "bans4"]).stdout


def test_a_restart_touches_no_element_and_counts_on(kernel_home: Home) -> None:
    home = kernel_home
    places = [Place(home, family, limit="100/min") for family in (0, 1)]
    ranges = free_ports(5)
    home.open({"ports": f"tcp/{ranges}-{ranges + 4}", "to": SERVER[0], "from": "anyone", "for": "1h"})
    assert all(place.admits() for place in places)
    before = [home.counters(place.view) for place in places]
    with home.net.gateway.running(["nft", "monitor", "elements"], stdout=subprocess.PIPE, text=True) as told:
        with dead(home):
            assert all(place.admits() for place in places)
        home.open({"ports": f"udp/{free_ports()}", "to": SERVER[0], "from": "anyone", "name": "marker"})
        assert told.stdout is not None
        heard = []
        while "fwd4_all" not in (line := told.stdout.readline()):
            heard.append(line)
    assert [line for line in heard if any(f"{each.port}" in line for each in places)] == []
    assert [line for line in heard if f"{ranges}" in line] == []
    after = [home.counters(place.view) for place in places]
    for early, late in zip(before, after, strict=True):
        assert late["flows_total"] == 2 * early["flows_total"] > 0
        assert late["bytes_in"] > early["bytes_in"] > 0
    agree(home.daemon, home.net.gateway)


EARLIER = """
add chain inet sekimori guard { type filter hook prerouting priority -301 ; policy accept ; }
add chain inet sekimori wanmark { type filter hook prerouting priority -151 ; policy accept ; }
add chain inet sekimori helpers { type filter hook prerouting priority -110 ; policy accept ; }
add chain inet sekimori wanmark_out { type route hook output priority -151 ; policy accept ; }
add chain inet sekimori forward { type filter hook forward priority -10 ; policy accept ; }
add chain inet sekimori input { type filter hook input priority -10 ; policy accept ; }
flush chain inet sekimori inbound
add rule inet sekimori inbound ct direction reply accept
add rule inet sekimori inbound ct state new tcp flags & (fin | syn | rst | ack) != syn jump ended
add rule inet sekimori inbound ct status ! confirmed ip daddr vmap @gatew4
add rule inet sekimori inbound ct status ! confirmed ip6 daddr vmap @gatew6
add rule inet sekimori inbound ct status ! confirmed iifname != @lan ip6 daddr @lan6 jump holegates
add rule inet sekimori inbound ip daddr vmap @inw4
add rule inet sekimori inbound ip6 daddr vmap @inw6
add rule inet sekimori inbound iifname != @lan ip6 daddr @lan6 goto holes
delete chain inet sekimori newcomers
flush chain inet sekimori admit
add rule inet sekimori admit ct state new ct label set 120
add rule inet sekimori admit accept
flush chain inet sekimori dstnat
add rule inet sekimori dstnat ip daddr vmap @natw4
add rule inet sekimori dstnat ip6 daddr vmap @natw6
flush chain inet sekimori outbound
add rule inet sekimori outbound ct direction original accept
add rule inet sekimori outbound ip saddr vmap @outw4
add rule inet sekimori outbound ip6 saddr vmap @outw6
add rule inet sekimori outbound ip6 saddr @lan6 goto holesout
"""
"""What makes of the table of a gateway without a firewall the one that the first version had."""


def test_the_table_of_an_earlier_version_is_taken_over_under_its_flows(kernel_home: Home) -> None:
    home, gateway = kernel_home, kernel_home.net.gateway
    places = [Place(home, family) for family in (0, 1)]
    agree(home.daemon, gateway)
    before = table_text(gateway)
    with ExitStack() as stack:
        talks = [each for place in places for each in place.talks(stack)]
        with dead(home):
            gateway.run(["nft", "-f", "-"], text=EARLIER)
            assert all(place.admits() for place in places)
            talks += [each for place in places for each in place.talks(stack)]
            transfers = [Transfer(home.visitor.dial(place.port, place.address)) for place in places]
            counted = [_packets_in(gateway, place) for place in places]
            assert table_text(gateway) != before
        agree(home.daemon, gateway)
        eventually(lambda: sorted(table_text(gateway).split("\n")) == sorted(before.split("\n")))
        blocks = [each.blocks for each in transfers]
        eventually(lambda: all(each.blocks > was for each, was in zip(transfers, blocks, strict=True)))
        assert all(each.finish() for each in transfers)
        assert go_on(talks)
    assert all(
        home.counters(place.view)["packets_in"] > was for place, was in zip(places, counted, strict=True)
    )
    assert all(place.admits() for place in places)


def _packets_in(gateway: Host, place: Place) -> int:
    """What the kernel counted of TCP into a place, while no daemon tells it."""
    key = (f"in_all {{ tcp . {place.port} }}", f"hole {{ tcp . {SERVER[1]} . {place.port} }}")[place.family]
    told = gateway.run(["nft", "get", "element", "inet", "sekimori", *key.split(" ")]).stdout
    found = re.search(r"counter packets (\d+)", told)
    assert found, told
    return int(found[1])


MEDDLING = {
    "flush ruleset": "flush ruleset",
    "delete table": "delete table inet sekimori",
    "flush table": "flush table inet sekimori",
    "flush chain": "flush chain inet sekimori inbound",
    "flush a map": "flush map inet sekimori fwd4_all",
    "flush a counting set": "flush set inet sekimori in_all",
    "flush the pinholes": "flush set inet sekimori hole",
    "flush what gates": "flush map inet sekimori gate_all\nflush map inet sekimori holegate",
    "flush addresses": "flush map inet sekimori natw4\nflush map inet sekimori inw4\n"
    "flush set inet sekimori lan6",
    "flush a policy": "flush chain inet sekimori {chain}\nflush set inet sekimori {chain}_4",
    "delete elements": "delete element inet sekimori fwd4_all {{ tcp . {port} }}\n"
    "delete element inet sekimori in_all {{ udp . {port} }}",
    "add elements": "add element inet sekimori fwd4_all {{ tcp . 9 : 192.168.1.10 . 22 }}\n"
    "add element inet sekimori in_all {{ tcp . 9 }}\n"
    "add element inet sekimori hole {{ tcp . 2001:db8:3::10 . 22 }}",
    "turn an element": "delete element inet sekimori fwd4_all {{ tcp . {port} }}\n"
    "add element inet sekimori fwd4_all {{ tcp . {port} : 192.168.1.11 . 22 }}",
}


@pytest.mark.parametrize("what", MEDDLING)
def test_what_others_do_to_the_table_is_mended_and_flows_live_on(kernel_home: Home, what: str) -> None:
    home, gateway = kernel_home, kernel_home.net.gateway
    places = [Place(home, family) for family in (0, 1)]
    home.open({"ports": f"udp/{free_ports()}:7", "to": SERVER[0], "from": "lan", "for": "1h"})
    gateway.run(["nft", "-f", "-"], text="add table inet other\nadd chain inet other theirs\n")
    before = table_text(gateway)
    chain = next(
        line.split()[1]
        for line in before.splitlines()
        if line.strip().startswith("chain src_") and "src_lan" not in line
    )
    agree(home.daemon, home.net.gateway)
    with ExitStack() as stack:
        talks = [each for place in places for each in place.talks(stack)]
        transfers = [Transfer(home.visitor.dial(place.port, place.address)) for place in places]
        eventually(lambda: all(each.blocks > 2 for each in transfers))
        gateway.run(["nft", "-f", "-"], text=MEDDLING[what].format(port=places[0].port, chain=chain) + "\n")
        began = time.monotonic()
        agree(home.daemon, gateway, WITHIN)
        eventually(lambda: sorted(table_text(gateway).split("\n")) == sorted(before.split("\n")), WITHIN)
        assert time.monotonic() - began < WITHIN
        blocks = [each.blocks for each in transfers]
        eventually(lambda: all(each.blocks > was for each, was in zip(transfers, blocks, strict=True)))
        assert all(each.finish() for each in transfers)
        assert go_on(talks)
    assert all(place.admits() for place in places)
    theirs = gateway.run(["nft", "list", "tables"]).stdout
    assert ("inet other" in theirs) == (what != "flush ruleset")
    if what != "flush ruleset":
        gateway.run(["nft", "delete", "table", "inet", "other"])


def test_when_nothing_needs_it_nothing_is_left(kernel_home: Home) -> None:
    home, gateway, client = kernel_home, kernel_home.net.gateway, kernel_home.daemon.client
    rules = [gateway.run(["ip", family, "rule"]).stdout for family in ("-4", "-6")]
    for words in ({"for": "1h"}, {"on": "isp"}, {"limit": "3/min", "log": True}, {"from": "lan"}):
        place = Place(home, 0, **words)
        client.close(place.view["id"], now=True)
        assert gateway.run(["nft", "list", "tables"]).stdout == ""
    client.ban(STRANGER[0])
    assert "inet sekimori\n" in gateway.run(["nft", "list", "tables"]).stdout
    client.unban(STRANGER[0])
    assert gateway.run(["nft", "list", "tables"]).stdout == ""
    client.enable_gateway(masquerade=True, firewall=True)
    assert "inet sekimori_keeper" in gateway.run(["nft", "list", "tables"]).stdout
    client.disable_gateway()
    assert gateway.run(["nft", "list", "tables"]).stdout == ""
    assert [gateway.run(["ip", family, "rule"]).stdout for family in ("-4", "-6")] == rules


def test_killed_in_the_middle_of_changes_the_next_start_makes_it_right(kernel_home: Home) -> None:
    home, client = kernel_home, kernel_home.daemon.client
    chance, stop = random.Random(7), threading.Event()
    ports = free_ports(50)

    def change(numbers: Iterable[int]) -> None:
        for number in numbers:
            if stop.is_set():
                return
            name, source = f"m{number % 50}", ("anyone", "lan", "198.51.100.0/24")[number % 3]
            words = {
                "ports": f"tcp/{ports + number % 50}",
                "to": SERVER[number % 2],
                "name": name,
                "from": source,
            }
            try:
                if number // 50 % 2:
                    client.close(name, now=bool(number % 2))
                else:
                    home.open({**words, "limit": "9/min" if number % 4 == 0 else "none"})
            except (Problem, OSError):
                continue  # it was closed already, or the daemon is killed under it

    for _ in range(6):
        stop.clear()
        worker = threading.Thread(target=change, args=[iter(range(chance.randrange(1000), 9999))])
        worker.start()
        revision = client.history(limit=1)[0]["number"] + chance.randrange(2, 30)
        eventually(functools.partial(_has_come_to, home, revision))
        home.daemon.kill9()
        stop.set()
        worker.join(DEADLINE)
        home.daemon.start()
        agree(home.daemon, home.net.gateway)


def _has_come_to(home: Home, revision: int) -> bool:
    return bool(home.daemon.client.history(limit=1)[0]["number"] >= revision)


def test_newcomers_are_let_in_again_within_a_second_of_a_foreign_flush(kernel_home: Home) -> None:
    home, gateway = kernel_home, kernel_home.net.gateway
    home.daemon.client.enable_gateway(masquerade=True, firewall=True)
    place = Place(home, 0)
    took: list[tuple[float, float]] = []
    for _ in range(5):
        agree(home.daemon, gateway)
        assert place.admits()
        starved = _waited_for_cpu(home.daemon.pid)
        began = time.monotonic()
        gateway.run(["nft", "flush", "ruleset"])
        eventually(lambda: _is_answered(home, place, _NEWCOMER), DEADLINE, 0)
        took.append((time.monotonic() - began, _waited_for_cpu(home.daemon.pid) - starved))
    told = ", ".join(f"{lasted:.3f} s ({waited:.3f} s without a CPU)" for lasted, waited in took)
    print(f"let in again after {told}")
    # What the daemon spent in the queue for a CPU is the machine's load, and no delay of its own.
    assert all(lasted - waited < 1 for lasted, waited in took), told


_NEWCOMER = 0.01
"""Seconds that a newcomer waits for an answer, which takes less than one thousandth."""


def _is_answered(home: Home, place: Place, within: float) -> bool:
    """Whether a new flow of one datagram is answered at once."""
    sock = home.visitor.datagrams(place.port, place.address).sock
    with closing(sock):
        sock.settimeout(within)
        try:
            sock.send(b"new")
            return sock.recv(16) == b"new"
        except (TimeoutError, ConnectionRefusedError):
            return False


def _waited_for_cpu(pid: int) -> float:
    """Seconds that threads of a process were ready to run and did not (see sched-stats.rst of the kernel)."""
    waits = [int(each.read_text().split()[1]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(waits) / 1e9
