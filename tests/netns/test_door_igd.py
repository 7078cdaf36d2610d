"""UPnP at a real gateway: what devices of the home ask for, hosts outside reach or do not."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.upnpclient import FaultError, Listener, search
from sekimori.wire.igddescription import Part, path_of
from sekimori.wire.igdservices import COMMON, FIREWALL6, WANIP1, Value
from sekimori.wire.ssdp import GROUP4, GROUP6, PORT

from .home import Knock
from .upnp import CONFIG, DEVICE, INSIDE, PUBLIC, Ear, Home, at_home, public_network

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP
VISITOR = HomeNetwork.VISITOR
INSIDE6 = HomeNetwork.GATEWAY_INSIDE[1]

needs_upnpc = pytest.mark.skipif(shutil.which("upnpc") is None, reason="needs miniupnpc")


@pytest.fixture(scope="module")
def daemon(network: HomeNetwork) -> Iterator[DaemonProcess]:
    public_network(network)
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def home(network: HomeNetwork, daemon: DaemonProcess) -> Iterator[Home]:
    with at_home(network, daemon) as home:
        yield home


def is_open(net: HomeNetwork, port: int, address: str = PUBLIC, within: float = 0.5) -> bool:
    with Knock(net.visitor, port, address) as knock:
        return knock.is_accepted(within)


def root_of(gateway: str, port: int, source: str = "") -> bytes:
    """What comes back of a request for the root description; nothing where it is not answered."""
    with contextlib.suppress(OSError), socket.create_connection((gateway, port), 1, (source, 0)) as sock:
        sock.sendall(f"GET /v1/root.xml HTTP/1.1\r\nHost: {gateway}\r\n\r\n".encode())
        return sock.recv(100)
    return b""


@pytest.mark.interop
@needs_upnpc
def test_upnpc_finds_the_gateway_and_opens_a_port(home: Home) -> None:
    home.open()
    server = home.net.server
    with Peers(server.call) as at_home, Peers(home.net.visitor.call) as outside:
        at_home.tcp_echo(SERVER[0], 7000)
        said = home.upnpc(server, "-s")  # by discovery
        assert "Found valid IGD" in said
        assert "Status : Connected" in said
        assert f"ExternalIPAddress = {PUBLIC}" in said
        url = ("-u", home.url())
        said = home.upnpc(server, *url, "-e", "my server", "-a", "@", "7000", "7001", "tcp", "3600")
        assert (
            f"external {PUBLIC}:7001 TCP is redirected to internal {SERVER[0]}:7000 (duration=3600)" in said
        )
        assert outside.dial(7001, PUBLIC).says_back(b"x" * 100_000)
        listed = home.upnpc(server, *url, "-l")
        assert re.search(rf" 0 TCP  7001->{SERVER[0]}:7000  'my server' '' 3[56]\d\d", listed)
        assert "returned 713 (SpecifiedArrayIndexInvalid)" in listed
        assert "returned : 0" in home.upnpc(server, *url, "-d", "7001", "tcp")
        assert not home.leases()
        assert not is_open(home.net, 7001)


@pytest.mark.interop
@needs_upnpc
def test_two_hosts_want_one_port_and_the_rules_have_their_say(home: Home) -> None:
    home.open()
    url = ("-u", home.url())
    add = (*url, "-a", "@", "7000", "7001", "udp")
    assert "is redirected" in home.upnpc(home.net.server, *add)
    assert "failed with code 718 (ConflictInMappingEntry)" in home.upnpc(home.net.desktop, *add)
    low = (*url, "-a", "@", "7000", "80", "udp")
    assert "failed with code 606" in home.upnpc(home.net.desktop, *low)
    other = (*url, "-a", SERVER[0], "7100", "7100", "udp")
    assert "failed with code 606" in home.upnpc(home.net.desktop, *other)
    told = {each["ports"]: each for each in home.daemon.client.doors()["refusals"]}
    assert {ports: each["problem"]["code"] for ports, each in told.items()} == {
        "udp/7001:7000": "port-taken",
        "udp/80:7000": "lease-refused",
        "udp/7100": "not-permitted",
    }
    assert {each["address"] for each in told.values()} == {DESKTOP[0]}
    home.daemon.client.set_permissions([f"allow {SERVER[0]}/32", "deny all"])
    assert "failed with code 606" in home.upnpc(home.net.desktop, *url, "-a", "@", "7002", "7002", "tcp")
    assert "is redirected" in home.upnpc(home.net.server, *url, "-a", "@", "7002", "7002", "tcp")


@pytest.mark.interop
@needs_upnpc
def test_upnpc_takes_any_port_and_lists_and_deletes_ranges(home: Home) -> None:
    home.open(2)
    url = ("-u", home.url(2))
    wish = (*url, "-n", "@", "7000", "7001", "udp", "600")
    assert f"external {PUBLIC}:7001 UDP is redirected" in home.upnpc(home.net.server, *wish)
    found = re.search(rf"external {PUBLIC}:(\d+) UDP is redirected", home.upnpc(home.net.desktop, *wish))
    assert found is not None
    assert found[1] != "7001"
    with Peers(home.net.desktop.call) as at_home, Peers(home.net.visitor.call) as outside:
        at_home.udp_echo(DESKTOP[0], 7000)
        assert outside.datagrams(int(found[1]), PUBLIC).ask(b"there?") == b"there?"
    listed = home.upnpc(home.net.server, *url, "-L")
    assert f"7001->{SERVER[0]}:7000" in listed
    assert f"{found[1]}->{DESKTOP[0]}:7000" in listed
    home.upnpc(home.net.server, *url, "-N", "1", "65535", "udp")
    assert [each["to"] for each in home.leases()] == [f"{DESKTOP[0]}:7000"]


@pytest.mark.interop
@needs_upnpc
def test_upnpc_opens_a_pinhole(home: Home) -> None:
    home.open(2)
    url = ("-6", "-u", home.url(2, INSIDE6))
    with Peers(home.net.server.call) as at_home, Peers(home.net.visitor.call) as outside:
        at_home.udp_echo(SERVER[1], 5000)
        assert "Firewall Enabled: Yes" in home.upnpc(home.net.server, *url, "-S")
        said = home.upnpc(home.net.server, *url, "-A", "", "0", SERVER[1], "5000", "17", "600")
        found = re.search(r"Pinhole ID = (\d+)", said)
        assert found is not None
        assert outside.datagrams(5000, SERVER[1]).ask(b"there?") == b"there?"
        assert "failed" not in home.upnpc(home.net.server, *url, "-U", found[1], "1200")
        assert home.leases()[0]["expires_in"] > 1100
        assert "returned : 606" in home.upnpc(home.net.desktop, *url, "-D", found[1])
        assert "returned : 0" in home.upnpc(home.net.server, *url, "-D", found[1])
        with pytest.raises(TimeoutError):
            outside.datagrams(5000, SERVER[1]).ask(b"there?", 0.5)
        said = home.upnpc(home.net.desktop, *url, "-A", "", "0", SERVER[1], "5000", "17", "600")
        assert "606" in said


def test_a_pinhole_is_asked_for_in_ipv4_too(home: Home) -> None:
    """The control point is at another address than the one it means: who it is tells its MAC address."""
    home.open(2)
    client = home.client(2)
    hole: dict[str, Value] = {"RemoteHost": "::/0", "RemotePort": 25000, "Protocol": 6, "LeaseTime": 600}
    hole |= {"InternalClient": SERVER[1], "InternalPort": 25000}

    async def add() -> object:
        return (await client.call(FIREWALL6, "AddPinhole", **hole))["UniqueID"]

    with Peers(home.net.server.call) as at_home, Peers(home.net.visitor.call) as outside:
        at_home.tcp_echo(SERVER[1], 25000)
        assert isinstance(home.talk(home.net.server, add), int)
        assert outside.dial(25000, SERVER[1]).says_back(b"hello")
        with pytest.raises(FaultError, match="606"):
            home.talk(home.net.desktop, add)


@pytest.mark.parametrize(
    ("group", "said"),
    [(GROUP4, INSIDE), (GROUP6, INSIDE6), ("ff05::c", INSIDE6)],
    ids=["IPv4", "link", "site"],
)
def test_a_search_by_the_group_is_answered_soon(home: Home, group: str, said: str) -> None:
    home.open()
    before = time.monotonic()
    ask = partial(search, to=(group, PORT), within=0.2, device="gateway")
    found = home.net.server.call(partial(ask, f"{DEVICE}:1"))
    assert time.monotonic() - before < 0.45
    assert [str(each.location.address) for each in found] == [said]
    for st in ("ssdp:all", "upnp:rootdevice"):
        assert home.net.server.call(partial(ask, st))


def test_nothing_answers_outside(home: Home) -> None:
    home.open()
    port = home.find()
    for address in (PUBLIC, *GATEWAY):
        assert not home.net.visitor.call(partial(search, "ssdp:all", (address, PORT), within=0.3))
        assert not is_open(home.net, port, address)
    for group in (GROUP4, GROUP6):
        ask = partial(search, "ssdp:all", (group, PORT), within=0.3, device="gateway")
        assert not home.net.isp.call(ask)


def test_an_address_of_the_wan_does_not_answer_inside_either(home: Home) -> None:
    home.open()
    port = home.find()
    assert not home.net.server.call(lambda: search("ssdp:all", (PUBLIC, PORT), within=0.3))

    assert home.net.server.call(partial(root_of, PUBLIC, port)) == b""
    assert home.net.server.call(partial(root_of, INSIDE, port)).startswith(b"HTTP/1.1 200")


def test_who_is_not_of_the_link_is_not_answered(home: Home) -> None:
    home.open()
    port = home.find()
    server = home.net.server
    server.address("gateway", "198.51.100.77/32")
    try:
        assert not server.call(lambda: search("ssdp:all", (INSIDE, PORT), "198.51.100.77", within=0.3))
        assert server.call(partial(root_of, INSIDE, port, "198.51.100.77")) == b""
    finally:
        server.ip("address delete 198.51.100.77/32 dev gateway")
    assert server.call(lambda: search(f"{DEVICE}:1", (INSIDE, PORT), within=0.3))


def test_it_says_hello_and_goodbye(home: Home) -> None:
    with Ear(home.net.server) as ear:
        home.open(2)
        said = ear.hear("ssdp:alive", f"{DEVICE}:1")
        assert f"LOCATION: http://{INSIDE}:{home.find()}/v1/root.xml".encode() in said
        assert b"/v2/root.xml" in ear.hear("ssdp:alive", f"{DEVICE}:2")
        home.shut()
        ear.hear("ssdp:byebye", f"{DEVICE}:1")
    assert not home.net.server.call(lambda: search("ssdp:all", (INSIDE, PORT), within=0.3))


def test_a_restart_keeps_the_gateway_the_leases_and_the_flows(home: Home) -> None:
    home.open()
    url, server = home.url(), home.net.server
    with Peers(server.call) as at_home, Peers(home.net.visitor.call) as outside:
        at_home.tcp_echo(SERVER[0], 7000)
        home.upnpc(server, "-u", url, "-a", "@", "7000", "7001", "tcp", "3600")
        talker = outside.dial(7001, PUBLIC)
        assert talker.says_back(b"before")
        home.daemon.kill9()
        assert talker.says_back(b"meanwhile")
        assert outside.dial(7001, PUBLIC).says_back(b"a new one")
        home.daemon.start()
        assert home.url() == url
        listed = home.upnpc(server, "-u", url, "-l")
        assert f"TCP  7001->{SERVER[0]}:7000" in listed
        assert talker.says_back(b"after")


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_another_outside_address_is_told(home: Home, six: bool) -> None:
    home.open()
    client = home.client(1, HomeNetwork.GATEWAY_INSIDE[six])
    gateway = home.net.gateway

    async def watch() -> list[bytes]:
        async with Listener(SERVER[six]) as listener:
            fields = {"Callback": f"<{listener.callback}>", "NT": "upnp:event", "Timeout": "Second-300"}
            answer = await client.request("SUBSCRIBE", path_of(1, WANIP1, Part.EVENTS), fields)
            assert answer.status == 200
            told = [(await listener.next()).body]
            gateway.ip(
                "address add 45.77.0.3/32 dev isp", "route replace default via 203.0.113.1 src 45.77.0.3"
            )
            told.append((await listener.next()).body)
            return told

    try:
        before, after = home.talk(home.net.server, watch)
    finally:
        gateway.ip(
            f"route replace default via 203.0.113.1 src {PUBLIC}", "address delete 45.77.0.3/32 dev isp"
        )
    assert PUBLIC.encode() in before
    assert b"45.77.0.3" in after
    eventually(lambda: PUBLIC in home.upnpc(home.net.server, "-u", home.url(), "-s") or None)


def test_the_counters_of_the_wan_grow(home: Home) -> None:
    home.open()
    client = home.client()

    async def count() -> int:
        return int((await client.call(COMMON, "GetTotalBytesReceived"))["NewTotalBytesReceived"])

    before = home.talk(home.net.server, count)
    with Peers(home.net.visitor.call) as visitor:
        for _ in range(3):
            visitor.datagrams(9, PUBLIC).sock.send(bytes(1000))
    assert home.talk(home.net.server, count) - before >= 3000


def test_a_remote_host_is_held_by_the_kernel(home: Home) -> None:
    home.open()
    home.upnpc(home.net.server, "-u", home.url(), "-a", "@", "7000", "7001", "udp", "600", VISITOR[0])
    with (
        Peers(home.net.server.call) as at_home,
        Peers(home.net.visitor.call) as visitor,
        Peers(home.net.stranger.call) as stranger,
    ):
        at_home.udp_echo(SERVER[0], 7000)
        assert visitor.datagrams(7001, PUBLIC).ask(b"there?") == b"there?"
        with pytest.raises(TimeoutError):
            stranger.datagrams(7001, PUBLIC).ask(b"there?", 0.5)


def torrent(name: str) -> tuple[bytes, bytes]:
    """A torrent file of one small file, and its info hash (BEP 3)."""
    piece = hashlib.sha1(b"content of the file").digest()
    info = (
        b"d6:lengthi19e4:name%d:%s12:piece lengthi16384e6:pieces20:" % (len(name), name.encode())
        + piece
        + b"e"
    )
    return b"d4:info" + info + b"e", hashlib.sha1(info).digest()


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("transmission-daemon") is None, reason="needs transmission-daemon")
@pytest.mark.parametrize("doors", [("igd",), ("igd", "portmap")], ids=" and ".join)
def test_transmission_is_reached_from_outside(home: Home, tmp_path: Path, doors: tuple[str, ...]) -> None:
    home.open()
    home.daemon.client.change_doors({name: {"interfaces": ["home"]} for name in doors})
    document, info_hash = torrent("a file")
    for name in ("watched", "files", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "watched" / "it.torrent").write_bytes(document)
    (tmp_path / "files" / "a file").write_bytes(b"content of the file")
    words = [
        "transmission-daemon",
        "--foreground",
        "--portmap",
        "--peerport",
        "51413",
        "--no-dht",
        "--no-utp",
    ]
    words += ["--config-dir", str(tmp_path / "state"), "--watch-dir", str(tmp_path / "watched")]
    words += ["--download-dir", str(tmp_path / "files"), "--encryption-tolerated"]
    try:
        with home.net.server.running(words) as client, Peers(home.net.visitor.call) as outside:
            eventually(lambda: {"tcp/51413", "udp/51413"} <= home.ports() or None, 30)
            for each in home.leases():
                assert each["to"] in (SERVER[0], f"{SERVER[0]}:51413")

            def handshake() -> bytes | None:
                talker = outside.dial(51413, PUBLIC)
                talker.send(b"\x13BitTorrent protocol" + bytes(8) + info_hash + b"-XX0000-" + b"0" * 12)
                try:
                    return talker.exactly(68)
                except (OSError, EOFError, AssertionError):  # it has not read the torrent yet
                    return None

            assert eventually(handshake, 20)[28:48] == info_hash
            client.send_signal(signal.SIGTERM)
            client.wait(20)
            eventually(lambda: not home.ports() or None, 10)  # it takes its mappings away
    finally:
        home.daemon.client.change_doors({"portmap": None})
