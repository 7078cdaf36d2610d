"""Ports and addresses through a real daemon: ranges, shifts, both families, and who holds a port already."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import closing

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers
from sekimori.testing.ports import free_ports
from tests.conftest import Open

pytestmark = pytest.mark.loopback

COUNT = 5


@pytest.mark.parametrize("protocol", ["tcp", "udp", "tcp+udp"])
def test_a_shifted_range_leads_each_port_to_its_own(
    daemon: DaemonProcess, peers: Peers, opened: Open, protocol: str
) -> None:
    outside, inside = free_ports(COUNT), free_ports(COUNT)
    insides = range(inside, inside + COUNT)
    peers.tcp_echoes(insides)
    peers.udp_echoes(insides)
    opened({"ports": f"{protocol}/{outside}-{outside + 4}:{inside}-{inside + 4}", "to": "127.0.0.1"})
    for offset in range(COUNT):
        own = f"{inside + offset}\n".encode()
        if "tcp" in protocol:
            assert peers.dial(outside + offset).exactly(len(own)) == own
        else:
            assert not peers.accepts(outside + offset)
        if "udp" in protocol:
            assert peers.datagrams(outside + offset).ask(b"?") == own + b"?"


def test_an_unshifted_range_leads_to_the_same_ports_elsewhere(peers: Peers, opened: Open) -> None:
    first = free_ports(COUNT)
    peers.tcp_echoes(range(first, first + COUNT), "127.0.0.9")
    opened({"ports": f"{first}-{first + 4}", "to": "127.0.0.9", "on": "127.0.0.1"})
    for port in range(first, first + COUNT):
        own = f"{port}\n".encode()
        assert peers.dial(port).exactly(len(own)) == own


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("target", ["127.0.0.1", "::1"])
def test_any_family_reaches_any_family(peers: Peers, opened: Open, client: str, target: str) -> None:
    port, inside = free_ports(), free_ports()
    tcp, udp = peers.tcp_echo(target, inside), peers.udp_echo(target, inside)
    opened({"ports": f"tcp+udp/{port}:{inside}", "to": target})
    assert peers.dial(port, client).says_back(b"both ways")
    assert peers.datagrams(port, client).ask(b"both ways") == b"both ways"
    assert tcp.seen[0][0] == udp.seen[0][0] == target


def test_listening_on_one_address_leaves_the_others_free(peers: Peers, opened: Open) -> None:
    port = free_ports()
    ones, others = peers.tcp_echo(tag=b"1"), peers.tcp_echo(tag=b"2")
    opened({"ports": f"{port}", "to": f"127.0.0.1:{ones.port}", "on": "127.0.0.1"})
    opened({"ports": f"{port}", "to": f"127.0.0.1:{others.port}", "on": "::1"})
    assert peers.dial(port).exactly(1) == b"1"
    assert peers.dial(port, "::1").exactly(1) == b"2"
    with pytest.raises(ConnectionRefusedError):
        peers.dial(port, "127.0.0.2")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, None),
        (None, "127.0.0.1"),
        ("127.0.0.1", None),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("::", "::1"),
        (None, "0.0.0.0"),
        (None, "::"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_two_mappings_never_share_a_port(
    daemon: DaemonProcess, opened: Open, first: str | None, second: str | None
) -> None:
    port, inside = free_ports(3), free_ports(3)
    opened(
        {"ports": f"{port}-{port + 2}:{inside}-{inside + 2}", "to": "127.0.0.1", "on": first, "name": "held"}
    )
    revision = daemon.client.status()["revision"]
    with pytest.raises(Problem) as told:
        opened({"ports": f"{port + 1}:{inside}", "to": "127.0.0.1", "on": second})
    assert (told.value.code, told.value.exit_code) == ("port-taken", 5)
    assert "'held'" in told.value.title()
    assert f"of {getpass.getuser()} has" in told.value.title()
    assert daemon.client.status()["revision"] == revision


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(
    ("address", "on"),
    [
        ("0.0.0.0", None),
        ("::", None),
        ("127.0.0.1", None),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
    ],
)
def test_a_port_that_a_process_holds_is_told_with_its_name(
    daemon: DaemonProcess, opened: Open, kind: socket.SocketKind, address: str, on: str | None
) -> None:
    inside, port = free_ports(), free_ports(2)
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with closing(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)) as holder:
        if ":" in address:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind((address, port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        with pytest.raises(Problem) as told:
            opened({"ports": f"{protocol}/{port}:{inside}", "to": "127.0.0.1", "on": on})
    assert (told.value.code, told.value.exit_code) == ("port-busy", 5)
    assert f"(pid {os.getpid()})" in told.value.title()
    assert "python" in told.value.title()
    other = int(str(told.value.facts["other"]))
    assert (
        opened({"ports": f"{protocol}/{other}:{inside}", "to": "127.0.0.1", "on": on})["status"]["state"]
        == "open"
    )


def test_a_port_that_shares_itself_is_not_taken(opened: Open) -> None:
    """SO_REUSEPORT at the other end must not let us in beside it."""
    port, inside = free_ports(), free_ports()
    with closing(socket.socket()) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("0.0.0.0", port))
        holder.listen()
        with pytest.raises(Problem) as told:
            opened({"ports": f"{port}:{inside}", "to": "127.0.0.1"})
    assert told.value.code == "port-busy"


def test_an_address_that_is_not_here_is_told(opened: Open) -> None:
    port, inside = free_ports(), free_ports()
    with pytest.raises(Problem) as told:
        opened({"ports": f"{port}:{inside}", "to": "127.0.0.1", "on": "192.0.2.77"})
    assert (told.value.code, told.value.exit_code) == ("address-not-here", 4)


def test_a_range_with_one_busy_port_opens_none_of_it(
    daemon: DaemonProcess, peers: Peers, opened: Open
) -> None:
    first, inside = free_ports(COUNT), free_ports(COUNT)
    peers.tcp_echoes(range(inside, inside + COUNT))
    busy = peers.tcp_echo("127.0.0.1", first + 3, tag=b"mine")
    before = daemon.client.status()["revision"]
    with pytest.raises(Problem) as told:
        opened({"ports": f"{first}-{first + 4}:{inside}-{inside + 4}", "to": "127.0.0.1"})
    assert told.value.code == "port-busy"
    assert str(first + 3) in told.value.title()
    assert daemon.client.status()["revision"] == before
    assert peers.dial(busy.port).exactly(4) == b"mine"
    assert not peers.accepts(first)
