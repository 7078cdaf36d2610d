"""What the benchmark of doors stands on: a gateway for each daemon, and a device that asks them by protocol.

The device's code is the same for both daemons: raw datagrams and raw HTTP made by our wire codecs. What is
timed is from the first byte of a request to the last of its answer.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Protocol

from bench.kernel_lab import Road, pss
from sekimori.model.address import IpProtocol
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host
from sekimori.testing.peers import eventually, is_alive
from sekimori.testing.upnpclient import http_request, search
from sekimori.wire import natpmp, pcp
from sekimori.wire.httpmessage import HttpUrl
from sekimori.wire.igdcall import call_body
from sekimori.wire.igdroot import connections, parse_root_untrusted
from sekimori.wire.igdservices import Value, find_service
from sekimori.wire.soap import CONTENT_TYPE, RouterFault, decode_answer_untrusted, soap_action
from sekimori.wire.ssdp import PORT as SSDP_PORT

LIFETIME: Final = 7200
_WITHIN: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")

CONFIG: Final = """
[relay]
workers = 1
[gateway]
masquerade = true
firewall = true
"""

RULESET: Final = """
table inet filter {
    chain forward { type filter hook forward priority 0; policy drop; jump miniupnpd; }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}
"""
"""The chains that it fills, as Debian's `/etc/miniupnpd/nft_init.sh` makes them."""

MINIUPNPD: Final = """
ext_ifname=wan
# It serves nobody where its own address is one for documentation, as all are here.
ext_ip=11.0.0.1
listening_ip=home
ipv6_disable=yes
enable_upnp=yes
enable_natpmp=yes
secure_mode=yes
http_port=5000
uuid=668142bc-54a6-41c2-8d1d-4b89bea22fd8
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
"""Debian's, with the door open. It keeps no file of leases, so they are gone with it; ours are not."""


class Gateway(Protocol):
    """A daemon that devices can ask."""

    def held(self) -> int:
        """How many forwards its part of the ruleset holds."""
        ...

    def memory(self) -> float:
        """Its processes' memory in megabytes (PSS)."""
        ...

    def processor(self) -> float:
        """Seconds of processor time that it has used."""
        ...


class _Processes:
    def __init__(self, host: Host, pids: Callable[[], list[int]], listing: list[str], forward: str) -> None:
        self._host = host
        self._pids = pids
        self._listing = listing
        self._forward = re.compile(forward)

    def held(self) -> int:
        return len(self._forward.findall(self._host.run(["nft", "list", *self._listing]).stdout))

    def memory(self) -> float:
        return sum(pss(pid) for pid in self._pids()) / 1e6

    def processor(self) -> float:
        return sum(_used(pid) for pid in self._pids())


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime: proc(5)


@contextmanager
def miniupnpd(road: Road, folder: Path) -> Iterator[Gateway]:
    """It as a service runs it: in the background, with as much in the log as it says by itself."""
    config, file = folder / "miniupnpd.conf", folder / "miniupnpd.pid"
    config.write_text(MINIUPNPD)
    road.gateway.run(["nft", "-f", "-"], text=RULESET)
    road.gateway.run(["miniupnpd", "-f", str(config), "-P", str(file)])
    eventually(lambda: file.exists() and file.read_text().strip() != "")
    pid = int(file.read_text())
    listing = ["chain", "inet", "filter", "prerouting_miniupnpd"]
    try:
        yield _Processes(road.gateway, lambda: [pid], listing, r"\bdnat\b")
    finally:
        os.kill(pid, signal.SIGKILL)  # a SIGTERM that comes while it works is noticed at the next packet
        eventually(lambda: not is_alive(pid))
        road.gateway.run(["nft", "delete", "table", "inet", "filter"])


@contextmanager
def sekimori(road: Road, door: str) -> Iterator[Gateway]:
    """The daemon with a door open to the LAN, whose devices may have as many leases as they like."""
    with DaemonProcess(CONFIG, netns=road.gateway.netns) as daemon:
        daemon.client.set_permissions(["allow all most any"])
        daemon.client.change_doors({door: {"interfaces": ["home"]}})
        listing = ["map", "inet", "sekimori", "fwd4_all"]

        def pids() -> list[int]:
            return [daemon.pid, *daemon.worker_pids]

        yield _Processes(road.gateway, pids, listing, r"\b(?:udp|17) \. \d+")
    road.gateway.run(["nft", "delete", "table", "inet", "sekimori"])


# -- a device -----------------------------------------------------------------------------------------


class Device(Protocol):
    """Asks for UDP mappings of ports to itself, from a thread in the network of the device."""

    def map(self, port: int) -> float:
        """Open a mapping or renew it; the seconds until the answer. A refusal ends the benchmark."""
        ...

    def close(self) -> None: ...


class NatPmp:
    """By NAT-PMP."""

    def __init__(self, road: Road) -> None:
        self._sock = _connected(road)
        eventually(self._is_answered, deadline=_WITHIN)

    def map(self, port: int) -> float:
        data = natpmp.encode_request(natpmp.MapRequest(IpProtocol.UDP, port, port, LIFETIME))
        took, answer = _ask(self._sock, data)
        said = natpmp.decode_response_untrusted(answer)
        if not isinstance(said, natpmp.MapResponse) or said.outside_port != port:
            raise SystemExit(f"{port} was not mapped: {said}")
        return took

    def close(self) -> None:
        self._sock.close()

    def _is_answered(self) -> bool:
        return _is_answered(self._sock, natpmp.encode_request(natpmp.AddressRequest()))


class Pcp:
    """By PCP."""

    def __init__(self, road: Road) -> None:
        self._sock = _connected(road)
        self._address = IPv4Address(road.inside)
        self._nonce = os.urandom(12)
        announce = pcp.encode_request(pcp.Request(0, self._address, pcp.Announce()))
        eventually(lambda: _is_answered(self._sock, announce), deadline=_WITHIN)

    def map(self, port: int) -> float:
        body = pcp.Map(self._nonce, IpProtocol.UDP.number, port, port, IPv4Address(0))
        took, answer = _ask(self._sock, pcp.encode_request(pcp.Request(LIFETIME, self._address, body)))
        said = pcp.decode_response_untrusted(answer)
        mapped = said.body if isinstance(said, pcp.Response) else None
        if not isinstance(mapped, pcp.Map) or mapped.outside_port != port:
            raise SystemExit(f"{port} was not mapped: {said}")
        return took

    def close(self) -> None:
        self._sock.close()


class Upnp:
    """By UPnP, with a connection for each call, as the programs of devices make them (miniupnpc)."""

    def __init__(self, road: Road) -> None:
        self._client = road.inside
        location = _find(_gateway_address(road))
        request = http_request("GET", location.path, location.host, {"Connection": "close"})
        document = _body(_exchange(location, request))
        service = connections(parse_root_untrusted(document, location).services)[0]
        self._kind, self._control = service.service_type, service.control
        found = find_service(self._kind)
        assert found is not None
        self._action = found.actions["AddPortMapping"]

    def map(self, port: int) -> float:
        values: dict[str, Value] = {
            "NewRemoteHost": "",
            "NewExternalPort": port,
            "NewProtocol": "UDP",
            "NewInternalPort": port,
            "NewInternalClient": self._client,
            "NewEnabled": True,
            "NewPortMappingDescription": "bench",
            "NewLeaseDuration": LIFETIME,
        }
        fields = {
            "SOAPAction": soap_action(self._kind, self._action.name),
            "Content-Type": CONTENT_TYPE,
            "Connection": "close",
        }
        body = call_body(self._kind, self._action, values)
        request = http_request("POST", self._control.path, self._control.host, fields, body)
        begun = time.perf_counter()
        answer = _exchange(self._control, request)
        took = time.perf_counter() - begun
        said = decode_answer_untrusted(_body(answer), self._action.name)
        if isinstance(said, RouterFault):
            raise SystemExit(f"{port} was not mapped: {said}")
        return took

    def close(self) -> None:
        """Nothing stays open."""


def _find(address: str) -> HttpUrl:
    """Where the description is, as a search tells."""
    target = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
    found: list[HttpUrl] = []

    def is_found() -> bool:
        found.extend(each.location for each in search(target, (address, SSDP_PORT), within=0.5))
        return bool(found)

    eventually(is_found, deadline=_WITHIN)
    return found[0]


def _exchange(url: HttpUrl, request: bytes) -> bytes:
    with socket.create_connection((str(url.address), url.port), _WITHIN) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def _connected(road: Road) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((_gateway_address(road), pcp.PORT))
    return sock


def _gateway_address(road: Road) -> str:
    return road.inside.rpartition(".")[0] + ".1"


def _ask(sock: socket.socket, data: bytes) -> tuple[float, bytes]:
    """Send once: a datagram that is lost ends the benchmark."""
    sock.settimeout(_WITHIN)
    begun = time.perf_counter()
    sock.send(data)
    answer = sock.recv(2048)
    return time.perf_counter() - begun, answer


def _is_answered(sock: socket.socket, data: bytes) -> bool:
    """Whether anybody is there yet. An answer that is late must not be taken for the next one."""
    sock.settimeout(0.5)
    try:
        sock.send(data)
        sock.recv(2048)
    except (ConnectionRefusedError, TimeoutError):
        return False
    return True


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        raise SystemExit("a connection ended without an answer")
    return body
