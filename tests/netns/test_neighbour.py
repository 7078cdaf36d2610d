"""Who the kernel believes to have an address, and who has proved it lately."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from sekimori.host.neighbour import find_mac
from sekimori.host.probing import probe
from sekimori.testing.netlab import HomeNetwork, Host, Lab, home_network, why_not
from sekimori.testing.peers import eventually

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

DESKTOP = ip_address("192.168.1.11")


@pytest.fixture
def net() -> Iterator[HomeNetwork]:
    with Lab() as lab:
        yield home_network(lab)


def mac_at(host: Host, *, proved: bool) -> str | None:
    return host.call(lambda: find_mac(DESKTOP, "home", proved=proved))


def meet(net: HomeNetwork) -> str:
    """Have the gateway know the desktop; its MAC address."""
    net.desktop.call(lambda: probe(ip_address(HomeNetwork.GATEWAY_INSIDE[0]), None))
    return eventually(lambda: mac_at(net.gateway, proved=False))


def test_a_device_that_has_left_is_believed_in_but_not_proved(net: HomeNetwork) -> None:
    mac = meet(net)
    device = net.desktop.run(["cat", "/sys/class/net/gateway/address"]).stdout.strip()
    assert mac == device
    # The kernel puts off its own doubt for half a minute; `probe` is what ends it.
    net.desktop.ip("link set gateway down")
    net.gateway.ip(f"neighbour change {DESKTOP} lladdr {mac} dev home nud stale")
    assert mac_at(net.gateway, proved=False) == mac
    assert mac_at(net.gateway, proved=True) is None


def test_one_that_answers_is_proved(net: HomeNetwork) -> None:
    mac = meet(net)
    net.gateway.call(lambda: probe(DESKTOP, "home"))
    assert eventually(lambda: mac_at(net.gateway, proved=True)) == mac


def test_nobody_and_no_such_interface(net: HomeNetwork) -> None:
    nobody = ip_address("192.168.1.200")
    assert net.gateway.call(lambda: find_mac(nobody, "home")) is None
    assert net.gateway.call(lambda: find_mac(DESKTOP, "nothing0")) is None
