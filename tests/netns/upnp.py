"""A gateway with a public address and the igd door open to its home, and control points there."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Host
from sekimori.testing.peers import eventually
from sekimori.testing.upnpclient import UpnpClient, search
from sekimori.wire.igdservices import IgdVersion
from sekimori.wire.ssdp import GROUP4, PORT

__all__ = ["CONFIG", "PUBLIC", "Ear", "Home", "at_home", "public_network"]

T = TypeVar("T")

PUBLIC: Final = "45.77.0.2"
"""The gateway's first address outside. miniupnpc takes a gateway with a documentation address, as the lab's
others are, for one that is not connected."""
INSIDE: Final = HomeNetwork.GATEWAY_INSIDE[0]
DEVICE: Final = "urn:schemas-upnp-org:device:InternetGatewayDevice"

CONFIG: Final = """
[relay]
workers = 1
grace = 'none'
[gateway]
masquerade = true
firewall = true
"""


def public_network(net: HomeNetwork) -> None:
    """Give the gateway its public address."""
    net.gateway.ip(f"address add {PUBLIC}/32 dev isp", f"route replace default via 203.0.113.1 src {PUBLIC}")
    net.isp.ip(f"route add {PUBLIC}/32 via {net.GATEWAY[0]}")


class Home:
    """The home network with the daemon on its gateway."""

    def __init__(self, net: HomeNetwork, daemon: DaemonProcess) -> None:
        self.net = net
        self.daemon = daemon

    def open(self, version: IgdVersion = 1) -> None:
        """Enable the door, and wait until it answers."""
        self.daemon.client.change_doors({"igd": {"interfaces": ["home"], "version": version}})
        self.find(version)

    def shut(self) -> None:
        """Disable it."""
        self.daemon.client.change_doors({"igd": None})

    def find(self, version: IgdVersion = 1) -> int:
        """Search for the gateway from the desktop; the port of its web server."""

        def once() -> int | None:
            found = self.net.desktop.call(lambda: search(f"{DEVICE}:{version}", (GROUP4, PORT), within=0.25))
            ports = {each.location.port for each in found if each.location.path == f"/v{version}/root.xml"}
            return ports.pop() if len(ports) == 1 else None

        return eventually(once)

    def url(self, version: IgdVersion = 1, gateway: str = INSIDE) -> str:
        """The URL of the root description."""
        host = f"[{gateway}]" if ":" in gateway else gateway
        return f"http://{host}:{self.find(version)}/v{version}/root.xml"

    def upnpc(self, host: Host, *words: str) -> str:
        """What Debian's upnpc says on a host."""
        return host.run(["upnpc", *words], check=False).stdout

    def client(self, version: IgdVersion = 1, gateway: str = INSIDE) -> UpnpClient:
        """A control point for `talk`."""
        return UpnpClient(gateway, self.find(version), None, version)

    def talk(self, host: Host, say: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on a host."""
        return host.call(lambda: asyncio.run(say()))

    def leases(self) -> list[dict[str, Any]]:
        """What stands."""
        return self.daemon.client.mappings()

    def ports(self) -> set[str]:
        """The ports that stand."""
        return {str(each["ports"]) for each in self.leases()}


@contextmanager
def at_home(net: HomeNetwork, daemon: DaemonProcess) -> Iterator[Home]:
    """The home for one test: no door is open, nothing else either."""
    home = Home(net, daemon)
    try:
        yield home
    finally:
        home.shut()
        for view in home.leases():
            daemon.client.close(view["id"], now=True)
        daemon.client.set_permissions(None)


class Ear:
    """A socket of the group on a host, on its device towards the gateway."""

    def __init__(self, host: Host) -> None:
        self._sock = host.call(_listen)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def hear(self, kind: str, target: str) -> bytes:
        """The first announcement of a kind (`ssdp:alive`) that is about a target."""
        self._sock.settimeout(10)
        while True:
            data = self._sock.recv(4096)
            fields = dict(re.findall(rb"(?im)^([^:\r\n]+): *([^\r\n]*)", data))
            if fields.get(b"NTS") == kind.encode() and fields.get(b"NT") == target.encode():
                return data


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    request = struct.pack("=4s4si", socket.inet_aton(GROUP4), bytes(4), socket.if_nametoindex("gateway"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    sock.bind(("0.0.0.0", PORT))
    return sock
