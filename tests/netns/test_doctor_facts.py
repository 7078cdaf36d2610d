"""What the doctor reads of a real machine, and what strict filtering really does."""

from __future__ import annotations

import ipaddress
import itertools
import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sekimori.model.network import Lan, Network, Wan
from sekimori.observe.diagnose.doctor import diagnose
from sekimori.observe.diagnose.facts import list_set_with_nft, list_with_nft, read_machine
from sekimori.testing.netlab import HomeNetwork, Lab, TwoWans, two_wans, why_not
from sekimori.testing.peers import eventually

from .doctoring import LAN, WAN, Scene, addresses, built, codes, opening, scene

__all__ = ["built", "scene"]

pytestmark = pytest.mark.netns

SETS = f"""
table inet other {{
  set servers {{ type ipv4_addr; flags interval; elements = {{ {HomeNetwork.SERVER[0]}-192.168.1.20 }}
  }}
  map ports {{ type inet_service : verdict; elements = {{ 80 : drop }}
  }}
  chain c {{ type filter hook forward priority 0; policy accept
    ip daddr @servers tcp dport vmap @ports
  }}
}}
"""


def terse() -> dict[str, Any]:
    done = subprocess.run(["nft", "-j", "-t", "list", "ruleset"], capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_elements_left_out_are_a_doubt_until_they_are_asked_for(scene: Scene) -> None:
    scene.nft(SETS)
    assert not scene.reaches()
    assert codes(scene.doctor()) == ["fw-drops"]
    for list_set, confidence in ((None, "possible"), (list_set_with_nft, "certain")):
        machine = scene.net.gateway.call(
            lambda list_set=list_set: read_machine(terse, [WAN, LAN], terse=True, list_set=list_set)  # type: ignore[misc]
        )
        mapping = opening(f"{HomeNetwork.SERVER[0]}:80", "tcp/8080", "kernel")
        (found,) = diagnose(mapping, addresses(HomeNetwork.SERVER[0]), scene.network(), machine)
        assert found.confidence == confidence


def test_what_is_read_is_of_the_callers_network(scene: Scene) -> None:
    scene.net.gateway.sysctl(**{f"ipv4__conf__{WAN}__rp_filter": 2})
    machine = scene.net.gateway.call(lambda: read_machine(list_with_nft, [WAN, LAN]))
    assert machine.sysctls["net.ipv4.ip_forward"] == "1"
    assert machine.sysctls[f"net.ipv4.conf.{WAN}.rp_filter"] == "2"
    assert machine.bridges == {LAN}
    assert not machine.hidden


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_strict_filtering_drops_what_comes_by_the_second_wan() -> None:
    with Lab() as lab:
        net = two_wans(lab)
        wans = tuple(
            Wan(device, addresses(own[0]), has4=True)  # type: ignore[arg-type]
            for device, own in zip(TwoWans.DEVICES, (TwoWans.WAN_A, TwoWans.WAN_B), strict=False)
        )
        home = Lan("home", (ipaddress.ip_network("192.168.1.0/24"),), addresses(TwoWans.GATEWAY_INSIDE[0]))
        network = Network(wans, (home,), forwarding4=True)
        mapping = opening(f"{TwoWans.SERVER[0]}:80", "tcp/8080", "kernel")

        def dropped() -> int:
            lines = [line.split() for line in Path("/proc/thread-self/net/netstat").read_text().splitlines()]
            names, values = next(
                pair for pair in itertools.pairwise(lines) if "IPReversePathFilter" in pair[0]
            )
            return int(values[names.index("IPReversePathFilter")])

        def doctor() -> list[str]:
            machine = net.gateway.call(lambda: read_machine(list_with_nft, TwoWans.DEVICES))
            found = diagnose(mapping, addresses(TwoWans.SERVER[0]), network, machine)
            return [each.code for each in found if each.code != "bridge-nf"]

        def knock() -> None:
            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"?", (TwoWans.WAN_B[0], 9))

            net.visitor.call(send)

        knock()
        assert net.gateway.call(dropped) == 0
        assert doctor() == []
        net.gateway.sysctl(ipv4__conf__wan_b__rp_filter=1)
        knock()
        eventually(lambda: net.gateway.call(dropped))
        assert doctor() == ["rp-filter-strict"]
