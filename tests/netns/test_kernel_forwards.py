"""Static forwards that the gateway's kernel carries: packets sent and what arrives, in both families."""

from __future__ import annotations

from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers
from sekimori.testing.ports import free_ports

from .home import Home, Knock, filter_bridged
from .raw import SCTP, Raw, Sctp, sctp_chunk

pytestmark = pytest.mark.netns

GATEWAY, GATEWAY_TOO, INSIDE = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_TOO, HomeNetwork.GATEWAY_INSIDE
SERVER, DESKTOP = HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR = HomeNetwork.VISITOR
SIZE = 4
"""Ports in a range."""

families = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


def translated(family: int) -> dict[str, str]:
    """What makes a mapping of one family one that rewrites: an IPv6 one by itself is a pinhole."""
    return {"on": GATEWAY[1]} if family else {}


def reaches(peers: Peers, protocol: str, port: int, address: str, says: bytes) -> bool:
    """Whether an echo that says `says` first is reached."""
    if protocol == "tcp":
        talker = peers.dial(port, address)
        return talker.exactly(len(says)) == says and talker.says_back(b"x" * 5000)
    return peers.datagrams(port, address).ask(b"?") == says + b"?"


def is_refused(peers: Peers, port: int, address: str) -> bool:
    """Whether the gateway itself answers: nobody listens."""
    try:
        peers.dial(port, address)
    except ConnectionRefusedError:
        return True
    return False


@families
@pytest.mark.parametrize("protocol", ["tcp", "udp", "tcp+udp"])
@pytest.mark.parametrize("form", ["exact", "exact-shifted", "range", "range-shifted"])
def test_every_port_leads_to_its_own_and_the_source_is_kept(
    kernel_home: Home, form: str, protocol: str, family: int
) -> None:
    home, size = kernel_home, SIZE if form.startswith("range") else 1
    outside = free_ports(size)
    inside = free_ports(size) if form.endswith("shifted") else outside
    ports = ":".join(f"{first}-{first + size - 1}" for first in (outside, inside))
    made: dict[str, Any] = {
        "tcp": home.server.tcp_echoes(range(inside, inside + size), SERVER[family]),
        "udp": home.server.udp_echoes(range(inside, inside + size), SERVER[family]),
    }
    fields = {"ports": f"{protocol}/{ports}", "to": SERVER[family], "from": "anyone"}
    view = home.open(fields | translated(family))
    assert view["path"] == ["kernel"]
    for number in range(size):
        for each in protocol.split("+"):
            says = f"{inside + number}\n".encode()
            assert reaches(home.visitor, each, outside + number, GATEWAY[family], says)
            assert {address for address, _ in made[each][number].seen} == {VISITOR[family]}
    for other in {"tcp", "udp"} - set(protocol.split("+")):
        if other == "tcp":
            assert is_refused(home.visitor, outside, GATEWAY[family])
        assert all(not echo.seen for echo in made[other])


@families
@pytest.mark.parametrize("form", ["exact", "range"])
def test_sctp_is_translated_and_its_checksum_stays_right(kernel_home: Home, form: str, family: int) -> None:
    """This kernel has no SCTP sockets, so the association is opened by hand: INIT and INIT ACK."""
    home, outside, client = kernel_home, free_ports(2), 40_000
    ports = f"sctp/{outside}:3868" if form == "exact" else f"sctp/{outside}-{outside + 1}"
    inside = 3868 if form == "exact" else outside
    home.open({"ports": ports, "to": SERVER[family], "from": "anyone"} | translated(family))
    visitor = Raw(home.net.visitor, VISITOR[family], SCTP)
    server = Raw(home.net.server, SERVER[family], SCTP)
    with visitor, server:
        first = Sctp(client, outside, 0, sctp_chunk(1, 7777))
        visitor.send(GATEWAY[family], first.encode())
        came = server.receive()
        assert (came.source, Sctp.decode(came.payload)) == (
            VISITOR[family],
            first._replace(destination=inside),
        )
        answer = Sctp(inside, client, 7777, sctp_chunk(2, 8888))
        server.send(VISITOR[family], answer.encode())
        back = visitor.receive()
        assert (back.source, Sctp.decode(back.payload)) == (GATEWAY[family], answer._replace(source=outside))


@families
def test_on_one_address_another_address_is_not_served(kernel_home: Home, family: int) -> None:
    home, port = kernel_home, free_ports()
    home.server.tcp_echo(SERVER[family], 7001, b"one")
    home.desktop.tcp_echo(DESKTOP[family], 7001, b"too")
    home.open({"ports": f"{port}:7001", "to": SERVER[family], "from": "anyone", "on": GATEWAY[family]})
    assert is_refused(home.visitor, port, GATEWAY_TOO[family])
    assert is_refused(home.visitor, port, GATEWAY[1 - family])
    home.open({"ports": f"{port}:7001", "to": DESKTOP[family], "from": "anyone", "on": GATEWAY_TOO[family]})
    assert reaches(home.visitor, "tcp", port, GATEWAY[family], b"one")
    assert reaches(home.visitor, "tcp", port, GATEWAY_TOO[family], b"too")
    with pytest.raises(Problem) as told:
        home.open({"ports": f"{port}:7001", "to": DESKTOP[family], "from": "anyone"})
    assert told.value.code == "port-taken"


@families
@pytest.mark.parametrize("on", ["interface", "everywhere"])
def test_every_address_of_an_interface_or_of_all_serves(kernel_home: Home, on: str, family: int) -> None:
    home, port = kernel_home, free_ports()
    home.server.tcp_echo(SERVER[family], 7001, b"one")
    home.server.udp_echo(SERVER[family], 7001, b"one")
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "from": "anyone"}
    home.open(fields | ({"on": "isp"} if on == "interface" else {}))
    for address in (GATEWAY[family], GATEWAY_TOO[family]):
        for protocol in ("tcp", "udp"):
            assert reaches(home.visitor, protocol, port, address, b"one")


@families
def test_hairpin_from_the_lan(kernel_home: Home, family: int) -> None:
    """The server and the desktop are in one subnet: without translation the answer would go past us."""
    home, port = kernel_home, free_ports()
    tcp = home.server.tcp_echo(SERVER[family], 7001, b"one")
    udp = home.server.udp_echo(SERVER[family], 7001, b"one")
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "from": "anyone"}
    home.open(fields | translated(family))
    for protocol in ("tcp", "udp"):
        assert reaches(home.desktop, protocol, port, GATEWAY[family], b"one")
        assert reaches(home.server, protocol, port, GATEWAY[family], b"one"), "from the target itself"
    assert {address for address, _ in (*tcp.seen, *udp.seen)} == {INSIDE[family]}


@families
def test_hairpin_where_bridged_frames_are_filtered(kernel_home: Home, family: int) -> None:
    """Then the bridge itself sends the translated packet on (br_netfilter), and no route is taken."""
    home, port = kernel_home, free_ports()
    if not filter_bridged(home.net.gateway, True):
        pytest.skip("this kernel has no br_netfilter")
    try:
        home.server.tcp_echo(SERVER[family], 7001, b"one")
        home.server.udp_echo(SERVER[family], 7001, b"one")
        fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "from": "anyone"}
        home.open(fields | translated(family))
        for protocol in ("tcp", "udp"):
            assert reaches(home.desktop, protocol, port, GATEWAY[family], b"one")
    finally:
        filter_bridged(home.net.gateway, False)


@families
def test_hairpin_from_the_gateway_itself(kernel_home: Home, family: int) -> None:
    home, port = kernel_home, free_ports()
    home.server.tcp_echo(SERVER[family], 7001, b"one")
    home.server.udp_echo(SERVER[family], 7001, b"one")
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "from": "anyone"}
    home.open(fields | translated(family))
    with Peers(home.net.gateway.call) as here:
        for address in (GATEWAY[family], GATEWAY_TOO[family])[: 1 if family else 2]:
            for protocol in ("tcp", "udp"):
                assert reaches(here, protocol, port, address, b"one")


@families
def test_who_may_come_in_is_asked_before_the_target_sees_anything(kernel_home: Home, family: int) -> None:
    home, port = kernel_home, free_ports()
    tcp = home.server.tcp_echo(SERVER[family], 7001)
    udp = home.server.udp_echo(SERVER[family], 7001)
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[family], "from": VISITOR[family]}
    home.open(fields | translated(family))
    home.stranger.datagrams(port, GATEWAY[family]).sock.send(b"let me in")
    with Knock(home.net.stranger, port, GATEWAY[family]) as knock:
        assert reaches(home.visitor, "tcp", port, GATEWAY[family], b"")
        assert reaches(home.visitor, "udp", port, GATEWAY[family], b"")
        assert not knock.is_answered
    assert {address for address, _ in (*tcp.seen, *udp.seen)} == {VISITOR[family]}
