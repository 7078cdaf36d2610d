"""Devices on a real LAN: DHCP by dnsmasq and udhcpc, mDNS by avahi, ARP and NDP by the kernel."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dns.flags
import dns.message
import dns.rrset
import pytest

from sekimori.host.clock import SystemClock
from sekimori.host.leases import LeaseFiles
from sekimori.host.links import Links
from sekimori.host.mdns import ask
from sekimori.host.sightings import LanSightings, near_networks
from sekimori.model.network import NeighbourState, Network, find_roles
from sekimori.model.target import Target
from sekimori.reconcile.devices import Devices
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

from .dhcp import NAS, TV, Lan, address_of, lan, speak

__all__ = ["lan"]

pytestmark = pytest.mark.netns

T = TypeVar("T")

GATEWAY = HomeNetwork.GATEWAY[0]
MOVED_WITHIN = 5.0
"""Seconds in which a mapping follows a device that has moved."""


@pytest.fixture(scope="module")
def daemon(lan: Lan) -> Iterator[DaemonProcess]:
    config = f"[relay]\nworkers = 1\ngrace = 'none'\n[network]\nleases = ['{lan.lease_file}']\n"
    with DaemonProcess(config, netns=lan.net.gateway.netns) as running:
        yield running


@pytest.fixture
def at_home(lan: Lan, daemon: DaemonProcess) -> Iterator[Lan]:
    """Nothing is open, the NAS has just been switched on, and the TV is off."""
    lan.reserve()
    lan.nas.ip("link set gateway up")
    lan.tv.ip("address flush dev gateway scope global")
    lan.lease(lan.nas, "nas")
    yield lan
    for view in daemon.client.mappings():
        daemon.client.close(view["id"], now=True)


def status(daemon: DaemonProcess, view: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = daemon.client.get(view["id"])["status"]
    return found


def seconds_until(condition: Callable[[], object], deadline: float = 20) -> float:
    begin = time.monotonic()
    eventually(condition, deadline)
    return time.monotonic() - begin


# -- from the outside to the device ------------------------------------------------------


def test_a_device_is_found_by_its_dhcp_name_and_followed_when_its_lease_changes(
    at_home: Lan, daemon: DaemonProcess
) -> None:
    port, service = free_ports(), free_ports()
    first = address_of(at_home.nas)
    with Peers(at_home.net.visitor.call) as visitor, Peers(at_home.nas.call) as nas:
        nas.tcp_echo("0.0.0.0", service, tag=b"nas-----")
        answer = daemon.client.open({"ports": f"{port}:{service}", "to": "device:nas", "from": "anyone"})
        view = answer["mappings"][0]
        assert view["host"] == f"device:nas@{NAS}"
        assert status(daemon, view)["targets"] == [first]
        assert visitor.dial(port, GATEWAY).exactly(8) == b"nas-----"

        at_home.reserve(f"{NAS},192.168.1.77,nas")
        assert at_home.lease(at_home.nas, "nas") == "192.168.1.77"
        took = seconds_until(lambda: status(daemon, view)["targets"] == ["192.168.1.77"])
        print(f"after {took:.2f} s")
        assert took < MOVED_WITHIN
        assert visitor.dial(port, GATEWAY).exactly(8) == b"nas-----"


def test_the_line_that_is_offered_keeps_the_address(at_home: Lan, daemon: DaemonProcess) -> None:
    answer = daemon.client.open({"ports": str(free_ports()), "to": "device:nas", "from": "anyone"})
    (text,) = [each["text"] for each in answer["notices"] if each["code"] == "reservation"]
    line = text.rpartition(" ")[2]
    first = address_of(at_home.nas)
    assert line == f"dhcp-host={NAS},{first},nas"
    at_home.reserve(line.removeprefix("dhcp-host="))
    at_home.nas.ip("address flush dev gateway scope global")
    # Others may ask for it as much as they like.
    script = str(at_home.directory / "udhcpc")
    words = ["udhcpc", "-i", "gateway", "-f", "-n", "-q", "-t", "10", "-T", "1", "-s", script, "-r", first]
    at_home.tv.run(words)
    assert address_of(at_home.tv) != first
    assert at_home.lease(at_home.nas, "nas") == first


@pytest.mark.parametrize("silent", [False, True], ids=["who speaks", "who is silent"])
def test_nothing_goes_to_another_device_that_took_the_address(
    at_home: Lan, daemon: DaemonProcess, silent: bool
) -> None:
    port, service = free_ports(), free_ports()
    address = address_of(at_home.nas)
    with Peers(at_home.net.visitor.call) as visitor, Peers(at_home.tv.call) as tv:
        tv.tcp_echo("0.0.0.0", service, tag=b"tv------")
        view = daemon.client.open({"ports": f"{port}:{service}", "to": "device:nas", "from": "anyone"})
        view = view["mappings"][0]
        assert status(daemon, view)["targets"] == [address]

        at_home.nas.ip("link set gateway down")
        at_home.tv.ip(f"address add {address}/24 dev gateway")
        if not silent:
            speak(at_home.tv)
        took = seconds_until(lambda: status(daemon, view)["state"] == "failed")
        print(f"after {took:.2f} s")
        assert took < (MOVED_WITHIN + 1.5 if silent else 1.5)
        problem = status(daemon, view)["problem"]
        assert problem["code"] == "device-moved-away"
        assert problem["facts"]["other"] == TV
        with pytest.raises(ConnectionRefusedError):
            visitor.dial(port, GATEWAY)

        # It comes back, and gets another address.
        at_home.nas.ip("link set gateway up")
        at_home.reserve(f"{NAS},192.168.1.88,nas")
        assert at_home.lease(at_home.nas, "nas") == "192.168.1.88"
        assert seconds_until(lambda: status(daemon, view)["targets"] == ["192.168.1.88"]) < MOVED_WITHIN
        assert status(daemon, view)["state"] == "open"


def test_a_device_without_a_lease_is_followed_by_its_mac_address(at_home: Lan, daemon: DaemonProcess) -> None:
    at_home.tv.ip("address add 192.168.1.30/24 dev gateway")
    speak(at_home.tv)
    view = daemon.client.open({"ports": str(free_ports()), "to": TV, "from": "anyone"})["mappings"][0]
    assert status(daemon, view)["targets"] == ["192.168.1.30"]
    at_home.tv.ip("address flush dev gateway scope global", "address add 192.168.1.31/24 dev gateway")
    speak(at_home.tv)
    took = seconds_until(lambda: status(daemon, view)["targets"] == ["192.168.1.31"])
    print(f"after {took:.2f} s")
    assert took < MOVED_WITHIN


def test_a_sleeping_device_keeps_its_mapping(at_home: Lan, daemon: DaemonProcess) -> None:
    address = address_of(at_home.nas)
    view = daemon.client.open({"ports": str(free_ports()), "to": "device:nas", "from": "anyone"})
    view = view["mappings"][0]
    at_home.nas.ip("link set gateway down")
    show = ["ip", "neighbour", "show", address]
    eventually(lambda: "FAILED" in at_home.net.gateway.run(show).stdout, 20)
    found = status(daemon, view)
    assert (found["state"], found["targets"]) == ("open", [address])


def test_after_a_restart_a_device_is_found_again_without_a_gap(at_home: Lan, daemon: DaemonProcess) -> None:
    # The daemon of all these tests, for two in one network would undo each other's table.
    view = daemon.client.open({"ports": str(free_ports()), "to": "device:nas", "from": "anyone"})
    view = view["mappings"][0]
    daemon.kill9()
    daemon.start()
    found = status(daemon, view)
    assert (found["state"], found["targets"]) == ("open", [address_of(at_home.nas)])


# -- what the machine sees ---------------------------------------------------------------


@dataclass
class Sight:
    """Devices as the daemon joins them, without the daemon."""

    links: Links
    sightings: LanSightings
    devices: Devices


@contextlib.asynccontextmanager
async def sight(files: LeaseFiles) -> AsyncIterator[Sight]:
    network = [Network()]
    links = Links(lambda facts: network.__setitem__(0, find_roles(facts)))
    sightings = LanSightings(links.neighbours, lambda: network[0], files)
    await links.start()
    try:
        yield Sight(links, sightings, Devices(sightings, SystemClock(), lambda _target: None))
    finally:
        await links.close()


def run_in(host: Host, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return host.call(lambda: asyncio.run(work()))


def test_the_neighbour_table_proves_what_a_device_owns_in_both_families(at_home: Lan) -> None:
    six = "2001:db8:3::a1"
    at_home.nas.address("gateway", f"{six}/64")
    speak(at_home.nas)
    speak(at_home.nas, HomeNetwork.GATEWAY_INSIDE[1])
    server = HomeNetwork.SERVER
    speak(at_home.net.server)

    async def look() -> None:
        async with sight(LeaseFiles([str(at_home.lease_file)])) as seen:
            for address in (six, *server):
                await seen.sightings.probe(ipaddress.ip_address(address), "home")
            owned = seen.devices.owned(NAS)
            assert owned == {ipaddress.ip_address(address_of(at_home.nas)), ipaddress.ip_address(six)}
            pinned = await seen.devices.learn(Target.parse_host("device:nas"))
            assert pinned.mac == NAS
            assert set(seen.devices.addresses(pinned)) == {str(each) for each in owned}
            # What is before the gateway is no device of the LAN.
            interfaces = {each.interface for each in seen.sightings.neighbours()}
            assert interfaces == {"home"}

    try:
        run_in(at_home.net.gateway, look)
    finally:
        at_home.nas.ip(f"address delete {six}/64 dev gateway")


def test_a_probe_finds_out_at_once_who_is_there_and_disturbs_nothing(at_home: Lan) -> None:
    address = ipaddress.ip_address(address_of(at_home.nas))

    async def look() -> list[NeighbourState]:
        states = []
        async with sight(LeaseFiles([])) as seen:
            at_home.net.gateway.run(["ip", "neighbour", "flush", "to", str(address)])
            for interface in (None, "home", "home"):
                await seen.sightings.probe(address, interface)
                states += [each.state for each in seen.links.neighbours() if each.address == address]
            begin = time.monotonic()
            await seen.sightings.probe(ipaddress.ip_address("192.168.1.99"), None)
            assert time.monotonic() - begin < 2
            await seen.sightings.probe(
                ipaddress.ip_address("198.51.100.10"), None
            )  # outside: nothing is sent
        return states

    assert run_in(at_home.net.gateway, look) == [NeighbourState.REACHABLE] * 3


@contextlib.contextmanager
def avahi(host: Host, name: str, directory: Path) -> Iterator[None]:
    """A responder that people run, with a place of its own for its pid."""
    config = directory / "avahi.conf"
    config.write_text(f"[server]\nhost-name={name}\nenable-dbus=no\nallow-interfaces=gateway\n[wide-area]\n")
    run = "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && "
    command = f"{run} exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {config}"
    with host.running(["sh", "-c", command], stderr=subprocess.DEVNULL):
        yield


@pytest.mark.skipif(shutil.which("avahi-daemon") is None, reason="needs avahi-daemon")
def test_a_name_is_found_by_mdns_and_proved_by_the_neighbour_table(at_home: Lan) -> None:
    six = "2001:db8:3::b2"
    at_home.tv.address("gateway", "192.168.1.40/24", f"{six}/64")
    at_home.net.gateway.ip("neighbour flush all")  # of the addresses that earlier tests gave it

    async def look() -> tuple[str, ...]:
        async with sight(LeaseFiles([])) as seen:
            target = Target.parse_host("device:livingroom")
            async with asyncio.timeout(20):
                while not await seen.sightings.ask_mdns("livingroom"):  # noqa: ASYNC110 - avahi is starting
                    await asyncio.sleep(0.2)
            pinned = await seen.devices.learn(target)
            assert pinned.mac == TV
            return seen.devices.addresses(pinned)

    try:
        with avahi(at_home.tv, "livingroom", at_home.directory):
            assert run_in(at_home.net.gateway, look) == ("192.168.1.40", six)
    finally:
        at_home.tv.ip("address flush dev gateway scope global")


@pytest.mark.parametrize("state", ["stale", "reachable"])
def test_a_name_of_mdns_is_not_pinned_to_who_was_at_its_address_before(at_home: Lan, state: str) -> None:
    at_home.tv.ip("address add 192.168.1.43/24 dev gateway", "route replace 224.0.0.0/4 dev gateway")
    responder = at_home.tv.call(lambda: Responder("192.168.1.43", "192.168.1.43"))
    entry = f"192.168.1.43 lladdr {NAS} nud {state} dev home"
    at_home.net.gateway.ip(f"neighbour replace {entry}")  # nobody of that MAC address answers there

    async def look() -> tuple[str, tuple[str, ...]]:
        async with sight(LeaseFiles([])) as seen:
            pinned = await seen.devices.learn(Target.parse_host("device:parlour"))
            return pinned.mac, seen.devices.addresses(pinned)

    try:
        mac, addresses = run_in(at_home.net.gateway, look)
        assert mac == TV
        assert addresses[0] == "192.168.1.43"
    finally:
        responder.close()
        at_home.tv.ip("address flush dev gateway scope global")


class Responder:
    """Answers every mDNS question with one address, to the port it came from (RFC 6762 §6.7), from the
    source address it is given.
    """

    def __init__(self, source: str, answer: str) -> None:
        self.heard = threading.Event()
        self._answer = answer
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(("", 5353))
        member = socket.inet_aton("224.0.0.251") + socket.inet_aton(source)
        self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.bind((source, 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not connected; it wakes `recvfrom` all the same
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._sock.close()
        self._out.close()

    def _serve(self) -> None:
        while True:
            data, address = self._sock.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            response = dns.message.Message(query.id)
            response.flags = dns.flags.QR | dns.flags.AA
            response.question = query.question
            name = query.question[0].name
            response.answer.append(dns.rrset.from_text(name, 10, "IN", "A", self._answer))
            self._out.sendto(response.to_wire(), address)
            self.heard.set()


@pytest.mark.parametrize(("source", "believed"), [("192.168.1.41", True), ("10.99.0.5", False)])
def test_only_answers_from_the_link_are_believed(at_home: Lan, source: str, believed: bool) -> None:
    at_home.tv.ip(f"address add {source}/24 dev gateway")
    at_home.tv.ip("route replace default dev gateway", "route replace 224.0.0.0/4 dev gateway")
    responder = at_home.tv.call(lambda: Responder(source, "192.168.1.41"))

    async def look() -> tuple[str, ...]:
        async with sight(LeaseFiles([])) as seen:
            lans = near_networks(find_roles(seen.links.facts))
            return tuple(str(each.address) for each in await ask("radio", lans, deadline=0.8))

    try:
        # The gateway may answer to a foreign address only if it knows a way to it.
        at_home.net.gateway.run(["ip", "route", "replace", "10.98.0.0/24", "dev", "home"])
        assert run_in(at_home.net.gateway, look) == (("192.168.1.41",) if believed else ())
        assert responder.heard.is_set()
    finally:
        responder.close()
        at_home.net.gateway.run(["ip", "route", "delete", "10.98.0.0/24", "dev", "home"])
        at_home.tv.ip("address flush dev gateway scope global")
