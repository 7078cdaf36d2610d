"""What leaves from a mapped inside port leaves from its outside port: consoles are found by it."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import DEADLINE
from sekimori.testing.ports import free_ports

from .home import Home

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY[0], HomeNetwork.SERVER[0], HomeNetwork.DESKTOP[0]
STRANGER = HomeNetwork.STRANGER[0]

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
masquerades = pytest.mark.parametrize("masquerade", [True, False, None], ids=["on", "off", "no-gateway"])


def prepare(home: Home, masquerade: bool | None) -> None:
    """Have the gateway translate what goes out, or not, or not be one at all."""
    if masquerade is not None:
        home.daemon.client.enable_gateway(masquerade=masquerade)


def leaves_as(home: Home, protocol: str, port: int, host: Host | None = None) -> tuple[str, int]:
    """Where somebody outside sees a LAN host's packets from a port come from; they are answered."""
    make = home.stranger.tcp_echo if protocol == "tcp" else home.stranger.udp_echo
    echo = make(STRANGER)
    source = SERVER if host is None else DESKTOP

    def dial() -> socket.socket:
        sock = socket.socket(socket.AF_INET, KINDS[protocol])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(DEADLINE)
        sock.bind((source, port))
        sock.connect((STRANGER, echo.port))
        return sock

    with closing((host or home.net.server).call(dial)) as sock:
        sock.send(b"who am I?")
        assert sock.recv(100) == b"who am I?"
    return echo.seen[0]


@masquerades
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("form", ["exact", "range"])
def test_it_leaves_from_its_outside_port(
    kernel_home: Home, form: str, protocol: str, masquerade: bool | None
) -> None:
    prepare(kernel_home, masquerade)
    outside, inside = free_ports(3), free_ports(3)
    last = 2 if form == "range" else 0
    ports = f"{protocol}/{outside}-{outside + last}:{inside}-{inside + last}"
    if masquerade:  # a flow that lives does not keep the next one from it
        assert leaves_as(kernel_home, protocol, inside) == (GATEWAY, inside)
    view = kernel_home.open({"ports": ports, "to": SERVER, "from": "anyone"})
    for number in range(last + 1):
        assert leaves_as(kernel_home, protocol, inside + number) == (GATEWAY, outside + number)
    kernel_home.daemon.client.close(view["id"], now=True)
    if masquerade:
        # The kernel gives a port's next flow the outside port that its living ones have (RFC 4787, REQ-1).
        kernel_home.net.gateway.run(["conntrack", "-F"])
        assert leaves_as(kernel_home, protocol, inside) == (GATEWAY, inside)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_the_same_outside_is_kept(kernel_home: Home, protocol: str) -> None:
    prepare(kernel_home, True)
    port = free_ports()
    kernel_home.open({"ports": f"{protocol}/{port}", "to": SERVER, "from": "anyone"})
    assert leaves_as(kernel_home, protocol, port) == (GATEWAY, port)


def test_only_the_mapped_host_and_protocol_have_it(kernel_home: Home) -> None:
    prepare(kernel_home, True)
    outside, inside = free_ports(), free_ports()
    kernel_home.open({"ports": f"udp/{outside}:{inside}", "to": SERVER, "from": "anyone"})
    assert leaves_as(kernel_home, "tcp", inside) == (GATEWAY, inside)
    assert leaves_as(kernel_home, "udp", inside, kernel_home.net.desktop) == (GATEWAY, inside)


def test_of_two_mappings_to_one_port_the_first_has_it_and_then_the_other(kernel_home: Home) -> None:
    prepare(kernel_home, True)
    outside, inside = free_ports(2), free_ports()
    first, _ = (
        kernel_home.open({"ports": f"udp/{each}:{inside}", "to": SERVER, "from": "anyone"})
        for each in (outside, outside + 1)
    )
    assert leaves_as(kernel_home, "udp", inside) == (GATEWAY, outside)
    kernel_home.daemon.client.close(first["id"], now=True)
    assert leaves_as(kernel_home, "udp", inside) == (GATEWAY, outside + 1)


def test_what_stays_in_the_lan_is_left_as_it_is(kernel_home: Home) -> None:
    prepare(kernel_home, True)
    outside, inside = free_ports(), free_ports()
    kernel_home.open({"ports": f"udp/{outside}:{inside}", "to": SERVER, "from": "anyone"})
    echo = kernel_home.server.udp_echo(SERVER, inside)
    assert kernel_home.desktop.datagrams(inside, SERVER).ask(b"?") == b"?"
    assert echo.seen[0][0] == DESKTOP


def test_a_mapping_that_ends_leaves_flows_that_it_did_not_admit(kernel_home: Home) -> None:
    """A console's own conversation goes on when its port is closed to others."""
    prepare(kernel_home, True)
    outside, inside = free_ports(), free_ports()
    view = kernel_home.open({"ports": f"udp/{outside}:{inside}", "to": SERVER, "from": "anyone"})
    echo = kernel_home.stranger.udp_echo(STRANGER)

    def bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(DEADLINE)
        sock.bind((SERVER, inside))
        return sock

    with closing(kernel_home.net.server.call(bound)) as sock:
        for turn in range(2):
            sock.sendto(b"?", (STRANGER, echo.port))
            assert sock.recv(10) == b"?"
            if turn == 0:
                kernel_home.daemon.client.close(view["id"], now=True)
    assert echo.seen == [(GATEWAY, outside)] * 2
