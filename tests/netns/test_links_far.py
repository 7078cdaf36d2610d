"""Links over a long path: 100 ms there and back, where the window of a channel decides how much goes.

What is looked at is how much was under way at one time. More than a window can hold means that it has grown.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest

from sekimori.testing.daemon import DaemonProcess
from sekimori.testing.longpath import FAR, LongPath, why_no_path
from sekimori.testing.netlab import Host, Lab, why_not
from sekimori.testing.peers import eventually
from sekimori.testing.sshd import Sshd, make_key, why_no_sshd

_WHY: Final = why_not() or why_no_path() or why_no_sshd()

pytestmark = [pytest.mark.netns, pytest.mark.skipif(_WHY is not None, reason=str(_WHY))]

_DELAY: Final = 0.05
_WINDOW: Final = 2 << 20
"""Bytes: OpenSSH's, which it never changes; what ours begins with."""
_OVERHEAD: Final = 1.05
"""Bytes on the path for each of a window: headers, tags, pings."""
_SIZE: Final = 48 << 20
_BLOCK: Final = bytes(range(256)) * 256
_READ: Final = 1 << 20
_EXPECTED: Final = _BLOCK * (1 + _READ // len(_BLOCK))

_SSHD_PORT: Final = 2200
_DOOR: Final = 2222
_THROUGH: Final = 8000
_BACK: Final = 8001


class Place:
    """Serves `_SIZE` bytes to who says `d`, and counts what comes from who says `u`, in a host's network."""

    def __init__(self, host: Host) -> None:
        self._server = host.call(lambda: socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="place")
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        while True:
            try:
                sock, _address = self._server.accept()
            except OSError:  # closed
                return
            with sock:
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        match sock.recv(1):
            case b"d":
                for _ in range(_SIZE // len(_BLOCK)):
                    sock.sendall(_BLOCK)
            case b"u":
                sock.sendall(b"%d" % _count(sock))


def _count(sock: socket.socket) -> int:
    """Bytes to the end, all of which must be right."""
    count = 0
    while data := sock.recv(_READ):
        at = count % len(_BLOCK)
        assert data == _EXPECTED[at : at + len(data)], f"wrong after {count} bytes"
        count += len(data)
    return count


def download(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"d")
        assert _count(sock) == _SIZE


def upload(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"u")
        for _ in range(_SIZE // len(_BLOCK)):
            sock.sendall(_BLOCK)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(64, socket.MSG_WAITALL) == b"%d" % _SIZE


class Far:
    """Two hosts at the ends of a long path, and a place at either.

    Attributes:
        key: lets in at the far host.
    """

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        lab = stack.enter_context(Lab())
        self.near, self.far = lab.host("near"), lab.host("far")
        self.path = stack.enter_context(LongPath(self.near, self.far, _DELAY))
        self.at_near = stack.enter_context(closing(Place(self.near)))
        self.at_far = stack.enter_context(closing(Place(self.far)))
        self.directory = directory
        self.key = make_key(directory / "key")
        self._stack = stack

    def daemon(self, host: Host) -> DaemonProcess:
        return self._stack.enter_context(DaemonProcess(netns=host.netns))

    def sshd(self) -> Sshd:
        """Of OpenSSH, at the far host."""
        server = Sshd(self.directory / "sshd", {"ListenAddress": "0.0.0.0"}, _SSHD_PORT)
        server.authorized.write_text(Path(f"{self.key}.pub").read_text())
        self._stack.callback(server.kill)
        self.far.call(server.start)
        return server

    def door(self) -> str:
        """Ours, at the far host; its fingerprint."""
        gateway = self.daemon(self.far)
        public = Path(f"{self.key}.pub").read_text().strip()
        grant = {"ports": str(_BACK), "from": "127.0.0.0/8", "to": ["127.0.0.1"]}
        gateway.client.add_user("bob", {"keys": [public], "grant": grant})
        gateway.client.change_doors({"ssh": {"listen": [f"{FAR}:{_DOOR}"]}})
        eventually(lambda: self.near.call(lambda: _answers(FAR, _DOOR)), 20)
        (door,) = [each for each in gateway.client.doors()["doors"] if each["name"] == "ssh"]
        fingerprint: str = door["host_keys"][0].split()[1]
        return fingerprint

    def link(self, port: int, host_key: str) -> DaemonProcess:
        """A daemon at the near host with a link, and `_THROUGH` that leads to the place at the far one."""
        daemon = self.daemon(self.near)
        daemon.client.put_link(
            "far",
            {
                "to": f"ssh://root@{FAR}:{port}",
                "identity": [str(self.key)],
                "host_keys": [host_key],
                "config": "none",
            },
        )
        eventually(lambda: daemon.client.link("far")["phase"] == "up", 20)
        to = f"127.0.0.1:{self.at_far.port}"
        daemon.client.open({"ports": f"{_THROUGH}", "to": to, "via": "far", "on": "127.0.0.1"})
        eventually(lambda: _accepts(self.near, _THROUGH))
        return daemon

    def ssh(self, port: int, *words: str) -> None:
        """OpenSSH's client at the near host, until the end."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes"]
        told = [word for option in options for word in ("-o", option)]
        known = ["-F", "none", "-N", "-i", str(self.key), "-p", str(port), *told]
        child = self.near.popen(["ssh", *known, *words, f"root@{FAR}"], stdin=subprocess.DEVNULL)
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)


def _accepts(host: Host, port: int) -> bool:
    return host.call(lambda: _answers("127.0.0.1", port))


def _answers(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with ExitStack() as stack:
        yield Far(stack, tmp_path)


def _most(far: Far, host: Host, move: Callable[[int], None], port: int, *, to_near: bool) -> int:
    """What was under way at most while something moved."""
    far.path.reset()
    host.call(lambda: move(port))
    return far.path.most_to_near if to_near else far.path.most_to_far


def _outgrows(far: Far, host: Host, move: Callable[[int], None], port: int, *, to_near: bool) -> bool:
    """Whether more was under way than the first window holds.

    A machine that is busy otherwise may not fill a window in its round trips; it is asked three times.
    """
    return any(_most(far, host, move, port, to_near=to_near) > _WINDOW * _OVERHEAD for _ in range(3))


def test_two_of_openssh_are_held_to_their_window(far: Far) -> None:
    """What the others are compared with."""
    far.sshd()
    far.ssh(_SSHD_PORT, "-L", f"127.0.0.1:{_THROUGH}:127.0.0.1:{far.at_far.port}")
    eventually(lambda: _accepts(far.near, _THROUGH), 20)
    most = _most(far, far.near, download, _THROUGH, to_near=True)
    assert _WINDOW / 4 < most <= _WINDOW * _OVERHEAD


def test_a_link_to_openssh_takes_more_than_the_first_window(far: Far) -> None:
    far.link(_SSHD_PORT, far.sshd().host_key_line.split(maxsplit=1)[1])
    assert _outgrows(far, far.near, download, _THROUGH, to_near=True)


def test_between_two_of_us_neither_way_is_held(far: Far) -> None:
    far.link(_DOOR, far.door())
    assert _outgrows(far, far.near, download, _THROUGH, to_near=True)
    assert _outgrows(far, far.near, upload, _THROUGH, to_near=False)


def test_a_port_that_openssh_has_at_our_door(far: Far) -> None:
    far.door()
    far.ssh(_DOOR, "-R", f"{_BACK}:127.0.0.1:{far.at_near.port}")
    eventually(lambda: _accepts(far.far, _BACK), 20)
    assert _outgrows(far, far.far, download, _BACK, to_near=False)
