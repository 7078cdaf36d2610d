"""`sekimori doctor` beside the real firewalld: a pinhole that it rejects is opened by a policy and closed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork, Lab, home_network, why_not
from sekimori.testing.peers import TcpEcho, eventually

from .doctoring import INSIDE, LAN, QUICK, WAN, NamespaceHands, bridge_netfilter, etc_of, need
from .test_doctor_firewalld import BUS

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]  # each command of theirs takes its time

SERVER = HomeNetwork.SERVER[1]


@pytest.fixture
def net() -> Iterator[HomeNetwork]:
    why = why_not()
    if why is not None:
        pytest.skip(why)
    need("firewalld", "firewall-cmd", "dbus-daemon", "nft")
    with Lab() as lab:
        made = home_network(lab)
        bridge_netfilter(made.gateway, on=False)
        server = made.server.call(lambda: TcpEcho(SERVER, INSIDE, b"hello"))
        yield made
        server.close()


@pytest.fixture
def daemon(net: HomeNetwork, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon on a gateway that firewalld keeps, on a bus that both know."""
    gateway = net.gateway
    etc_of(gateway, "firewalld")
    bus_socket, config = tmp_path / "bus", tmp_path / "bus.conf"
    config.write_text(BUS.format(path=bus_socket))
    environ = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus_socket}"}
    hands = NamespaceHands(gateway, [f"{name}={value}" for name, value in environ.items()])
    bus = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"]
    firewalld = ["env", *hands.env, "firewalld", "--nofork", "--nopid", "--log-target", "console"]
    with (tmp_path / "log").open("wb") as log, gateway.running(bus, stdout=log, stderr=log):
        eventually(bus_socket.exists)
        with gateway.running(firewalld, stdout=log, stderr=log):
            eventually(lambda: hands.run(["firewall-cmd", "--state"]).code == 0, deadline=20)
            for zone, device in (("public", WAN), ("internal", LAN)):
                for place in ([], ["--permanent"]):
                    done = hands.run(["firewall-cmd", *place, f"--zone={zone}", f"--add-interface={device}"])
                    assert done.code == 0, done.output
            with DaemonProcess(environ=environ, netns=gateway.netns) as running:
                yield running


def reaches(net: HomeNetwork) -> bool:
    """Whether the visitor is answered by the server inside, at its own address."""

    def connect() -> bool:
        with socket.socket(socket.AF_INET6) as sock:
            sock.settimeout(QUICK)
            try:
                sock.connect((SERVER, INSIDE))
                return sock.recv(5) == b"hello"
            except OSError:
                return False

    return net.visitor.call(connect)


def test_a_pinhole_through_firewalld(net: HomeNetwork, daemon: DaemonProcess) -> None:
    client = daemon.client
    pinhole = {"ports": f"tcp/{INSIDE}", "to": SERVER, "from": "anyone", "via": "kernel", "name": "web"}
    assert client.open(pinhole)["mappings"][0]["kind"] == "pinhole"
    assert not reaches(net)
    (found,) = [each for each in client.doctor("web")["findings"] if each["severity"] == "error"]
    assert (found["code"], found["mapping"]) == ("fw-rejects", "web")
    assert (found["evidence"]["owner"], found["evidence"]["chain"]) == ("firewalld", "filter_FWD_public")

    done = client.fix("web")
    assert [each["problem"] for each in done["treated"]] == [None]
    assert [each for each in done["findings"] if each["severity"] == "error"] == []
    assert reaches(net)

    undone = client.fix("web", undo=True)
    assert [each["problem"] for each in undone["treated"]] == [None]
    assert not reaches(net)
    assert undone["remedies"] == []
