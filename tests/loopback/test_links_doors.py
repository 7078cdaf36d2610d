"""Two daemons, a link from one to the other's SSH door; and what clients of that door and of SOCKS get."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.peers import Peers, eventually, is_alive
from sekimori.testing.ports import free_ports
from sekimori.testing.sshd import make_key, why_no_sshd

pytestmark = [
    pytest.mark.loopback,
    pytest.mark.skipif(why_no_sshd() is not None, reason=str(why_no_sshd())),
]

BACK: float = 15.0
"""Seconds in which a port has to work again."""
_RELAY = "[relay]\nworkers = 2\ngrace = '2s'\n"


class Gateway:
    """A daemon with an SSH door, and one user of it.

    Attributes:
        port: of the door.
        granted: ports that the user may open.
    """

    def __init__(self, daemon: DaemonProcess, directory: Path) -> None:
        self.daemon = daemon
        self.port = free_ports()
        self.granted = free_ports(4)
        self.key = make_key(directory / "user")
        ports = f"{self.granted}-{self.granted + 3}"
        grant = {"ports": ports, "from": "127.0.0.0/8", "to": ["127.0.0.1"]}
        public = Path(f"{self.key}.pub").read_text(encoding="ascii").strip()
        daemon.client.add_user("bob", {"keys": [public], "grant": grant})
        daemon.client.change_doors({"ssh": {"listen": [f"127.0.0.1:{self.port}"]}})
        eventually(lambda: accepts(self.port))

    def link(self, laptop: DaemonProcess) -> None:
        """Have another daemon make a link here, whose host key was read off this one's screen."""
        (door,) = [each for each in self.daemon.client.doors()["doors"] if each["name"] == "ssh"]
        fingerprint = door["host_keys"][0].split()[1]
        laptop.client.put_link(
            "gw",
            {
                "to": f"ssh://127.0.0.1:{self.port}",
                "identity": [str(self.key)],
                "host_keys": [fingerprint],
                "config": "none",
            },
        )
        eventually(lambda: laptop.client.link("gw")["phase"] == "up")

    def ssh(self, *words: str) -> subprocess.Popen[bytes]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes"]
        told = [word for option in options for word in ("-o", option)]
        known = ["-F", "none", "-i", str(self.key), "-p", str(self.port), *told]
        return subprocess.Popen(
            ["ssh", "-N", *known, *words, "any@127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def echoes(port: int, data: bytes = b"hello") -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.sendall(data)
            return sock.recv(len(data), socket.MSG_WAITALL) == data
    except OSError:
        return False


def returns(port: int, data: bytes) -> bool:
    """Whether a datagram comes back as it was; one that is lost is not sent again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(data)
            return sock.recv(65536) == data
        except OSError:
            return False


def of_state(daemon: DaemonProcess, name: str) -> dict[str, Any]:
    status: dict[str, Any] = daemon.client.get(name)["status"]
    return status


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with DaemonProcess(_RELAY) as daemon:
        yield Gateway(daemon, tmp_path)


@pytest.fixture
def laptop() -> Iterator[DaemonProcess]:
    with DaemonProcess(_RELAY) as daemon:
        yield daemon


def test_both_ways_and_datagrams_between_two_of_us(
    gateway: Gateway, laptop: DaemonProcess, peers: Peers
) -> None:
    gateway.link(laptop)
    echo, udp = peers.tcp_echo(), peers.udp_echo()
    through, far = free_ports(), gateway.granted
    laptop.client.open({"ports": f"{through}", "to": f"127.0.0.1:{echo.port}", "via": "gw", "name": "out"})
    laptop.client.open(
        {"ports": f"udp/{through}", "to": f"127.0.0.1:{udp.port}", "via": "gw", "name": "out-udp"}
    )
    laptop.client.open(
        {
            "ports": f"{far}",
            "to": f"127.0.0.1:{echo.port}",
            "at": "gw",
            "name": "in",
            "from": "127.0.0.0/8",
        }
    )
    laptop.client.open(
        {
            "ports": f"udp/{far + 1}",
            "to": f"127.0.0.1:{udp.port}",
            "at": "gw",
            "name": "in-udp",
            "from": "127.0.0.0/8",
        }
    )
    assert echoes(through)
    assert echoes(far)
    for size in (1, 1200, 9000):
        for port in (through, far + 1):
            eventually(lambda port=port, size=size: returns(port, b"x" * size))  # type: ignore[misc]
    assert laptop.client.link("gw")["sekimori"] is True
    assert {each["owner"] for each in gateway.daemon.client.mappings()} == {"key:bob"}


def test_a_port_of_plain_ssh_comes_back_to_its_key(gateway: Gateway, peers: Peers) -> None:
    echo, port = peers.tcp_echo(), gateway.granted
    words = ("-R", f"{port}:127.0.0.1:{echo.port}")
    with ExitStack() as stack:
        client = gateway.ssh(*words)
        stack.callback(client.wait)
        stack.callback(client.kill)
        eventually(lambda: echoes(port))
        (mapping,) = gateway.daemon.client.mappings()
        client.kill()
        eventually(lambda: of_state(gateway.daemon, mapping["id"])["state"] == "failed")
        assert of_state(gateway.daemon, mapping["id"])["problem"]["code"] == "client-away"
        assert not echoes(port)
        gateway.daemon.kill9()
        gateway.daemon.start()
        eventually(lambda: accepts(gateway.port))
        again = gateway.ssh(*words)
        stack.callback(again.wait)
        stack.callback(again.kill)
        eventually(lambda: echoes(port), BACK)
        (back,) = gateway.daemon.client.mappings()
        assert back["id"] == mapping["id"]


def test_the_link_and_its_ports_outlive_the_gateways_restart(
    gateway: Gateway, laptop: DaemonProcess, peers: Peers
) -> None:
    gateway.link(laptop)
    echo, far = peers.tcp_echo(), gateway.granted
    laptop.client.open({"ports": f"{far}", "to": f"127.0.0.1:{echo.port}", "at": "gw", "from": "127.0.0.0/8"})
    eventually(lambda: echoes(far))
    gateway.daemon.kill9()
    gateway.daemon.start()
    eventually(lambda: echoes(far), BACK)
    laptop.kill9()
    laptop.start()
    eventually(lambda: echoes(far), BACK)
    assert len(gateway.daemon.client.mappings()) == 1


def _curl(socks: int, port: int) -> int:
    asked = ["curl", "-sS", "-m", "5", "--http0.9", "--socks5-hostname", f"127.0.0.1:{socks}"]
    return subprocess.run(
        [*asked, f"http://127.0.0.1:{port}/"], capture_output=True, check=False, timeout=20
    ).returncode


def test_socks_from_here_and_through_a_link(gateway: Gateway, laptop: DaemonProcess, peers: Peers) -> None:
    gateway.link(laptop)
    web = peers.tcp_echo()
    direct, linked = free_ports(), free_ports()
    common = {"to": "socks", "on": "127.0.0.1", "from": "127.0.0.0/8", "reach": "127.0.0.1"}
    laptop.client.open({**common, "ports": f"{direct}", "name": "direct"})
    laptop.client.open({**common, "ports": f"{linked}", "via": "gw", "name": "linked"})
    # The echo never ends its answer: curl is answered, and gives up after its time (28).
    assert _curl(direct, web.port) == 28
    assert _curl(linked, web.port) == 28
    assert laptop.client.get("direct")["counters"]["bytes_out"] > 0
    assert laptop.client.get("linked")["counters"]["bytes_out"] > 0
    (pid,) = _processes(laptop, "sekimori.planes.dialler")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))
    eventually(lambda: _curl(direct, web.port) == 28, BACK)
    laptop.client.close("direct")
    eventually(lambda: not _processes(laptop, "sekimori.planes.dialler"))


def _processes(daemon: DaemonProcess, module: str) -> list[int]:
    found = []
    for path in Path(f"/proc/{daemon.pid}/task").glob("*/children"):
        for pid in map(int, path.read_text(encoding="ascii").split()):
            if module in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
                found.append(pid)
    return found
