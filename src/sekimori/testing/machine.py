"""A machine as a gateway whose facts tests own."""

from __future__ import annotations

import ipaddress

from sekimori.model.errors import Problem
from sekimori.model.network import Lan, Network, Wan
from sekimori.policy.machine import Machine

__all__ = ["FakeMachine"]


class FakeMachine:
    """A home gateway: `wan0` with an address from the provider, `lan0` with a private prefix.

    Attributes:
        problem: why it cannot be made a gateway; None while it can.
        network: what it stands between.
        sysctls: kernel settings with their values.
    """

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.network = Network(
            wans=(
                Wan(
                    "wan0",
                    addresses4=(ipaddress.IPv4Address("203.0.113.5"),),
                    gateway4=ipaddress.IPv4Address("203.0.113.1"),
                    has4=True,
                ),
            ),
            lans=(
                Lan(
                    "lan0",
                    prefixes=(ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00:1::/64")),
                    addresses=(ipaddress.ip_address("192.168.1.1"),),
                ),
            ),
        )
        self.sysctls = {
            "net.ipv4.ip_forward": "0",
            "net.ipv6.conf.all.forwarding": "0",
            "net.ipv6.conf.wan0.accept_ra": "1",
        }

    @property
    def machine(self) -> Machine:
        """What policy asks."""
        return Machine(lambda: self.problem, lambda: self.network, lambda name: self.sysctls.get(name))
