"""The front page and the tutorial, typed in order at a real daemon, answer what they show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually
from tests.docs.documents import FRONT, LANGUAGES, ROOT, Typed, blocks, language_of, named, typed

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_not() is not None, reason=f"network namespaces: {why_not()}"),
]

_TIMES = re.compile(r"(today|tomorrow|今日|明日|\d{4}-\d{2}-\d{2}) \d{2}:\d{2}")
_REVISION = re.compile(r"(sekimori undo) \d+")
ALONE = [ROOT / "docs" / language / "tutorial" / "first-port.md" for language in LANGUAGES]
GATEWAY = [
    *FRONT.values(),
    *(ROOT / "docs" / language / "tutorial" / "gateway.md" for language in LANGUAGES),
]
HOW_TO = [
    ROOT / "docs" / language / "how-to" / f"{name}.md"
    for language in LANGUAGES
    for name in (
        "forward-ports",
        "gateway-services",
        "ipv6-pinholes",
        "dmz-host",
        "port-triggering",
        "vpn-passthrough",
    )
]
HANGS_ON_TRAFFIC = ("who", "history")


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """A daemon in a network of its own, where the tutorial's ports are free."""
    with Lab() as lab, DaemonProcess(netns=lab.host("tutorial").netns) as running:
        yield running


class Gateway(NamedTuple):
    """A host, and the daemon on it."""

    host: Host
    daemon: DaemonProcess


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A daemon between an outside and an inside, as the tutorial on the gateway has them."""
    with Lab() as lab:
        outside, here, inside = map(lab.host, ("outside", "gateway", "inside"))
        lab.cable(here, outside, ("eth0", "eth0"))
        lab.cable(here, inside, ("br0", "eth0"))
        outside.address("eth0", "203.0.113.1/24")
        here.address("eth0", "203.0.113.10/24")
        here.address("br0", "192.168.1.1/24")
        here.route("203.0.113.1")
        # As it is where nobody changed it; a lab switches it off.
        here.sysctl(ipv6__conf__eth0__accept_ra=1)
        inside.address("eth0", "192.168.1.5/24")
        with DaemonProcess(netns=here.netns) as running:
            yield Gateway(here, running)


def _lines(page: Path) -> list[Typed]:
    return [one for one in typed(page) if one.line.startswith("sekimori ") and "--foreground" not in one.line]


def _plain(text: str) -> list[str]:
    """The lines, without what differs from one day to another."""
    return [_REVISION.sub(r"\1 N", _TIMES.sub("WHEN", line)) for line in text.splitlines() if line.strip()]


def _type(one: Typed, daemon: DaemonProcess, language: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(one.line)],
        env={
            **os.environ,
            "SEKIMORI_SOCKET": str(daemon.socket),
            "SEKIMORI_LANG": language,
            "COLUMNS": "110",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    refused = bool(one.answer) and one.answer[0].startswith("sekimori: ")
    assert (done.returncode != 0) == refused, done.stdout
    return _plain(done.stdout)


@pytest.mark.parametrize("page", ALONE, ids=named)
def test_what_is_typed_answers_what_is_shown(daemon, page):
    _type_all(page, daemon)


@pytest.mark.parametrize("page", GATEWAY, ids=named)
def test_what_is_typed_on_a_gateway_answers_what_is_shown(gateway, page):
    _type_all(page, gateway.daemon)


@pytest.mark.parametrize("page", HOW_TO, ids=named)
def test_what_is_typed_on_a_gateway_that_stands_answers_what_is_shown(gateway, page):
    """Its IPv6 addresses come and go with the test: the tutorial has none."""
    addresses = (("eth0", "2001:db8:2::10/64"), ("br0", "2001:db8:3::1/64"))
    try:
        for device, address in addresses:
            gateway.host.address(device, address)
        eventually(lambda: _has(gateway, "2001:db8:3::/64"))
        gateway.daemon.client.enable_gateway(firewall=True)
        # The kernel tells that it forwards a moment after it was told to.
        eventually(lambda: gateway.daemon.client.gateway()["forwarding6"])
        _type_all(page, gateway.daemon)
    finally:
        gateway.host.ip(*(f"address delete {address} dev {device}" for device, address in addresses))
        eventually(lambda: not _has(gateway, "2001:db8:3::/64"))


@pytest.mark.parametrize("page", GATEWAY[2:], ids=named)
def test_the_small_world_can_be_built(page):
    """In a network and a directory of namespaces that end with the shell."""
    (block,) = (block for block in blocks(page) if block.kind == "sh")
    look = "ip -n inside route get 203.0.113.1; ip -n gateway -brief address; ip -n outside -brief link"
    script = f"mount -t tmpfs none /run/netns\nset -e\n{block.text}\n{look}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for shown in ("203.0.113.1 via 192.168.1.1 dev eth0", "203.0.113.10/24", "192.168.1.1/24"):
        assert shown in done.stdout


def _has(gateway: Gateway, prefix: str) -> bool:
    """Whether the daemon knows a prefix to be of its LAN."""
    return any(prefix in lan["prefixes"] for lan in gateway.daemon.client.gateway()["lans"])


def _type_all(page: Path, daemon: DaemonProcess) -> None:
    """Type the lines of a page in order, and leave nothing open."""
    language = language_of(page)
    lines = _lines(page)
    assert lines
    for one in lines:
        answer = _type(one, daemon, language)
        if one.line == "sekimori ls" and daemon.client.mappings():
            # The figures hang on who came; the rest of each row does not.
            columns = [line.split()[:4] for line in _plain("\n".join(one.answer))]
            assert [line.split()[:4] for line in answer] == columns
        elif one.answer and one.line.split()[1] not in HANGS_ON_TRAFFIC:
            assert answer == _plain("\n".join(one.answer)), one.line
    for view in daemon.client.mappings():
        daemon.client.close(view["id"], now=True)
    if any(door["enabled"] for door in daemon.client.doors()["doors"]):
        daemon.client.change_doors({"igd": None, "portmap": None})
    if daemon.client.gateway()["enabled"]:
        daemon.client.disable_gateway()
    # The kernel tells of its settings a moment later.
    eventually(lambda: not daemon.client.gateway()["forwarding4"])
