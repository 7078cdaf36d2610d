"""What the kernel cannot carry, and where it cannot work: reasons in words, and the relay in its place."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import pytest

from sekimori.model.errors import Problem
from sekimori.planes.kernel import opening
from sekimori.planes.kernel.absent import AbsentKernel
from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import HomeNetwork
from sekimori.testing.ports import free_ports

from .home import Home, moved_into

pytestmark = pytest.mark.netns

GATEWAY, SERVER, DESKTOP = HomeNetwork.GATEWAY, HomeNetwork.SERVER, HomeNetwork.DESKTOP


@pytest.mark.parametrize(
    ("words", "english", "japanese"),
    [
        ({"to": "198.51.100.10"}, "198.51.100.10", "198.51.100.10"),
        ({"to": HomeNetwork.GATEWAY_INSIDE[0]}, "this machine", "このマシン"),
        ({"to": "127.0.0.1"}, "this machine", "このマシン"),
        ({"to": SERVER[1], "on": GATEWAY[0]}, "two IP versions", "IP の版が違い"),
        ({"to": SERVER[0], "on": HomeNetwork.GATEWAY_INSIDE[0]}, "192.168.1.1", "192.168.1.1"),
        ({"to": SERVER[0], "proxy_protocol": 1}, "PROXY", "PROXY"),
        ({"to": SERVER[0], "idle": "5m"}, "", ""),
    ],
    ids=["not-inside", "own-address", "loopback", "other-family", "not-a-wan", "proxy-protocol", "idle"],
)
def test_what_the_kernel_cannot_carry_is_refused_with_the_reason(
    kernel_home: Home, words: dict[str, object], english: str, japanese: str
) -> None:
    fields = {"ports": f"{free_ports()}:80", "from": "anyone", **words}
    with pytest.raises(Problem) as told:
        kernel_home.open(fields)
    said = told.value
    assert said.code == "no-plane"
    assert english in said.title("en"), said.title("en")
    assert japanese in said.title("ja"), said.title("ja")
    assert said.title("en") != said.title("ja")
    assert kernel_home.daemon.client.mappings() == []


def test_what_is_opened_right_after_the_gateway_is_carried(kernel_home: Home) -> None:
    """The kernel's word that it forwards now may come later than the next request."""
    home = kernel_home
    for _ in range(5):
        home.net.gateway.sysctl(ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)
        home.daemon.restart()
        home.daemon.client.enable_gateway()
        for target in (SERVER[0], SERVER[1]):
            home.open({"ports": str(free_ports()), "to": target, "from": "anyone"})
        home.daemon.client.disable_gateway()
        for view in home.daemon.client.mappings():
            home.daemon.client.close(view["id"], now=True)
    home.net.gateway.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    home.daemon.restart()


def test_without_forwarding_nothing_is_carried(kernel_home: Home) -> None:
    home, port = kernel_home, free_ports()
    home.net.gateway.sysctl(ipv4__ip_forward=0)
    try:
        home.daemon.restart()
        with pytest.raises(Problem) as told:
            home.open({"ports": f"{port}", "to": SERVER[0], "from": "anyone"})
        assert "forward" in told.value.title()
        assert "転送" in told.value.title("ja")
    finally:
        home.net.gateway.forward()
        home.daemon.restart()
    assert home.open({"ports": f"{port}", "to": SERVER[0], "from": "anyone"})["path"] == ["kernel"]


@pytest.mark.parametrize("ways", [("relay", "kernel"), ("kernel", "relay")], ids="-to-".join)
def test_a_mapping_moves_between_planes_and_goes_on_serving(kernel_home: Home, ways: tuple[str, str]) -> None:
    home, port = kernel_home, free_ports()
    home.server.tcp_echo(SERVER[0], 7001)
    udp = home.server.udp_echo(SERVER[0], 7001)
    fields = {"ports": f"tcp+udp/{port}:7001", "to": SERVER[0], "from": "anyone", "via": ways[0]}
    view = home.open(fields)
    for via in (*ways, *ways):
        home.daemon.client.edit(view["id"], {"via": via})
        assert home.daemon.client.get(view["id"])["path"] == [via]
        assert home.visitor.dial(port, GATEWAY[0]).says_back(b"x" * 10_000)
        assert home.visitor.datagrams(port, GATEWAY[0]).ask(b"?", 10) == b"?"
        source = HomeNetwork.VISITOR[0] if via == "kernel" else HomeNetwork.GATEWAY_INSIDE[0]
        assert udp.seen[-1][0] == source


NO_RIGHTS = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]


def _hidden(library: Path) -> list[str]:
    """Words before a command for which a library is not there."""
    script = f'mount --bind /dev/null {library} && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]


def _library() -> Path:
    name = ctypes.util.find_library("nftables")
    assert name is not None
    found = next(root / name for root in Path("/usr/lib").glob("*-linux-gnu") if (root / name).exists())
    return found.resolve()


@pytest.mark.parametrize("lack", ["rights", "library"])
def test_where_the_kernel_plane_cannot_work_the_relay_does(network: HomeNetwork, lack: str) -> None:
    prefix = NO_RIGHTS if lack == "rights" else _hidden(_library())
    config = "[relay]\nworkers = 1\ngrace = '1s'\n"
    with DaemonProcess(config, netns=network.gateway.netns, prefix=prefix) as daemon:
        port, client = free_ports(), daemon.client
        outcome = client.open({"ports": f"{port}:80", "to": SERVER[0], "from": "anyone"})
        assert outcome["mappings"][0]["path"] == ["relay"]
        with pytest.raises(Problem) as told:
            client.open({"ports": f"{port + 1}:80", "to": SERVER[0], "from": "anyone", "via": "kernel"})
        text = told.value.title()
        assert ("NET_ADMIN" if lack == "rights" else "nftables") in text, text
        with pytest.raises(Problem) as told:
            client.enable_gateway()
        assert told.value.code == "needs-net-admin"
        assert client.ban("192.0.2.1")["changes"], "bans are kept by the relay"


def test_a_kernel_without_a_feature_is_told_by_its_name(
    network: HomeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This kernel has them all, so rules that none has stand for the features."""
    real = opening._FEATURES
    with moved_into(network.gateway):
        plane = opening.open_kernel()
        assert not isinstance(plane, AbsentKernel)
        plane._held_open.close()
        monkeypatch.setattr(opening, "structure_text", lambda frame: "add rule inet sekimori none drop\n")
        found = opening.open_kernel()
        assert isinstance(found, AbsentKernel)
        assert "No such file" in found.why["en"], (
            "all that is known has been tried, so nft's own words are told"
        )
        monkeypatch.setattr(opening, "_FEATURES", (*real, ("warp", "ct warp 9")))
        found = opening.open_kernel()
        assert isinstance(found, AbsentKernel)
        assert "warp" in found.why["en"]
        assert "warp" in found.why["ja"]
        assert network.gateway.run(["nft", "list", "tables"]).stdout == ""
