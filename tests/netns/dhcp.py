"""A home with a DHCP server on its gateway, and two devices that have no address yet."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekimori.testing.netlab import HomeNetwork, Host, Lab, home_network, why_not

NAS, TV = "02:00:00:00:00:a1", "02:00:00:00:00:b2"
"""MAC addresses."""

CLIENT = """#!/bin/sh
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound | renew)
    ip -4 address flush dev "$interface"
    ip address add "$ip/$mask" dev "$interface"
    ip route replace default via "$router"
    ;;
esac
"""


@dataclass
class Lan:
    """A home network with a DHCP server on its gateway, and machines that have no address yet."""

    net: HomeNetwork
    nas: Host
    tv: Host
    directory: Path
    dnsmasq: subprocess.Popen[Any]

    @property
    def lease_file(self) -> Path:
        return self.directory / "leases"

    def reserve(self, line: str = "") -> None:
        """Have the server give a device this address from its next request on (`MAC,ADDRESS,NAME`)."""
        (self.directory / "hosts").write_text(line + "\n")
        self.dnsmasq.send_signal(signal.SIGHUP)

    def lease(self, host: Host, name: str) -> str:
        """Have a machine ask for an address as it does when it is switched on; the address it got."""
        script = self.directory / "udhcpc"
        words = ["udhcpc", "-i", "gateway", "-f", "-n", "-q", "-t", "10", "-T", "1", "-s", str(script)]
        host.run([*words, "-x", f"hostname:{name}"])
        return address_of(host)


def address_of(host: Host) -> str:
    lines = host.run(["ip", "-4", "-o", "address", "show", "dev", "gateway"]).stdout.split()
    return lines[lines.index("inet") + 1].partition("/")[0]


def speak(host: Host, address: str = HomeNetwork.GATEWAY_INSIDE[0]) -> None:
    """Send a datagram as one new on the link does: it has to ask for the gateway, and so says who it is."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def send() -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (address, 9))

    host.run(["ip", "neighbour", "flush", "dev", "gateway"])
    host.call(send)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    why = why_not() or next(
        (f"needs {each}" for each in ("dnsmasq", "udhcpc") if shutil.which(each) is None), None
    )
    if why is not None:
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("dhcp")
    (directory / "udhcpc").write_text(CLIENT)
    (directory / "udhcpc").chmod(0o755)
    (directory / "hosts").write_text("\n")
    with Lab() as lab:
        net = home_network(lab)
        nas, tv = lab.host("nas"), lab.host("tv")
        for host, mac in ((nas, NAS), (tv, TV)):
            here, there = lab.cable(net.gateway, host)
            net.gateway.ip(f"link set {here} master home")
            host.ip(f"link set {there} address {mac}")
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
        words += ["--interface=home", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--pid-file="]
        words += ["--dhcp-range=192.168.1.100,192.168.1.150,2m", f"--dhcp-hostsfile={directory / 'hosts'}"]
        words += [f"--dhcp-leasefile={directory / 'leases'}", "--log-facility=-"]
        with net.gateway.running(words, stderr=subprocess.DEVNULL) as dnsmasq:
            yield Lan(net, nas, tv, directory, dnsmasq)
