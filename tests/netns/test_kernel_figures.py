"""What is counted of the kernel's mappings, both ways and to the byte; who uses them; flows ended by hand."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, NamedTuple

import pytest

from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Datagrams, Talker, eventually
from sekimori.testing.ports import free_ports

from .home import Home

pytestmark = pytest.mark.netns

GATEWAY, SERVER = HomeNetwork.GATEWAY, HomeNetwork.SERVER
VISITOR, STRANGER = HomeNetwork.VISITOR, HomeNetwork.STRANGER
_IP: Final = (20, 40)
"""Bytes of an IP header without options, by family."""
_UDP: Final = 8
_TCP: Final = 32
"""Bytes of a TCP header with time stamps, as Linux sends it."""
_SYN: Final = 40
"""Of one that opens: with segment size, SACK, time stamps and window scale too."""
_SEGMENTS: Final = struct.Struct("136xII")
"""`tcpi_segs_out` and `tcpi_segs_in` of struct tcp_info (linux/tcp.h)."""

KINDS = pytest.mark.parametrize(
    ("kind", "family"),
    [("exact", 0), ("range", 0), ("shifted", 0), ("exact", 1), ("shifted", 1), ("pinhole", 1)],
    ids=["exact", "range", "shifted", "NAT66", "NAT66-shifted", "pinhole"],
)


class Ways(NamedTuple):
    """Packets and bytes in, packets and bytes out."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int

    @classmethod
    def read(cls, figures: dict[str, Any]) -> Ways:
        """From counters, a flow, or a source."""
        return cls(*(figures[name] for name in cls._fields))

    def __add__(self, other: Ways) -> Ways:  # type: ignore[override]
        return Ways(*(one + two for one, two in zip(self, other, strict=True)))


def opened(home: Home, kind: str, family: int, **fields: object) -> tuple[dict[str, Any], str, int]:
    """A mapping of a kind to echoes on the server: its view, and where it is reached."""
    port = free_ports(2)
    inside = free_ports(2) if kind == "shifted" else port
    home.server.tcp_echo(SERVER[family], inside)
    home.server.udp_echo(SERVER[family], inside)
    last = 1 if kind == "range" else 0
    ports = f"tcp+udp/{port}-{port + last}:{inside}-{inside + last}"
    on = {"on": GATEWAY[1]} if family and kind != "pinhole" else {}
    view = home.open({"ports": ports, "to": SERVER[family], "from": "anyone", **on, **fields})
    return view, (SERVER if kind == "pinhole" else GATEWAY)[family], port


def exchanged(datagrams: Datagrams, family: int, sizes: list[int]) -> Ways:
    """What asking an echo once for each size sends: every datagram there and back, none lost."""
    for size in sizes:
        datagrams.sock.settimeout(10)
        datagrams.sock.send(bytes(size))
        assert len(datagrams.sock.recv(1 << 16)) == size
    total = sum(sizes) + len(sizes) * (_IP[family] + _UDP)
    return Ways(len(sizes), total, len(sizes), total)


def conversed(talker: Talker, family: int, size: int) -> Ways:
    """What a connection that has carried `size` bytes each way has sent, from its opening on.

    The kernel of the one who dialled says how many segments it sent and got; each is one packet, for
    nothing here is longer than a segment.
    """
    info = talker.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    out, come = _SEGMENTS.unpack_from(info)
    plain, opening = _IP[family] + _TCP, _SYN - _TCP
    return Ways(out, out * plain + opening + size, come, come * plain + opening + size)


@KINDS
def test_packets_and_bytes_are_counted_both_ways(kernel_home: Home, kind: str, family: int) -> None:
    home = kernel_home
    view, address, port = opened(home, kind, family)
    assert Ways.read(home.counters(view)) == Ways(0, 0, 0, 0)
    sent = exchanged(home.visitor.datagrams(port, address), family, [1, 700, 1400, 3])
    assert Ways.read(home.counters(view)) == sent

    talker = home.visitor.dial(port, address)
    for size in (10, 500, 1000):
        assert talker.says_back(bytes(size))
    # An acknowledgement may still be on its way.
    eventually(lambda: Ways.read(home.counters(view)) == sent + conversed(talker, family, 1510))
    counters = home.counters(view)
    assert counters["flows_active"] == 2
    if kind != "pinhole":  # nothing is translated there, so no element is asked for first packets only
        assert counters["flows_total"] == 2


def test_what_is_answered_from_the_same_inside_port_to_others_is_not_counted(kernel_home: Home) -> None:
    home = kernel_home
    view, address, port = opened(home, "shifted", 0)
    sent = exchanged(home.visitor.datagrams(port, address), 0, [5])
    echo = home.stranger.udp_echo(STRANGER[0])
    home.daemon.client.enable_gateway()
    inside = int(view["ports"].rpartition(":")[2])
    outbound = home.net.server.call(lambda: _bound(inside + 1))
    with outbound:
        outbound.sendto(b"hello", (STRANGER[0], echo.port))
        assert outbound.recv(100) == b"hello"
    assert Ways.read(home.counters(view)) == sent


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.bind((SERVER[0], port))
    return sock


@KINDS
def test_flows_and_sources_are_told_as_they_are(kernel_home: Home, kind: str, family: int) -> None:
    home = kernel_home
    view, address, port = opened(home, kind, family)
    datagrams = home.visitor.datagrams(port, address)
    talker = home.stranger.dial(port, address)
    sent = exchanged(datagrams, family, [100, 200])
    assert talker.says_back(b"x" * 300)
    eventually(lambda: _flow(home, view, "tcp")[0] == conversed(talker, family, 300))
    assert _flow(home, view, "udp")[0] == sent

    inside = int(view["ports"].rpartition("/")[2].rpartition(":")[2].partition("-")[0])
    for protocol, peer, source in (
        ("tcp", talker.sock, STRANGER[family]),
        ("udp", datagrams.sock, VISITOR[family]),
    ):
        _, row = _flow(home, view, protocol)
        assert row["source"] == _at(source, peer.getsockname()[1])
        assert row["target"] == _at(SERVER[family], inside)
        assert 0 <= row["age"] < 30
    rows = {row["source"]: row for row in home.daemon.client.who(view["id"])["sources"]}
    assert rows.keys() == {VISITOR[family], STRANGER[family]}
    assert Ways.read(rows[VISITOR[family]]) == sent
    assert all((row["flows_active"], row["flows_total"]) == (1, 1) for row in rows.values())


def _flow(home: Home, view: dict[str, Any], protocol: str) -> tuple[Ways, dict[str, Any]]:
    rows = [row for row in home.daemon.client.who(view["id"])["flows"] if row["protocol"] == protocol]
    assert len(rows) == 1, rows
    return Ways.read(rows[0]), rows[0]


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@KINDS
def test_kill_ends_the_flows_of_a_mapping_or_a_source_and_no_others(
    kernel_home: Home, kind: str, family: int
) -> None:
    home = kernel_home
    view, address, port = opened(home, kind, family)
    _, other_address, other_port = opened(home, kind, family)
    mine = home.visitor.dial(port, address)
    strangers = home.stranger.dial(port, address)
    others = home.visitor.dial(other_port, other_address)
    for talker in (mine, strangers, others):
        assert talker.says_back(b"all three live")
    client = home.daemon.client

    assert client.kill(view["name"], VISITOR[family]) == 1
    assert _is_cut(mine)
    assert strangers.says_back(b"goes on")
    assert others.says_back(b"goes on")

    assert client.kill(view["name"]) == 1
    assert _is_cut(strangers)
    assert others.says_back(b"still goes on")

    assert client.kill(source=f"{VISITOR[family]}") == 1
    assert _is_cut(others)
    assert home.visitor.dial(port, address).says_back(b"a new one may begin")


def _is_cut(talker: Talker) -> bool:
    """Whether a connection is answered with a reset, or was already: a late acknowledgement is too."""
    try:
        talker.send(b"anybody there?")
    except (
        ConnectionResetError,
        BrokenPipeError,
    ):  # told once only: a `recv` would see the end of the stream
        return True
    return talker.ended() == "reset"


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "NAT66"])
def test_the_refused_are_counted(kernel_home: Home, family: int) -> None:
    home = kernel_home
    view, address, port = opened(home, "exact", family, **{"from": VISITOR[family]})
    strangers = home.stranger.datagrams(port, address)
    for _ in range(3):  # not let in, they leave no flow, so each is a new one
        strangers.sock.send(b"let me in")
    exchanged(home.visitor.datagrams(port, address), family, [5, 5])
    counters = home.counters(view)
    assert (counters["refused"], counters["flows_total"]) == ({"source": 3}, 1)
