"""A gateway with two lines: replies leave by the line that their flow came in by, whatever carries it.

Each provider drops what does not come from its own customer line, so a reply by the wrong one is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Lab, TwoWans, two_wans, why_not
from sekimori.testing.peers import Peers, Talker, eventually
from sekimori.testing.ports import free_ports

from .home import Knock, clear, filter_bridged

pytestmark = pytest.mark.netns

SERVER, DESKTOP, VISITOR = TwoWans.SERVER, TwoWans.DESKTOP, TwoWans.VISITOR
LINES = (TwoWans.WAN_A, TwoWans.WAN_B)
NEW_A = "203.0.113.77"
"""What provider A gives in the place of `WAN_A`."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@dataclass(frozen=True)
class Office:
    """The network of two lines, the daemon on its gateway, and peers."""

    net: TwoWans
    daemon: DaemonProcess
    visitor: Peers
    server: Peers
    desktop: Peers
    here: Peers

    def open(self, fields: dict[str, object]) -> dict[str, Any]:
        """Open a mapping on the gateway; its view."""
        asked = {"via": "kernel", "from": "anyone", **fields}
        view: dict[str, Any] = self.daemon.client.open(asked)["mappings"][0]
        return view

    def is_reached(self, port: int, address: str, protocols: str = "tcp+udp") -> bool:
        """Whether the visitor talks with an echo, by every protocol that is named."""
        if "udp" in protocols and self.visitor.datagrams(port, address).ask(b"?") != b"?":
            return False
        return "tcp" not in protocols or self.visitor.dial(port, address).says_back(b"x" * 50_000)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[TwoWans, DaemonProcess]]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        net = two_wans(lab)
        filter_bridged(net.gateway, False)
        with DaemonProcess("[relay]\nworkers = 1\n", netns=net.gateway.netns) as daemon:
            yield net, daemon


@pytest.fixture
def office(running: tuple[TwoWans, DaemonProcess]) -> Iterator[Office]:
    net, daemon = running
    with (
        Peers(net.visitor.call) as visitor,
        Peers(net.server.call) as server,
        Peers(net.desktop.call) as desktop,
        Peers(net.gateway.call) as here,
    ):
        yield Office(net, daemon, visitor, server, desktop, here)
        clear(daemon)


@families
@pytest.mark.parametrize("form", ["exact", "shifted", "range"])
def test_a_forward_is_reached_by_each_line(office: Office, form: str, family: int) -> None:
    port = free_ports(2)
    inside = port + 1 if form == "shifted" else port
    tcp, udp = office.server.tcp_echo(SERVER[family], inside), office.server.udp_echo(SERVER[family], inside)
    ports = f"tcp+udp/{port}-{port + 1}" if form == "range" else f"tcp+udp/{port}:{inside}"
    ons = [line[1] for line in LINES] if family else [None]
    for on in ons:  # without one, an IPv6 mapping of equal ports is a pinhole
        office.open({"ports": ports, "to": SERVER[family], **({"on": on} if on else {})})
    for line in LINES:
        assert office.is_reached(port, line[family])
    assert {address for address, _ in (*tcp.seen, *udp.seen)} == {VISITOR[family]}


def test_a_pinhole_is_reached_by_the_line_its_prefix_is_routed_by(office: Office) -> None:
    port = free_ports()
    office.server.tcp_echo(SERVER[1], port), office.server.udp_echo(SERVER[1], port)
    office.daemon.client.enable_gateway(firewall=True)
    office.open({"ports": f"tcp+udp/{port}", "to": SERVER[1]})
    assert office.is_reached(port, SERVER[1])


@families
@pytest.mark.parametrize("wall", [False, True], ids=["open", "firewall"])
@pytest.mark.parametrize("via", ["kernel", "relay"])
def test_what_this_machine_itself_serves_is_reached_by_each_line(
    office: Office, via: str, wall: bool, family: int
) -> None:
    """A permit, and the listener of a relay: their replies are routed where they are made."""
    port = free_ports()
    if wall:
        office.daemon.client.enable_gateway(firewall=True)
    if via == "kernel":
        office.here.tcp_echo("::" if family else "0.0.0.0", port)
        for line in LINES:
            office.here.udp_echo(line[family], port)
        office.open({"ports": f"tcp+udp/{port}", "to": "self"})
    else:
        office.server.tcp_echo(SERVER[0], port), office.server.udp_echo(SERVER[0], port)
        office.open({"ports": f"tcp+udp/{port}", "to": SERVER[0], "via": "relay"})
    for line in LINES:
        assert office.is_reached(port, line[family])


@families
@pytest.mark.parametrize("on", ["interface", "address"])
def test_on_one_line_the_other_does_not_serve(office: Office, on: str, family: int) -> None:
    port = free_ports()
    office.server.tcp_echo(SERVER[family], 7001), office.server.udp_echo(SERVER[family], 7001)
    place = "wan_b" if on == "interface" else TwoWans.WAN_B[family]
    office.open({"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "on": place})
    assert office.is_reached(port, TwoWans.WAN_B[family])
    with pytest.raises(ConnectionRefusedError):
        office.visitor.dial(port, TwoWans.WAN_A[family])


def test_each_line_may_lead_elsewhere(office: Office) -> None:
    port = free_ports()
    office.server.tcp_echo(SERVER[0], 7001, b"server"), office.desktop.tcp_echo(DESKTOP[0], 7001, b"office")
    office.open({"ports": f"{port}:7001", "to": SERVER[0], "on": "wan_a"})
    office.open({"ports": f"{port}:7001", "to": DESKTOP[0], "on": "wan_b"})
    assert office.visitor.dial(port, TwoWans.WAN_A[0]).exactly(6) == b"server"
    assert office.visitor.dial(port, TwoWans.WAN_B[0]).exactly(6) == b"office"


def test_hairpin_by_the_address_of_each_line(office: Office) -> None:
    port = free_ports()
    office.server.tcp_echo(SERVER[0], 7001)
    office.open({"ports": f"{port}:7001", "to": SERVER[0]})
    for line in LINES:
        assert office.desktop.dial(port, line[0]).says_back(b"from inside")
        assert office.here.dial(port, line[0]).says_back(b"from the gateway")


def test_the_lan_goes_out_by_the_preferred_line(office: Office) -> None:
    echo = office.visitor.tcp_echo(VISITOR[0])
    office.daemon.client.enable_gateway(firewall=True)
    assert office.desktop.dial(echo.port, VISITOR[0]).says_back(b"x" * 50_000)
    assert {address for address, _ in echo.seen} == {TwoWans.WAN_A[0]}


@pytest.mark.parametrize("to", [SERVER[0], "self"], ids=["forward", "permit"])
def test_the_reset_of_a_killed_flow_leaves_by_its_line(office: Office, to: str) -> None:
    port = free_ports()
    peers, address = (office.here, "0.0.0.0") if to == "self" else (office.server, to)
    peers.tcp_echo(address, port)
    view = office.open({"ports": f"tcp/{port}", "to": to})
    by_b = office.visitor.dial(port, TwoWans.WAN_B[0])
    assert by_b.says_back(b"before")
    assert office.daemon.client.kill(view["name"]) == 1
    with pytest.raises(ConnectionResetError):
        speak(by_b)


def speak(talker: Talker) -> None:
    """Say something and wait for an answer; a late acknowledgement may have been reset already."""
    talker.send(b"after")
    talker.exactly(1)


@pytest.mark.parametrize("via", ["kernel", "relay"])
def test_nothing_is_left_when_the_last_mapping_goes(office: Office, via: str) -> None:
    """Neither the table, nor the routes and rules by which replies leave by their line."""
    view = office.open({"ports": f"tcp/{free_ports()}", "to": SERVER[0], "via": via})
    assert left(office) == ({"sekimori", "sekimori_keeper"}, 4)
    office.daemon.client.close(view["id"], now=True)
    eventually(lambda: left(office) == (set(), 0))


def left(office: Office) -> tuple[set[str], int]:
    """The nftables tables of the gateway, and how many routing rules there are for marked packets."""
    tables = office.net.gateway.run(["nft", "list", "tables"]).stdout.split()
    rules = [office.net.gateway.run(["ip", family, "rule"]).stdout for family in ("-4", "-6")]
    return set(tables[2::3]), sum(text.count("fwmark") for text in rules)


def counted(office: Office, name: str) -> dict[str, int]:
    """Packets by element of a map, as the kernel has them: an element that is made anew begins at 0."""
    listed = office.net.gateway.run(["nft", "-j", "list", "map", "inet", "sekimori", name]).stdout
    found = next(each["map"] for each in json.loads(listed)["nftables"] if "map" in each)
    return {
        json.dumps(key["elem"]["val"]): key["elem"]["counter"]["packets"] for key, _ in found.get("elem", [])
    }


def test_another_address_serves_within_a_second_and_nothing_else_is_disturbed(office: Office) -> None:
    """As a provider does it overnight: the line is without an address, and then it has another."""
    port = free_ports()
    office.server.tcp_echo(SERVER[0], 7001), office.server.udp_echo(SERVER[0], 7001)
    office.open({"ports": f"tcp+udp/{port}:7001", "to": SERVER[0]})
    by_b = office.visitor.dial(port, TwoWans.WAN_B[0])
    assert by_b.says_back(b"before")
    stream = office.visitor.datagrams(port, TwoWans.WAN_B[0])
    assert office.is_reached(port, TwoWans.WAN_A[0])
    before = counted(office, "fwd4_all")
    assert sum(before.values()) == 3, "flows: one by B, two by A"
    transfer = office.visitor.transfer(by_b)
    gateway, a = office.net.gateway, TwoWans.WAN_A[0]

    def move(old: str, new: str) -> None:
        gateway.ip(
            f"address del {old}/24 dev wan_a",
            f"address add {new}/24 dev wan_a",
            f"route add default via {TwoWans.PROVIDER_A[0]} metric 100",
        )

    move(a, NEW_A)
    try:
        eventually(lambda: _connects(office, port, NEW_A), deadline=1.0)
        assert office.is_reached(port, NEW_A)
        assert stream.ask(b"goes on") == b"goes on"
        blocks = transfer.blocks
        eventually(lambda: transfer.blocks > blocks)
        assert transfer.finish() > 0
        after = counted(office, "fwd4_all")
        assert after.keys() == before.keys()
        assert all(after[key] >= before[key] for key in before)
        assert sum(after.values()) > sum(before.values())
    finally:
        move(NEW_A, a)
        eventually(lambda: _connects(office, port, a))


def _connects(office: Office, port: int, address: str) -> bool:
    with Knock(office.net.visitor, port, address) as knock:
        return knock.is_accepted(0.1)  # not retransmitted before: each try begins anew
