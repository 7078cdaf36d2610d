"""A laptop behind two NATs shows its services through a gateway, with whatever it finds at both ends."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sekimori.model.errors import Problem
from sekimori.testing.netlab import Host
from sekimori.testing.peers import DEADLINE, Peers, Talker, eventually

from .linklab import (
    DOOR,
    GATEWAY,
    PAGE,
    PROVIDER,
    STRANGER,
    VISITOR,
    LinkLab,
    Service,
    children,
    link_lab,
    page,
    why_no_link_lab,
)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.skipif(why_no_link_lab() is not None, reason=str(why_no_link_lab())),
]

WEB = 3000
MUCH = 10_000_000


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkLab]:
    with link_lab(tmp_path_factory.mktemp("links")) as made, page(made.laptop, WEB):
        made.link("gw")
        made.link("stock")
        yield made


@pytest.fixture(autouse=True)
def closed(net: LinkLab) -> Iterator[None]:
    """What a test opened is closed, at both ends."""
    yield
    for daemon in (net.near, net.far):  # what ssh held stays its user's for a while
        for view in daemon.client.mappings():
            with suppress(Problem):  # it went with the link's
                daemon.client.close(view["id"], now=True)


class Said:
    """A program on the laptop, and what it said."""

    def __init__(self, net: LinkLab, command: list[str], path: Path) -> None:
        self._path = path
        with path.open("wb") as output:
            self.process: subprocess.Popen[bytes] = net.laptop.popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def text(self) -> str:
        return self._path.read_text()

    def says(self, pattern: str) -> re.Match[str]:
        try:
            return eventually(lambda: re.search(pattern, self.text))
        except AssertionError:
            raise AssertionError(f"it did not say {pattern!r}, but:\n{self.text}") from None

    def ends(self, number: int) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def is_refused(net: LinkLab, port: int, host: Host) -> bool:
    """Whether a newcomer who wants a page gets nothing, without having to wait for it."""
    return net.fetch(port, host, within=DEADLINE) == b""


def test_nothing_gets_in_by_itself(net: LinkLab) -> None:
    with pytest.raises(OSError):
        net.connect(WEB, address=PROVIDER)


def test_share_with_sekimori_at_both_ends(net: LinkLab, tmp_path: Path) -> None:
    share = Said(net, net.command("share", str(WEB), "--via", "gw"), tmp_path / "said")
    port = int(share.says(rf"\A{re.escape(GATEWAY)}:(\d+)  http://{re.escape(GATEWAY)}:\1/\n")[1])
    assert net.fetch(port) == PAGE
    share.says(rf"{re.escape(VISITOR)} (came to|ended|left)")
    (view,) = net.far.client.mappings()
    assert (view["owner"], view["status"]["state"]) == ("key:bob", "open")
    assert share.ends(signal.SIGINT) == 0
    share.says("Closed ")
    assert net.near.client.mappings() == []
    eventually(lambda: not net.far.client.mappings() or None)
    assert is_refused(net, port, net.visitor)


def test_a_share_that_dies_without_a_word_has_an_end(net: LinkLab, tmp_path: Path) -> None:
    share = Said(net, net.command("share", str(WEB), "--via", "gw", "--for", "4s"), tmp_path / "said")
    port = int(share.says(rf"{re.escape(GATEWAY)}:(\d+)  ")[1])
    assert net.fetch(port) == PAGE
    share.ends(signal.SIGKILL)
    eventually(lambda: not net.far.client.mappings() or None)
    assert is_refused(net, port, net.visitor)


def test_stock_ssh_at_our_gateway(net: LinkLab, tmp_path: Path) -> None:
    client = Said(net, net.ssh("-T", "-R", f"8080:localhost:{WEB}"), tmp_path / "said")
    client.says(rf"{re.escape(GATEWAY)}:8080")
    eventually(lambda: net.fetch(8080) == PAGE)
    client.says(re.escape(VISITOR))
    (view,) = net.far.client.mappings()
    net.far.client.edit(view["id"], {"from": VISITOR})
    assert net.fetch(8080) == PAGE
    assert is_refused(net, 8080, net.stranger)
    net.far.client.close(view["id"])
    client.says("8080.*(closed|ended)")
    assert is_refused(net, 8080, net.visitor)
    client.ends(signal.SIGTERM)


def test_a_stock_server_at_the_gateway(net: LinkLab) -> None:
    net.cli("open", f"8081:{WEB}", "--to", "127.0.0.1", "--at", "stock", "--from", VISITOR)
    assert net.fetch(8081) == PAGE
    assert is_refused(net, 8081, net.stranger)
    (view,) = net.near.client.mappings()
    came = {each["source"]: each["flows_total"] for each in net.near.client.who(view["id"])["sources"]}
    assert came == {VISITOR: 1, STRANGER: 0}


def test_who_may_come_in_is_asked_at_the_laptop_too(net: LinkLab) -> None:
    net.cli("open", f"8082:{WEB}", "--to", "127.0.0.1", "--at", "gw", "--from", VISITOR, "--name", "few")
    assert net.fetch(8082) == PAGE
    assert is_refused(net, 8082, net.stranger)
    net.near.client.edit("few", {"from": STRANGER})
    eventually(lambda: net.fetch(8082, net.stranger) == PAGE)
    assert is_refused(net, 8082, net.visitor)


@pytest.mark.parametrize("link", ["gw", "stock"])
def test_the_service_is_told_who_came(net: LinkLab, link: str) -> None:
    heads: list[bytes] = []

    def listen(sock: socket.socket) -> None:
        heads.append(sock.makefile("rb").readline())
        sock.sendall(b"thanks")

    with Service(net.laptop, listen) as service:
        to = f"127.0.0.1:{service.port}"
        words = ("--to", to, "--at", link, "--from", "anyone", "--proxy-protocol", "1")
        net.cli("open", "8083", *words)
        with net.connect(8083) as sock:
            own = sock.getsockname()[1]
            assert Talker(sock).rest() == b"thanks"
    assert heads == [b"PROXY TCP4 %s %s %d 8083\r\n" % (VISITOR.encode(), heads[0].split()[3], own)]


def test_datagrams_stay_what_they_are(net: LinkLab) -> None:
    with Peers(net.laptop.call) as inside, Peers(net.visitor.call) as outside:
        echo = inside.udp_echo(tag=b"")
        net.cli("open", "udp/8084", "--to", f"127.0.0.1:{echo.port}", "--at", "gw", "--from", "anyone")
        first, second = outside.datagrams(8084, GATEWAY), outside.datagrams(8084, GATEWAY)
        for size in (1, 100, 1200, 1473, 9000):
            assert first.ask(b"a" * size) == b"a" * size
            assert second.ask(b"b" * size) == b"b" * size
        # Many at once: those that come back are whole, each by itself, and in no other peer's hands.
        sent = {b"%04d" % number + b"c" * (number * 7) for number in range(100)}
        for each in sent:
            first.sock.send(each)
        first.sock.settimeout(1)
        came: set[bytes] = set()
        while len(came) < len(sent):
            try:
                came.add(first.sock.recv(1 << 16))
            except TimeoutError:
                break
        assert came <= sent
        assert len(came) > 50


def far_port(net: LinkLab, kind: str, port: int, inside: int, stack: ExitStack) -> None:
    """Have a port of the gateway lead to one of the laptop, in one of three ways."""
    if kind == "ssh":
        command = net.ssh("-N", "-R", f"{port}:127.0.0.1:{inside}")
        stack.enter_context(net.laptop.running(command, stderr=subprocess.DEVNULL))
        eventually(lambda: [each for each in net.far.client.mappings() if each["status"]["state"] == "open"])
    else:
        net.cli("open", f"{port}:{inside}", "--to", "127.0.0.1", "--at", kind, "--from", "anyone")


@pytest.mark.parametrize("kind", ["gw", "stock", "ssh"])
def test_much_goes_both_ways_and_half_a_close_is_half(net: LinkLab, kind: str, stack: ExitStack) -> None:
    answer = os.urandom(1 << 16) * (MUCH >> 16)

    def serve(sock: socket.socket) -> None:
        digest = hashlib.sha256()
        while data := sock.recv(1 << 16):
            digest.update(data)
        sock.sendall(digest.digest() + answer)

    service = stack.enter_context(Service(net.laptop, serve))
    far_port(net, kind, 8090, service.port, stack)
    asked = os.urandom(1 << 16) * (MUCH >> 16)
    with net.connect(8090) as sock:
        sock.sendall(asked)
        sock.shutdown(socket.SHUT_WR)
        got = Talker(sock).rest()
    assert got[:32] == hashlib.sha256(asked).digest()
    assert got[32:] == answer


def endless(sock: socket.socket) -> None:
    """Send, for as long as somebody takes it."""
    while True:
        sock.sendall(bytes(1 << 16))


def abort(sock: socket.socket) -> None:
    """Say half a word, and reset."""
    sock.sendall(b"half")
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("harm", ["the link", "the client", "the door", "the daemon", "the door, outwards"])
def test_a_download_that_is_broken_off_does_not_look_complete(
    net: LinkLab, harm: str, stack: ExitStack
) -> None:
    outwards = harm == "the door, outwards"
    service = stack.enter_context(Service(net.gateway if outwards else net.laptop, endless))
    if outwards:
        net.far.client.edit_user("bob", {"grant": {"to": [f"127.0.0.1:{service.port}"]}})
        to = f"127.0.0.1:{service.port}"
        net.cli("open", "8091", "--to", to, "--via", "gw", "--on", "127.0.0.1", "--from", "127.0.0.0/8")
        sock = net.connect(8091, net.laptop, "127.0.0.1")
    else:
        far_port(net, "ssh" if harm == "the client" else "gw", 8091, service.port, stack)
        sock = net.connect(8091)
    with sock:
        talker = Talker(sock)
        talker.exactly(1_000_000)
        (door,) = children(net.far.pid, "sekimori.doors.ssh")
        if harm == "the link":
            os.kill(link_pid(net, "gw"), signal.SIGKILL)
        elif harm == "the client":
            stack.close()
        elif harm == "the daemon":
            net.far.kill9()
        else:
            os.kill(door, signal.SIGKILL)
        try:
            assert talker.ended() == "reset"
        finally:
            if harm == "the daemon":
                net.far.start()
            eventually(lambda: net.near.client.link("gw")["phase"] == "up", 15)
            eventually(lambda: is_listening(net, DOOR), 15)


def link_pid(net: LinkLab, name: str) -> int:
    """The process of a link: the one that has a connection to its port of the gateway."""
    port = DOOR if name == "gw" else 22
    found = net.laptop.run(["ss", "-Htnp", "dst", f"{GATEWAY}:{port}"]).stdout
    (pid,) = {int(each) for each in re.findall(r"pid=(\d+)", found)} & set(
        children(net.near.pid, "sekimori.planes.link")
    )
    return pid


def is_listening(net: LinkLab, port: int) -> bool:
    try:
        net.connect(port).close()
    except OSError:
        return False
    return True


def test_a_reset_of_the_service_comes_through(net: LinkLab) -> None:
    with Service(net.laptop, abort) as service:
        net.cli("open", f"8092:{service.port}", "--to", "127.0.0.1", "--at", "gw", "--from", "anyone")
        eventually(lambda: is_listening(net, 8092), 15)  # the link may be a dead one that nobody noticed yet
        with net.connect(8092) as sock:
            talker = Talker(sock)
            assert talker.exactly(4) == b"half"
            talker.send(b"x")
            assert talker.ended() == "reset"
