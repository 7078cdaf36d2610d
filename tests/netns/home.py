"""A home network with a daemon on its gateway, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Lab, home_network, why_not
from sekimori.testing.peers import Peers

RESOLVER = "192.168.1.10"
"""The name server that the gateway asks, on the server."""


@dataclass(frozen=True)
class Home:
    """The network, the daemon on its gateway, and peers on the hosts that tests need them on."""

    net: HomeNetwork
    daemon: DaemonProcess
    visitor: Peers
    stranger: Peers
    server: Peers
    desktop: Peers

    def open(self, fields: Mapping[str, object]) -> dict[str, Any]:
        """Open a mapping on the gateway; its view."""
        view: dict[str, Any] = self.daemon.client.open(fields)["mappings"][0]
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
        yield home_network(lab)


@pytest.fixture(scope="module")
def gateway(network: HomeNetwork) -> Iterator[DaemonProcess]:
    network.gateway.resolve_with(RESOLVER)
    config = "[relay]\nworkers = 2\ngrace = '1s'\n"
    with DaemonProcess(config, netns=network.gateway.netns) as running:
        yield running


@pytest.fixture
def home(network: HomeNetwork, gateway: DaemonProcess) -> Iterator[Home]:
    """The network as a test finds it: nothing is open."""
    with (
        Peers(network.visitor.call) as visitor,
        Peers(network.stranger.call) as stranger,
        Peers(network.server.call) as server,
        Peers(network.desktop.call) as desktop,
    ):
        yield Home(network, gateway, visitor, stranger, server, desktop)
        for view in gateway.client.mappings():
            gateway.client.close(view["id"], now=True)
