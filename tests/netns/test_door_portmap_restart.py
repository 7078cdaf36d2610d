"""What a restart, a loss and another outside address mean to devices that have asked for ports."""

from __future__ import annotations

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.peers import eventually
from sekimori.wire import natpmp, pcp

from .portmapping import CONFIG, at_house, mapped

pytestmark = pytest.mark.netns

GATEWAY, GATEWAY_TOO = HomeNetwork.GATEWAY, HomeNetwork.GATEWAY_TOO


def test_a_restart_keeps_leases_and_goes_on_counting(network: HomeNetwork) -> None:
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as daemon, at_house(network, daemon) as house:
        client = house.client(network.server)
        begun = mapped(client.natpmp_map(5000, 6000))
        eventually(lambda: mapped(client.natpmp_map(5000, 6000)).epoch >= begun.epoch + 1)
        before = mapped(client.natpmp_map(5000, 6000))
        for end in (daemon.stop, daemon.kill9):
            end()
            daemon.start()
            house.daemon = daemon
            [lease] = house.leases()
            assert lease["ports"] == "udp/6000:5000"
            after = mapped(client.natpmp_map(5000, 7000))
            assert after.epoch >= before.epoch
            assert after.outside_port == 6000
            before = after


def test_a_lost_state_and_a_new_address_are_announced(network: HomeNetwork) -> None:
    with DaemonProcess(CONFIG, netns=network.gateway.netns) as daemon, at_house(network, daemon) as house:
        daemon.stop()
        (daemon.state_dir / "portmap-epoch.json").unlink()
        hearing = [house.listener(network.server, group) for group in ("224.0.0.1", "ff02::1")]
        daemon.start()
        for listener in hearing:
            data, (_, port) = listener.hear()
            told = pcp.decode_response_untrusted(data)
            assert isinstance(told, pcp.Response)
            assert (told.body, port) == (pcp.Announce(), pcp.PORT)
            assert told.epoch <= 2
        hearing[0].hear_address(GATEWAY[0])

        client = house.client(network.server)
        eventually(lambda: mapped(client.natpmp_map(5000, 6000)).epoch >= 2)
        wan = "isp"
        try:
            network.gateway.ip(  # the other address there goes with the first, as a secondary one does
                f"address delete {GATEWAY[0]}/24 dev {wan}",
                f"address add {GATEWAY_TOO[0]}/24 dev {wan}",
                "route replace default via 203.0.113.1",
            )
            announced = hearing[0].hear_address(GATEWAY_TOO[0])
            assert announced.epoch < 2
            again = mapped(client.natpmp_map(5000, 6000))
            assert again.outside_port == 6000
            address = client.ask_natpmp(natpmp.AddressRequest())
            assert isinstance(address, natpmp.AddressResponse)
            assert str(address.address) == GATEWAY_TOO[0]
        finally:
            network.gateway.ip(
                f"address flush dev {wan} scope global",
                *(f"address add {four}/24 dev {wan}" for four in (GATEWAY[0], GATEWAY_TOO[0])),
                *(f"address add {six}/64 dev {wan} nodad" for six in (GATEWAY[1], GATEWAY_TOO[1])),
                "route replace default via 203.0.113.1",
                "route replace default via 2001:db8:2::1",
            )
