"""This machine as a gateway: what policy must know of it, and what being one takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sekimori.model.causes import cause
from sekimori.model.errors import Problem
from sekimori.model.network import Network

__all__ = ["FORWARD4", "FORWARD6", "NO_GATEWAY", "Machine", "in_order", "value_for"]

FORWARD4: Final = "net.ipv4.ip_forward"
FORWARD6: Final = "net.ipv6.conf.all.forwarding"


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts of this machine, each found out anew when it is asked for.

    Attributes:
        obstacle: why it cannot be made a gateway; None when it can.
        network: its interfaces and what they are for.
        sysctl: the value that a kernel setting has; None where this kernel has no such setting.
    """

    obstacle: Callable[[], Problem | None]
    network: Callable[[], Network]
    sysctl: Callable[[str], str | None]

    def to_change(self) -> tuple[tuple[str, str], ...]:
        """The kernel settings that a gateway needs otherwise, with the values they have, by name.

        Forwarding, of both families; and where an IPv6 WAN takes its route from router advertisements,
        that it goes on taking them: a router does not unless `accept_ra` is 2 (ip-sysctl.rst). Where
        advertisements are switched off, they stay so.
        """
        found = [(name, self.sysctl(name)) for name in (FORWARD4, FORWARD6)]
        changing = [(name, now) for name, now in found if now not in (None, value_for(name))]
        for wan in self.network().wans:
            # A dot in an interface's name is a slash in the setting's (sysctl(8)).
            name = f"net.ipv6.conf.{wan.interface.replace('.', '/')}.accept_ra"
            if self.sysctl(name) == "1":
                changing.append((name, "1"))
        return tuple(sorted((name, now) for name, now in changing if now is not None))


def value_for(name: str) -> str:
    """What a gateway sets a kernel setting of `Machine.to_change` to."""
    return "2" if name.endswith(".accept_ra") else "1"


def in_order(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Settings in the order in which a gateway changes them.

    `accept_ra` comes first: when forwarding is switched on, the kernel drops the routes of
    advertisements that it will not take any more (rt6_purge_dflt_routers).
    """
    return sorted(found, key=lambda pair: (not pair[0].endswith(".accept_ra"), pair[0]))


NO_GATEWAY: Final = Machine(
    obstacle=lambda: Problem("needs-net-admin", why=cause("no-gateway-plane")),
    network=Network,
    sysctl=lambda _name: None,
)
"""A machine none of whose planes may change what the kernel does with packets."""
