"""The portmap door between hosts that lie, and hosts that shout."""

from __future__ import annotations

import ipaddress
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from sekimori.host.framesource import FrameSources, watch_frames
from sekimori.host.lansockets import open_lan_socket
from sekimori.model.address import IpProtocol
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import eventually
from sekimori.wire import pcp
from sekimori.wire.natpmp import MapRequest, encode_request

from .portmapping import CONFIG, House, at_house, mapped, pcp_mapped, spoofing

pytestmark = pytest.mark.netns

SERVER, DESKTOP, INSIDE = HomeNetwork.SERVER, HomeNetwork.DESKTOP, HomeNetwork.GATEWAY_INSIDE


@pytest.fixture(scope="module")
def daemon(network: HomeNetwork) -> Iterator[DaemonProcess]:
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def house(network: HomeNetwork, daemon: DaemonProcess) -> Iterator[House]:
    with at_house(network, daemon) as house:
        yield house


def asks(port: int) -> bytes:
    return encode_request(MapRequest(IpProtocol.UDP, port, 0, 7200))


def mac_of(host: Host) -> str:
    found: str = host.run(["cat", "/sys/class/net/gateway/address"]).stdout.strip()
    return found


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_who_asks_in_anothers_name_gets_nothing(house: House, six: bool) -> None:
    """Neither its lease opened nor closed: the frame tells that the desktop sent it."""
    server = house.client(house.net.server, INSIDE[six])
    pcp_mapped(server.map(5000))
    here = ipaddress.ip_address(SERVER[six])
    nothing = ipaddress.ip_address("::" if six else "0.0.0.0")
    lies = [
        pcp.encode_request(pcp.Request(lifetime, here, pcp.Map(bytes(12), 17, port, 0, nothing)))
        for lifetime, port in ((0, 5000), (7200, 5001))
    ]
    with house.net.desktop.call(lambda: spoofing(SERVER[six], INSIDE[six])) as liar:
        for lie in lies:
            liar.send(lie)
    eventually(lambda: "spoofed_source" in house.daemon.log)
    assert mac_of(house.net.desktop) in house.daemon.log
    # Its own requests are behind those in no line: this one shows that they were looked at.
    pcp_mapped(house.client(house.net.desktop, INSIDE[six]).map(5002))
    assert [view["to"] for view in house.leases() if SERVER[six] in view["to"]] == [
        f"[{SERVER[1]}]:5000" if six else f"{SERVER[0]}:5000"
    ]


def test_a_source_that_is_not_on_the_link_gets_nothing(house: House) -> None:
    with house.net.desktop.call(lambda: spoofing("198.51.100.77", INSIDE[0])) as liar:
        liar.send(asks(5000))
    eventually(lambda: "not_from_the_link" in house.daemon.log)
    assert house.leases() == []


def test_a_flood_leaves_the_others_served(house: House) -> None:
    """The desktop shouts as fast as it can, in its own name and in a thousand others."""
    stop = threading.Event()
    counts = [0, 0]

    def shout(sock: socket.socket, place: int) -> None:
        port = 2000
        while not stop.is_set():
            port = 2000 + (port - 1999) % 60000
            try:
                sock.send(asks(port))
                counts[place] += 1
            except OSError:  # its own buffers are full
                time.sleep(0.001)

    mine = house.net.desktop.call(lambda: spoofing(DESKTOP[0], INSIDE[0]))
    other = house.net.desktop.call(lambda: spoofing("192.168.1.77", INSIDE[0]))
    threads = [threading.Thread(target=shout, args=(sock, place)) for place, sock in enumerate((mine, other))]
    client = house.client(house.net.server)
    try:
        for thread in threads:
            thread.start()
        took = []
        for port in range(5000, 5030):
            begin = time.monotonic()
            mapped(client.natpmp_map(port, port))
            took.append(time.monotonic() - begin)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        mine.close()
        other.close()
    print(f"{sum(counts)} shouted; served in {statistics.median(took):.3f} s, at most {max(took):.3f} s")
    assert statistics.median(took) < 1
    shouter = [view for view in house.leases() if DESKTOP[0] in view["to"]]
    assert len(shouter) <= 64


def test_frames_are_told_apart_by_what_they_hold(network: HomeNetwork) -> None:
    """The same source address and port from two hosts: each datagram has the MAC address it came from."""
    heard: list[str] = []
    frames = network.gateway.call(lambda: watch_frames("home", 5399, heard.append))
    assert frames is not None
    asked = network.gateway.call(lambda: _bound(INSIDE[0], 5399))
    with asked:
        for host, data in ((network.server, b"the server's"), (network.desktop, b"the desktop's")):
            with host.call(lambda: _from(SERVER[0], 4444)) as sock:
                sock.sendto(data, (INSIDE[0], 5399))
        source = ipaddress.ip_address(SERVER[0])
        for data in (b"the server's", b"the desktop's"):
            assert asked.recv(100) == data
        assert frames.mac_of(source, 4444, b"the desktop's") == mac_of(network.desktop)
        assert frames.mac_of(source, 4444, b"the server's") == mac_of(network.server)
        assert frames.mac_of(source, 4444, b"the server's") is None, "each frame is told once"
        assert heard == [mac_of(network.server), mac_of(network.desktop)]
    frames.close()


def test_frames_wait_for_a_moment_only_and_only_for_their_port(network: HomeNetwork) -> None:
    now = [0.0]
    frames = network.gateway.call(lambda: FrameSources.open("home", 5398, lambda _: None, lambda: now[0]))
    source = ipaddress.ip_address(SERVER[0])
    with network.server.call(lambda: _from(SERVER[0], 4444)) as sock:
        sock.sendto(b"elsewhere", (INSIDE[0], 5397))
        sock.sendto(b"late", (INSIDE[0], 5398))
        assert frames.mac_of(source, 4444, b"elsewhere") is None
        now[0] = 3
        assert frames.mac_of(source, 4444, b"late") is None
        sock.sendto(b"in time", (INSIDE[0], 5398))
        assert frames.mac_of(source, 4444, b"in time") == mac_of(network.server)
        sock.sendto(b"x" * 4000, (INSIDE[0], 5398))  # in fragments
        assert frames.mac_of(source, 4444, b"x" * 4000) is None
    frames.close()


def test_a_link_without_mac_addresses_is_not_watched(network: HomeNetwork) -> None:
    assert network.gateway.call(lambda: watch_frames("lo", 5351, print)) is None
    assert network.gateway.call(lambda: watch_frames("gone0", 5351, print)) is None


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind((address, port))
    return sock


def _from(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
    sock.bind((address, port))
    return sock


def test_who_is_shunned_is_not_heard_and_the_others_are(network: HomeNetwork) -> None:
    port, shunned, macs = 5396, mac_of(network.desktop), list[str]()
    frames = network.gateway.call(lambda: FrameSources.open("home", port, macs.append))
    heard = network.gateway.call(lambda: open_lan_socket("home", 4, port))
    with (
        closing(frames),
        closing(heard),
        network.server.call(lambda: _from(SERVER[0], 4444)) as server,
        network.desktop.call(lambda: _from(DESKTOP[0], 4444)) as desktop,
    ):

        def both_send(data: bytes) -> list[str]:
            for sock in (desktop, server):  # the server last: when that is there, all is
                sock.sendto(data, (INSIDE[0], port))
            got = [eventually(heard.receive)]
            while (more := heard.receive()) is not None:
                got.append(more)
            return [str(each.source) for each in got if frames.mac_of(each.source, each.port, data)]

        assert both_send(b"one") == [DESKTOP[0], SERVER[0]]
        for each in (frames, heard):
            each.shun(["02:00:00:00:00:77", shunned])
        assert both_send(b"two") == [SERVER[0]]
        assert macs.count(shunned) == 1
        for each in (frames, heard):
            each.shun([])
        assert both_send(b"three") == [DESKTOP[0], SERVER[0]]
