"""Two hundred random steps of users, others and accidents: every ten, the kernel is what the ledger is."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.ports import free_ports

from .agreement import agree, read_ledger
from .home import Home, Knock
from .raw import Raw
from .talks import fire

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR = HomeNetwork.VISITOR
STEPS, CHECKED = 200, 10
TCP, UDP = 6, 17
EXTRA = "203.0.113.7"
"""An address that the gateway has now and then."""
DAMAGE = (
    "flush ruleset",
    "delete table inet sekimori",
    "flush table inet sekimori",
    "flush map inet sekimori fwd4_all",
    "flush set inet sekimori in_all",
    "flush map inet sekimori sym4",
    "flush map inet sekimori gate_all",
    "flush chain inet sekimori inbound",
    "add element inet sekimori fwd4_all { tcp . 9 : 192.168.1.10 . 22 }",
    "add element inet sekimori own_all { tcp . 22 }",
)


class Walk:
    """What may happen, and the dice."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home, self.client, self.chance = home, home.daemon.client, random.Random(seed)
        self.first = free_ports(60)
        self.config = home.daemon.config.read_text()
        self.done: list[str] = []

    def step(self) -> None:
        """One step. One that is refused is one too: what is left must be as it was."""
        names = [name for name in vars(Walk) if name.startswith("do_")]
        weights = [
            {"do_open": 18, "do_close": 5, "do_edit": 6, "do_restart": 1}.get(name, 2) for name in names
        ]
        (name,) = self.chance.choices(names, weights)
        action: Callable[[], object] = getattr(self, name)
        try:
            action()
        except Problem as problem:
            name += f" ({problem.code})"
        self.done.append(name)

    def do_open(self) -> None:
        form, port = self.chance.randrange(8), self.first + self.chance.randrange(48)
        ports = {
            0: f"tcp/{port}",
            1: f"tcp+udp/{port}:7001",
            2: f"udp/{port}-{port + 5}",
            3: f"udp/{port}-{port + 5}:9000-9005",
            4: "gre",
        }.get(form, f"udp/{port}:7002")
        to = "self" if form == 5 else self.chance.choice([*SERVER, *DESKTOP, SERVER[0], DESKTOP[0]])
        words: dict[str, object] = {"ports": f"udp/{port}" if form == 5 else ports, "to": to, **self._terms()}
        if self.chance.random() < 0.2:
            words["on"] = self.chance.choice([GATEWAY[0], "isp", EXTRA])
        self.home.open({**words, "via": "relay" if self.chance.random() < 0.15 else "kernel"})

    def do_close(self) -> None:
        self.client.close(self._some()["id"], now=self.chance.random() < 0.5)

    def do_edit(self) -> None:
        words = self._terms()
        if self.chance.random() < 0.5:
            words["to"] = self.chance.choice([*SERVER, *DESKTOP])
        if self.chance.random() < 0.2:
            words["via"] = self.chance.choice(["relay", "kernel"])
        self.client.edit(self._some()["id"], words)

    def do_pause(self) -> None:
        view = self._some()
        self.client.edit(view["id"], {"paused": not view["paused"]})

    def do_extend(self) -> None:
        self.client.extend(self._some()["id"], {"for": self.chance.choice(["1h", "2h", "1d"])})

    def do_ban(self) -> None:
        self.client.ban(f"192.0.2.{self.chance.randrange(8) * 32}/{self.chance.choice([27, 30, 32])}")

    def do_unban(self) -> None:
        bans = self.client.bans()
        if bans:
            self.client.unban(self.chance.choice(bans)["prefix"])

    def do_gateway(self) -> None:
        if self.client.gateway()["enabled"] and self.chance.random() < 0.5:
            self.client.disable_gateway()
        else:
            self.client.enable_gateway(masquerade=True, firewall=self.chance.random() < 0.5)

    def do_list(self) -> None:
        prefix = f"198.51.100.0/{self.chance.randrange(24, 30)}"
        self.home.daemon.config.write_text(
            f"{self.config}\n[lists]\noffice = ['{prefix}', '2001:db8:1::/64']\n"
        )
        self.client.apply()

    def do_address(self) -> None:
        verb = self.chance.choice(["add", "delete"])
        device = "isp"
        with suppress(RuntimeError):  # it is there, or is not
            self.home.net.gateway.ip(f"address {verb} {EXTRA}/24 dev {device}")

    def do_damage(self) -> None:
        self.home.net.gateway.run(["nft", self.chance.choice(DAMAGE)], check=False)

    def do_restart(self) -> None:
        if self.chance.random() < 0.5:
            self.home.daemon.kill9()
            self.home.daemon.start()
        else:
            self.home.daemon.restart()

    def _some(self) -> dict[str, Any]:
        views = self.client.mappings()
        if not views:
            raise Problem("unexpected", what="nothing is open")
        found: dict[str, Any] = self.chance.choice(views)
        return found

    def _terms(self) -> dict[str, object]:
        source = self.chance.choice(["anyone", "anyone", "lan", "office", "198.51.100.0/24,2001:db8::/32"])
        return {
            "from": source,
            "limit": self.chance.choice(["none", "none", "none", "100/s"]),
            "max_connections": self.chance.choice(["none", "none", "50"]),
        }


@pytest.mark.parametrize("seed", [20261122])
def test_the_kernel_follows_the_ledger_through_anything(kernel_home: Home, seed: int) -> None:
    home, walk = kernel_home, Walk(kernel_home, seed)
    walk.do_list()
    for number in range(STEPS):
        walk.step()
        if number % CHECKED == CHECKED - 1:
            try:
                agree(home.daemon, home.net.gateway)
            except AssertionError as error:
                error.add_note(f"after {walk.done[-CHECKED:]}, step {number}")
                raise
    assert sum("(" not in each for each in walk.done) > STEPS / 2, walk.done  # the others were refused
    for _ in range(CHECKED):
        with suppress(Problem):
            walk.do_open()
    agree(home.daemon, home.net.gateway)
    for ban in home.daemon.client.bans():
        home.daemon.client.unban(ban["prefix"])
    check_each_port(home, walk)
    for view in home.daemon.client.mappings():
        home.daemon.client.close(view["id"], now=True)
    home.daemon.config.write_text(walk.config)


def check_each_port(home: Home, walk: Walk) -> None:
    """Every IPv4 forward that is open passes a visitor's first packet, to its target; no other port does."""
    expected, skipped = _expected(home)
    with ExitStack() as stack:
        hosts = {SERVER[0]: home.net.server, DESKTOP[0]: home.net.desktop}
        raws = {
            (address, number): stack.enter_context(Raw(host, address, number))
            for address, host in hosts.items()
            for number in (TCP, UDP)
        }
        for port in range(walk.first, walk.first + 60):
            fire(home.visitor, port, GATEWAY[0], 1)
            with suppress(ConnectionRefusedError):
                stack.enter_context(Knock(home.net.visitor, port, GATEWAY[0]))
            came = {
                (number, address, int.from_bytes(each.payload[2:4]))
                for (address, number), raw in raws.items()
                for each in raw.waiting()
                if each.source == VISITOR[0]
            }
            wished = {(number, *end) for number in (TCP, UDP) if (end := expected.get((number, port)))}
            assert came == wished or port in skipped, port
    assert len(expected) > 2


def _expected(home: Home) -> tuple[dict[tuple[int, int], tuple[str, int]], set[int]]:
    """Where each outside port leads the visitor to; and the ports that the relay serves."""
    standing = read_ledger(home.daemon)
    named = {each.name: each.prefixes for each in standing.lists}
    found: dict[tuple[int, int], tuple[str, int]] = {}
    relayed: set[int] = set()
    visitor = ipaddress.ip_address(VISITOR[0])
    for mapping in standing.mappings:
        if mapping.path[0].plane == "relay":
            relayed.update(port for pair in mapping.ports for port in pair.outside)
            continue
        sources = mapping.sources.resolve(named)
        may = sources is None or any(visitor in prefix for prefix in sources)
        here = str(mapping.on) in ("None", "isp", GATEWAY[0])
        if (
            may
            and here
            and mapping.wants_open(time.time())
            and mapping.target.host in (SERVER[0], DESKTOP[0])
        ):
            for pair in mapping.ports:
                for port in pair.outside if pair.protocol.has_ports else ():
                    inside = port - pair.outside.first + pair.inside.first
                    found[pair.protocol.number, port] = (mapping.target.host, inside)
    return found, relayed
