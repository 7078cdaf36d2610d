"""A gateway whose portmap door is open to its home, with clients on the hosts there."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.pcpclient import PcpClient
from sekimori.wire import natpmp, pcp

__all__ = ["CONFIG", "House", "Listener", "at_house", "mapped", "pcp_mapped", "spoofing"]

CONFIG: Final = """
[relay]
workers = 1
grace = 'none'
[gateway]
masquerade = true
firewall = true
[doors.portmap]
interfaces = ['home']
"""

_IP_TRANSPARENT: Final = 19
_IPV6_TRANSPARENT: Final = 75


class House:
    """The home network with the daemon on its gateway."""

    def __init__(self, net: HomeNetwork, daemon: DaemonProcess) -> None:
        self.net = net
        self.daemon = daemon
        self._stack = ExitStack()

    def client(self, host: Host, server: str = HomeNetwork.GATEWAY_INSIDE[0]) -> PcpClient:
        """A client on a host; it is closed after the test."""
        return self._stack.enter_context(host.call(lambda: PcpClient(server)))

    def listener(self, host: Host, group: str) -> Listener:
        """Hears announcements on a host."""
        heard = host.call(lambda: Listener(group))
        self._stack.callback(heard.close)
        return heard

    def leases(self) -> list[dict[str, Any]]:
        """What stands."""
        return self.daemon.client.mappings()

    def close(self) -> None:
        """Close the clients, and every mapping."""
        self._stack.close()
        for view in self.leases():
            self.daemon.client.close(view["id"], now=True)


@contextmanager
def at_house(net: HomeNetwork, daemon: DaemonProcess) -> Iterator[House]:
    """The house for one test."""
    house = House(net, daemon)
    try:
        yield house
    finally:
        house.close()


class Listener:
    """A socket on port 5350 in a multicast group, on the device towards the gateway."""

    def __init__(self, group: str) -> None:
        self._four = ":" not in group
        family = socket.AF_INET if self._four else socket.AF_INET6
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        packed, index = ipaddress.ip_address(group).packed, socket.if_nametoindex("gateway")
        if self._four:
            request = struct.pack("=4s4si", packed, bytes(4), index)
            self._sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            self._sock.bind(("0.0.0.0", pcp.ANNOUNCE_PORT))
        else:
            request = struct.pack("=16si", packed, index)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._sock.bind(("::", pcp.ANNOUNCE_PORT))

    def hear(self, within: float = 10) -> tuple[bytes, tuple[str, int]]:
        """The next announcement, and who sent it.

        Raises:
            TimeoutError: none came.
        """
        self._sock.settimeout(within)
        data, sender = self._sock.recvfrom(2048)
        return data, (sender[0], sender[1])

    def hear_address(self, address: str, within: float = 10) -> natpmp.AddressResponse:
        """Wait until an address is announced by NAT-PMP.

        Raises:
            TimeoutError: it was not.
        """
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            data, _ = self.hear(left)
            if pcp.dialect_untrusted(data) is pcp.Dialect.NATPMP:
                told = natpmp.decode_response_untrusted(data)
                if isinstance(told, natpmp.AddressResponse) and str(told.address) == address:
                    return told
        raise TimeoutError(f"{address} was not announced")

    def close(self) -> None:
        """Close it."""
        self._sock.close()


def spoofing(source: str, server: str) -> socket.socket:
    """A UDP socket that asks a server in another's name, from this host's own MAC address."""
    four = ":" not in source
    sock = socket.socket(socket.AF_INET if four else socket.AF_INET6, socket.SOCK_DGRAM)
    if four:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    sock.bind((source, 0))
    sock.connect((server, pcp.PORT))
    return sock


def mapped(answer: natpmp.Response) -> natpmp.MapResponse:
    """The answer, which is a success."""
    assert isinstance(answer, natpmp.MapResponse), answer
    return answer


def pcp_mapped(answer: pcp.Response | pcp.ErrorResponse | pcp.OtherVersion) -> pcp.Map | pcp.Peer:
    """What was mapped."""
    assert isinstance(answer, pcp.Response), answer
    assert isinstance(answer.body, pcp.Map | pcp.Peer)
    return answer.body
