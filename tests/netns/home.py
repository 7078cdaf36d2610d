"""A home network with a daemon on its gateway, shared by the tests of a module."""

from __future__ import annotations

import ctypes
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host, Lab, home_network, why_not
from sekimori.testing.peers import Peers

RESOLVER = "192.168.1.10"
"""The name server that the gateway asks, on the server."""


@dataclass(frozen=True)
class Home:
    """The network, the daemon on its gateway, and peers on the hosts that tests need them on.

    Attributes:
        via: the plane that mappings are opened on, where a test does not say.
    """

    net: HomeNetwork
    daemon: DaemonProcess
    visitor: Peers
    stranger: Peers
    server: Peers
    desktop: Peers
    via: str

    def open(self, fields: Mapping[str, object]) -> dict[str, Any]:
        """Open a mapping on the gateway; its view."""
        view: dict[str, Any] = self.daemon.client.open({"via": self.via, **fields})["mappings"][0]
        return view

    def counters(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """The counters of a mapping."""
        found: dict[str, Any] = self.daemon.client.get(view["id"])["counters"]
        return found


@pytest.fixture(scope="module")
def network() -> Iterator[HomeNetwork]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        net = home_network(lab)
        filter_bridged(net.gateway, False)
        yield net


@pytest.fixture(scope="module")
def gateway(network: HomeNetwork) -> Iterator[DaemonProcess]:
    network.gateway.resolve_with(RESOLVER)
    config = "[relay]\nworkers = 2\ngrace = '1s'\n"
    with DaemonProcess(config, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def home(network: HomeNetwork, gateway: DaemonProcess) -> Iterator[Home]:
    """The network as a test finds it: nothing is open. What it opens is relayed."""
    with at_home(network, gateway, "relay") as home:
        yield home


@pytest.fixture
def kernel_home(network: HomeNetwork, gateway: DaemonProcess) -> Iterator[Home]:
    """The same network; what a test opens is carried by the gateway's kernel."""
    with at_home(network, gateway, "kernel") as home:
        yield home


@contextmanager
def at_home(network: HomeNetwork, gateway: DaemonProcess, via: str) -> Iterator[Home]:
    with (
        Peers(network.visitor.call) as visitor,
        Peers(network.stranger.call) as stranger,
        Peers(network.server.call) as server,
        Peers(network.desktop.call) as desktop,
    ):
        yield Home(network, gateway, visitor, stranger, server, desktop, via)
        clear(gateway)


def clear(daemon: DaemonProcess) -> None:
    """Have a daemon keep nothing: no mapping, no ban, no gateway."""
    for view in daemon.client.mappings():
        daemon.client.close(view["id"], now=True)
    for ban in daemon.client.bans():
        daemon.client.unban(ban["prefix"])
    if daemon.client.gateway()["enabled"]:
        daemon.client.disable_gateway()


def filter_bridged(host: Host, on: bool) -> bool:
    """Have what a host's bridges carry pass its IP hooks too, as Docker does, or not, as is usual.

    Returns:
        Whether it is so now: a kernel without br_netfilter cannot.
    """
    names = [f"bridge__bridge-nf-call-{each}tables" for each in ("ip", "ip6")]
    try:
        host.sysctl(**dict.fromkeys(names, int(on)))
    except FileNotFoundError:
        return not on
    return True


@contextmanager
def moved_into(host: Host) -> Iterator[None]:
    """Have the main thread itself be in a host's network: `/proc/net` shows that of the main thread.

    Threads that it makes meanwhile are there too.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as home, Path(f"/run/netns/{host.netns}").open("rb") as there:
        if libc.setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns back")


def renumber(net: HomeNetwork, before: str, after: str) -> None:
    """Give the home another prefix, as a provider does overnight."""
    for host, device, end in (
        (net.gateway, "home", "1"),
        (net.server, "gateway", "10"),
        (net.desktop, "gateway", "11"),
    ):
        host.ip(f"address del {before}{end}/64 dev {device}")
        host.address(device, f"{after}{end}/64")
    for host in (net.server, net.desktop):
        host.ip(f"route replace default via {after}1")
    net.isp.ip(f"route del {before}/64", f"route add {after}/64 via {HomeNetwork.GATEWAY[1]}")


class Knock:
    """A connection attempt that is not waited for: the first SYN is sent when this is made.

    Packets in a lab go from host to host in the sender's own call, so once a later exchange with the
    same host is over, whatever this one had set off has come back too.
    """

    def __init__(self, host: Host, port: int, address: str) -> None:
        self._sock = host.call(lambda: _knock(port, address))

    def __enter__(self) -> Knock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give it up."""
        self._sock.close()

    @property
    def is_answered(self) -> bool:
        """Whether it was accepted or refused by now; otherwise nothing came back."""
        return bool(select.select([], [self._sock], [], 0)[1])

    def is_accepted(self, within: float) -> bool:
        """Whether it is accepted within so many seconds."""
        answered = select.select([], [self._sock], [], within)[1]
        return bool(answered) and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def _knock(port: int, address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect((address, port))
    except BlockingIOError:  # under way
        return sock
    except BaseException:
        sock.close()
        raise
    return sock
