"""A device at an address that the kernel believes to be another's, on a real LAN."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import Peers, eventually
from sekimori.testing.ports import free_ports

from .dhcp import NAS, TV, Lan, lan, speak

__all__ = ["lan"]

pytestmark = pytest.mark.netns

GATEWAY = HomeNetwork.GATEWAY[0]
OLD, NEW = "192.168.1.5", "192.168.1.30"
MOVED_WITHIN = 5.0
"""Seconds in which a mapping follows a device that has moved."""


@dataclass
class Home:
    """The NAS is at OLD, where a mapping leads to it, and the TV at NEW. The leases are written here by hand:
    dnsmasq would tell the kernel whom it gives an address, and most servers do not.
    """

    lan: Lan
    daemon: DaemonProcess
    leases: Path

    def lease(self, address: str) -> None:
        """Write down that the NAS has an address, as dnsmasq would."""
        self.leases.write_text(f"{int(time.time()) + 3600} {NAS} {address} nas *\n")

    def neighbour(self, address: str) -> str:
        """The gateway's entry of an address, as `ip neighbour` shows it, in lower case."""
        return self.lan.net.gateway.run(["ip", "neighbour", "show", address]).stdout.lower()

    def believe(self, address: str, mac: str, state: str) -> None:
        """Have the gateway know who is at an address, and how well."""
        self.lan.net.gateway.ip(f"neighbour replace {address} lladdr {mac} dev home nud {state}")

    def open(self, ports: str) -> dict[str, Any]:
        """Open ports to the NAS, for anyone."""
        wish = {"ports": ports, "to": "device:nas", "from": "anyone"}
        view: dict[str, Any] = self.daemon.client.open(wish)["mappings"][0]
        assert self.targets(view) == [OLD]
        return view

    def targets(self, view: dict[str, Any]) -> list[str]:
        """Where a mapping leads now."""
        found: list[str] = self.daemon.client.get(view["id"])["status"]["targets"]
        return found


def go(host: Host, address: str) -> None:
    """Take another address as many a device does: without a word of it (RFC 5227 §2.3 asks for one)."""
    host.ip("address flush dev gateway scope global", f"address add {address}/24 dev gateway")
    host.ip("route replace default via 192.168.1.1")


@pytest.fixture(scope="module")
def daemon(lan: Lan) -> Iterator[DaemonProcess]:
    config = f"[relay]\nworkers = 1\n[network]\nleases = ['{lan.directory / 'written'}']\n"
    with DaemonProcess(config, netns=lan.net.gateway.netns) as running:
        yield running


@pytest.fixture
def home(lan: Lan, daemon: DaemonProcess) -> Iterator[Home]:
    at_home = Home(lan, daemon, lan.directory / "written")
    at_home.lease(OLD)
    lan.nas.ip("link set gateway up")
    for host, address, mac in ((lan.tv, NEW, TV), (lan.nas, OLD, NAS)):
        go(host, address)
        speak(host)
        at_home.believe(address, mac, "reachable")
    yield at_home
    for view in daemon.client.mappings():
        daemon.client.close(view["id"], now=True)


@pytest.mark.parametrize("state", ["stale", "reachable"])
def test_a_device_is_followed_to_an_address_that_another_has_left(home: Home, state: str) -> None:
    port, service = free_ports(), free_ports()
    with Peers(home.lan.nas.call) as nas, Peers(home.lan.net.visitor.call) as visitor:
        nas.tcp_echo("0.0.0.0", service, tag=b"nas-----")
        view = home.open(f"{port}:{service}")
        assert visitor.dial(port, GATEWAY).exactly(8) == b"nas-----"

        home.lan.tv.ip("address flush dev gateway scope global")
        go(home.lan.nas, NEW)
        home.believe(NEW, TV, state)
        begin = time.monotonic()
        home.lease(NEW)
        eventually(lambda: home.targets(view) == [NEW], 20)
        eventually(lambda: NAS in home.neighbour(NEW), 20)
        took = time.monotonic() - begin
        print(f"after {took:.2f} s")
        assert took < MOVED_WITHIN
        assert visitor.dial(port, GATEWAY).exactly(8) == b"nas-----"


def test_a_lease_moves_nothing_to_an_address_that_another_holds(home: Home) -> None:
    view = home.open(str(free_ports()))
    home.lan.nas.ip("link set gateway down")
    home.believe(NEW, TV, "stale")
    home.lease(NEW)
    seen: set[tuple[str, ...]] = set()

    def has_answered() -> bool:
        seen.add(tuple(home.targets(view)))
        return "failed" in home.neighbour(OLD) and "reachable" in home.neighbour(NEW)

    eventually(has_answered, 20)
    assert TV in home.neighbour(NEW)
    assert seen | {tuple(home.targets(view))} == {(OLD,)}


def test_nothing_goes_to_another_at_the_address_of_a_lease_that_still_runs(home: Home) -> None:
    view = home.open(str(free_ports()))
    go(home.lan.nas, "192.168.1.99")
    go(home.lan.tv, OLD)
    speak(home.lan.tv)  # which the kernel notes as stale: nobody has asked
    begin = time.monotonic()
    eventually(lambda: home.daemon.client.get(view["id"])["status"]["state"] == "failed", 20)
    assert time.monotonic() - begin < MOVED_WITHIN
    assert home.daemon.client.get(view["id"])["status"]["problem"]["code"] == "device-moved-away"
