"""Bridged packets in the packet filter: a host inside cannot come back by the outside address."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sekimori.model.network import Lan, Network, Wan
from sekimori.observe.diagnose.doctor import diagnose
from sekimori.observe.diagnose.facts import list_with_nft, read_machine
from sekimori.observe.diagnose.findings import Confidence, Finding
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import TcpEcho

from .doctoring import QUICK, addresses, bridge_netfilter, codes, need, only, opening

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not Path("/proc/sys/net/bridge").exists(), reason="the kernel has no br_netfilter"),
]

OUTSIDE, INSIDE, SERVER, DESKTOP = "203.0.113.2", "192.168.1.1", "192.168.1.10", "192.168.1.11"
RULES = f"""
table inet sekimori {{
  chain dstnat {{ type nat hook prerouting priority -101; policy accept
    ip daddr {OUTSIDE} tcp dport 8080 dnat ip to {SERVER}:80
  }}
  chain srcnat {{ type nat hook postrouting priority 99; policy accept
    ct status dnat iifname "home" oifname "home" masquerade
  }}
}}
"""


@dataclass(frozen=True)
class House:
    """A gateway whose LAN is a bridge with one port, and beyond it a switch with two hosts."""

    gateway: Host
    desktop: Host

    def doctor(self) -> list[Finding]:
        outside, inside = addresses(OUTSIDE), addresses(INSIDE)
        network = Network(
            wans=(Wan("wan", outside, has4=True),),  # type: ignore[arg-type]
            lans=(Lan("home", (ipaddress.ip_network("192.168.1.0/24"),), inside),),
            forwarding4=True,
            own=frozenset([*outside, *inside]),
        )
        machine = self.gateway.call(lambda: read_machine(list_with_nft, ["wan", "home"]))
        return diagnose(opening(f"{SERVER}:80", "tcp/8080", "kernel"), addresses(SERVER), network, machine)

    def reaches(self) -> bool:
        """Whether the desktop reaches the server by the outside address."""

        def connect() -> bool:
            with socket.socket() as sock:
                sock.settimeout(QUICK)
                try:
                    sock.connect((OUTSIDE, 8080))
                    return sock.recv(5) == b"hello"
                except OSError:
                    return False

        return self.desktop.call(connect)


@pytest.fixture
def house() -> Iterator[House]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    need("nft")
    with Lab() as lab:
        gateway, closet, server, desktop = map(lab.host, ("gateway", "closet", "server", "desktop"))
        lab.switch(closet, "ports", [server, desktop])
        lab.switch(gateway, "home", [closet])
        closet.ip("link set gateway master ports")
        gateway.ip("link add wan type bridge", "link set wan up")
        gateway.address("wan", f"{OUTSIDE}/24")
        gateway.address("home", f"{INSIDE}/24")
        gateway.forward()
        for host, address in ((server, SERVER), (desktop, DESKTOP)):
            host.address("closet", f"{address}/24")
            host.route(INSIDE)
        gateway.run(["nft", "-f", "-"], text=RULES)
        bridge_netfilter(gateway, on=False)
        bridge_netfilter(closet, on=False)
        echo = server.call(lambda: TcpEcho(SERVER, 80, b"hello"))
        yield House(gateway, desktop)
        echo.close()


def test_the_filter_on_the_bridge_breaks_the_hairpin(house: House) -> None:
    assert house.reaches()
    assert house.doctor() == []
    bridge_netfilter(house.gateway, on=True)
    assert not house.reaches()
    found = only(house.doctor())
    assert (found.code, found.confidence) == ("bridge-nf", Confidence.LIKELY)
    assert "home" in found.title["en"]
    assert "net.bridge.bridge-nf-call-iptables" in found.fix["ja"]
    bridge_netfilter(house.gateway, on=False)
    assert house.reaches()
    assert codes(house.doctor()) == []
