"""What DHCP servers of Debian really write, and whether they take the lines that reserve an address."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekimori.host.leases import LeaseFiles
from sekimori.model.device import Device, Lease, LeaseServer, reservation
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually

pytestmark = pytest.mark.netns

MAC = "02:00:00:00:00:a1"
RESERVED = Device(MAC, ("nas",), (ipaddress.IPv4Address("192.168.9.50"),))
SUBNET, POOL = "192.168.9.0/24", ("192.168.9.100", "192.168.9.110")


Make = Callable[[Path, str], tuple[list[str], Path]]
"""Writes a server's configuration with a reservation or none; its command and its lease file."""


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A machine with a LAN, and a device on it without an address."""
    why = why_not() or ("needs udhcpc" if shutil.which("udhcpc") is None else None)
    if why is not None:
        pytest.skip(why)
    with Lab() as lab:
        gateway, nas = lab.host("gateway"), lab.host("nas")
        lab.cable(gateway, nas)
        gateway.address("nas", "192.168.9.1/24")
        nas.ip(f"link set gateway address {MAC}")
        yield gateway, nas


def dhcpd(directory: Path, reserved: str) -> tuple[list[str], Path]:
    subnet = f"subnet 192.168.9.0 netmask 255.255.255.0 {{ range {' '.join(POOL)}; }}"
    (directory / "dhcpd.conf").write_text(f"authoritative;\n{reserved}\n{subnet}\n")
    leases = directory / "dhcpd.leases"
    leases.touch()
    files = ["-cf", str(directory / "dhcpd.conf"), "-lf", str(leases), "-pf", str(directory / "pid")]
    return ["dhcpd", "-4", "-f", *files, "-user", "root", "-group", "root", "nas"], leases


def kea(directory: Path, reserved: str) -> tuple[list[str], Path]:
    leases = directory / "kea-leases4.csv"
    subnet = {"subnet": SUBNET, "pools": [{"pool": " - ".join(POOL)}]}
    config = {
        "interfaces-config": {"interfaces": ["nas"]},
        "lease-database": {"type": "memfile", "persist": True, "name": str(leases)},
        "subnet4": [{**subnet, "reservations": [json.loads(reserved)] if reserved else []}],
    }
    (directory / "kea.json").write_text(json.dumps({"Dhcp4": config}))
    places = [f"KEA_PIDFILE_DIR={directory}", f"KEA_LOCKFILE_DIR={directory}"]
    return ["env", *places, "kea-dhcp4", "-c", str(directory / "kea.json")], leases


def obtain(nas: Host, directory: Path) -> str:
    """The address that the device is given, as its client says."""
    script = directory / "client"
    script.write_text('#!/bin/sh\n[ "$1" != bound ] || echo "$ip"\n')
    script.chmod(0o755)
    words = ["udhcpc", "-i", "gateway", "-f", "-n", "-q", "-t", "20", "-T", "1", "-s", str(script)]
    return nas.run([*words, "-x", "hostname:NAS"]).stdout.split()[-1]


@pytest.mark.parametrize(
    ("server", "program", "make"),
    [(LeaseServer.ISC, "dhcpd", dhcpd), (LeaseServer.KEA, "kea-dhcp4", kea)],
    ids=["dhcpd", "kea"],
)
def test_a_real_servers_file_is_read_and_its_reservation_kept(
    hosts: tuple[Host, Host], tmp_path: Path, server: LeaseServer, program: str, make: Make
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    gateway, nas = hosts
    command, path = make(tmp_path, "")
    files = LeaseFiles([str(path)])
    with gateway.running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        address = obtain(nas, tmp_path)
        (lease,) = eventually(files.leases)
    assert lease.expires_at is not None
    assert time.time() < lease.expires_at < time.time() + 86400
    assert lease == Lease(ipaddress.ip_address(address), MAC, "nas", lease.expires_at, server)

    command, _ = make(tmp_path, reservation(RESERVED, server))
    with gateway.running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        assert obtain(nas, tmp_path) == "192.168.9.50"
