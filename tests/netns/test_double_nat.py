"""Two routers of one home: a device asks ours, and ours asks the one above, which is Debian's miniupnpd.

`visitor - router (miniupnpd) - machine (Sekimori) - phone, console`
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host
from sekimori.testing.peers import Peers, eventually

from .abovehome import OUTSIDE, VISITOR, AboveHome, above_home, why_no_miniupnpd

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.skipif(why_no_miniupnpd() is not None, reason=str(why_no_miniupnpd())),
]

OURS, PHONE, CONSOLE = "192.168.7.1", "192.168.7.5", "192.168.7.6"
PORT = 50700
CONFIG = """
[relay]
workers = 1
grace = 'none'
[network]
wan = ['router']
lan = ['switch']
[gateway]
masquerade = true
firewall = true
[doors.portmap]
interfaces = ['switch']
[doors.igd]
interfaces = ['switch']
"""


@dataclass
class Flat:
    """The home behind both."""

    above: AboveHome
    phone: Host
    console: Host


@pytest.fixture(scope="module")
def flat() -> Iterator[Flat]:
    with above_home() as above:
        phone, console = above.lab.host("phone"), above.lab.host("console")
        above.lab.switch(above.machine, "switch", (phone, console))
        above.machine.address("switch", f"{OURS}/24")
        for host, address in ((phone, PHONE), (console, CONSOLE)):
            host.address("machine", f"{address}/24")
            host.route(OURS)
        yield Flat(above, phone, console)


@contextlib.contextmanager
def above_us(flat: Flat, directory: Path, protocol: str, more: str = "") -> Iterator[DaemonProcess]:
    """The router above, and our daemon once it has found it."""
    with (
        flat.above.miniupnpd(directory, protocol, more),
        DaemonProcess(CONFIG, netns=flat.above.machine.netns) as daemon,
    ):
        eventually(lambda: in_use(daemon, protocol), 20)
        yield daemon


def in_use(daemon: DaemonProcess, protocol: str | None = None) -> dict[str, Any] | None:
    """The router above, once it has answered."""
    found = daemon.client.router()["routers"]
    fit = [each for each in found if each["presence"] == "there" and protocol in (None, each["protocol"])]
    return fit[0] if fit else None


def asks_natpmp(host: Host, port: int) -> str:
    """What `natpmpc` says of asking for UDP and TCP on a port."""
    said = ""
    for protocol in ("udp", "tcp"):
        command = ["natpmpc", "-g", OURS, "-a", str(port), str(port), protocol, "3600"]
        said += host.run(command, check=False).stdout
    return said


def answers(flat: Flat, port: int, tag: bytes) -> None:
    """TCP and UDP from the internet get to whoever has the tag, with their own source address."""
    with Peers(flat.above.visitor.call) as out:
        talker = out.dial(port, OUTSIDE)
        assert talker.exactly(len(tag)) == tag
        assert talker.says_back(b"by TCP")
        assert out.datagrams(port, OUTSIDE).ask(b"by UDP") == tag + b"by UDP"


@contextlib.contextmanager
def served(host: Host, address: str, tag: bytes) -> Iterator[Peers]:
    with Peers(host.call) as peers:
        peers.tcp_echo(address, PORT, tag=tag)
        peers.udp_echo(address, PORT, tag=tag)
        yield peers


@pytest.mark.parametrize("protocol", ["pcp", "natpmp", "upnp"])
@pytest.mark.skipif(shutil.which("natpmpc") is None, reason="needs natpmpc")
def test_a_device_gets_a_port_through_both(flat: Flat, protocol: str, tmp_path: Path) -> None:
    with above_us(flat, tmp_path, protocol) as daemon, served(flat.phone, PHONE, b"phone "):
        said = asks_natpmp(flat.phone, PORT)
        assert f"Public IP address : {OUTSIDE}" in said
        assert said.count(f"Mapped public port {PORT}") == 2
        views = daemon.client.mappings()
        assert [view["path"] for view in views] == [["router", "kernel"]] * 2
        assert {hop["plane"]: hop["problem"] for view in views for hop in view["status"]["hops"]} == {
            "router": None,
            "kernel": None,
        }
        answers(flat, PORT, b"phone ")
        for view in views:
            daemon.client.close(view["name"])
        assert "dnat" not in flat.above.mapped()


def test_two_devices_want_one_port_and_the_second_gets_another(flat: Flat, tmp_path: Path) -> None:
    with above_us(flat, tmp_path, "pcp") as daemon:
        assert f"Mapped public port {PORT}" in asks_natpmp(flat.phone, PORT)
        said = asks_natpmp(flat.console, PORT)
        assert "Mapped public port" in said
        assert f"Mapped public port {PORT} " not in said
        outside = {view["ports"].partition(":")[0]: view["to"] for view in daemon.client.mappings()}
        mapped = flat.above.mapped()
        assert len(outside) == 4
        assert all(each.partition("/")[2] in mapped for each in outside)


def test_what_the_router_above_refuses_the_device_is_refused(flat: Flat, tmp_path: Path) -> None:
    with above_us(flat, tmp_path, "upnp", f"deny {PORT} 192.168.50.0/24 1-65535") as daemon:
        assert "Mapped public port" not in asks_natpmp(flat.phone, PORT)
        assert daemon.client.mappings() == []
        with pytest.raises(Problem) as refused:
            daemon.client.open({"ports": str(PORT), "to": PHONE, "from": "anyone"})
        assert "UPnP" in refused.value.title()
        view = daemon.client.open({"ports": str(PORT), "to": PHONE, "from": "anyone", "via": "kernel"})
        assert view["mappings"][0]["path"] == ["kernel"]


def test_the_router_above_restarts_and_what_was_open_is_open_again(flat: Flat, tmp_path: Path) -> None:
    with served(flat.phone, PHONE, b"phone "), contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        first.enter_context(flat.above.miniupnpd(tmp_path, "upnp"))
        daemon = stack.enter_context(DaemonProcess(CONFIG, netns=flat.above.machine.netns))
        eventually(lambda: in_use(daemon), 20)
        asks_natpmp(flat.phone, PORT)
        answers(flat, PORT, b"phone ")
        first.close()
        with flat.above.miniupnpd(tmp_path, "upnp"):
            eventually(lambda: flat.above.let_in().count("accept") == 2, 60)  # TCP and UDP
            eventually(lambda: _all_open(daemon) or None, 60)
            answers(flat, PORT, b"phone ")


def test_our_daemon_restarts_and_leases_stand(flat: Flat, tmp_path: Path) -> None:
    with above_us(flat, tmp_path, "pcp") as daemon, served(flat.phone, PHONE, b"phone "):
        asks_natpmp(flat.phone, PORT)
        before = {view["id"]: view["expires_at"] for view in daemon.client.mappings()}
        daemon.kill9()
        answers(flat, PORT, b"phone ")  # nobody is needed for what stands
        daemon.start()
        eventually(lambda: in_use(daemon), 20)
        eventually(lambda: _all_open(daemon) or None, 30)
        assert {view["id"]: view["expires_at"] for view in daemon.client.mappings()} == before
        answers(flat, PORT, b"phone ")


def test_a_person_opens_through_both_and_status_tells_the_line(flat: Flat, tmp_path: Path) -> None:
    with above_us(flat, tmp_path, "pcp") as daemon, served(flat.phone, PHONE, b"phone "):
        opened = daemon.client.open(
            {"ports": f"tcp+udp/8080:{PORT}", "to": PHONE, "from": f"{VISITOR}", "for": "1h"}
        )
        assert opened["mappings"][0]["path"] == ["router", "kernel"]
        assert "router-asked" in [notice["code"] for notice in opened["notices"]]
        answers(flat, 8080, b"phone ")
        facts = {fact["name"]: fact["value"] for fact in daemon.client.line()["facts"]}
        assert (facts["wan4"], facts["second-router"], facts["public4"]) == ("private", "yes", OUTSIDE)


def test_upnpc_sees_the_outermost_address(flat: Flat, tmp_path: Path) -> None:
    if shutil.which("upnpc") is None:
        pytest.skip("needs upnpc")
    with above_us(flat, tmp_path, "pcp") as daemon, served(flat.console, CONSOLE, b"console "):
        eventually(lambda: _answers(daemon) or None, 10)
        done: subprocess.CompletedProcess[str] = flat.console.run(
            ["upnpc", "-e", "game", "-a", CONSOLE, str(PORT), str(PORT), "TCP", "3600"], check=False
        )
        assert f"ExternalIPAddress = {OUTSIDE}" in done.stdout, done.stdout
        assert f"external {OUTSIDE}:{PORT} TCP is redirected to internal {CONSOLE}:{PORT}" in done.stdout
        with Peers(flat.above.visitor.call) as out:
            assert out.dial(PORT, OUTSIDE).exactly(8) == b"console "


def _answers(daemon: DaemonProcess) -> bool:
    places = [place for door in daemon.client.doors()["doors"] for place in door["interfaces"]]
    return bool(places) and all(place["problem"] is None for place in places)


def _all_open(daemon: DaemonProcess) -> bool:
    views = daemon.client.mappings()
    return bool(views) and all(view["status"]["state"] == "open" for view in views)
