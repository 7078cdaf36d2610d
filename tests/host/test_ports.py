"""Who holds a local port, and whether it can be had. Loopback only."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sekimori.host import ports as host_ports
from sekimori.host.ports import (
    Holder,
    Transport,
    dual_stack,
    find_free_port,
    find_holder,
    first_unprivileged_port,
    try_bind,
)

KINDS: dict[Transport, int] = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
HERE = ipaddress.ip_address("127.0.0.1")


@contextmanager
def held(transport: Transport, address: str = "127.0.0.1", *, share: bool = False) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, KINDS[transport]) as sock:
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, 0))
        if transport == "tcp":
            sock.listen(1)
        yield sock.getsockname()[1]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("share", [False, True])
def test_a_held_port_cannot_be_had_and_its_holder_is_named(transport: Transport, share: bool) -> None:
    with held(transport, share=share) as port:
        assert try_bind(transport, "127.0.0.1", port, dual=False) == errno.EADDRINUSE
        assert try_bind(transport, "0.0.0.0", port, dual=False) == errno.EADDRINUSE
        for on in (None, HERE, ipaddress.ip_address("0.0.0.0")):
            holder = find_holder(transport, port, on)
            assert holder.pid == os.getpid()
            assert str(os.getpid()) in str(holder)
        assert find_holder(transport, port, ipaddress.ip_address("127.0.0.9")) == Holder(None, None)
    assert try_bind(transport, "127.0.0.1", port, dual=False) == 0


@pytest.mark.skipif(not dual_stack(), reason="this machine has no IPv6")
def test_a_dual_socket_meets_holders_of_either_family() -> None:
    for address in ("127.0.0.1", "::1"):
        with held("tcp", address) as port:
            assert try_bind("tcp", "::", port, dual=True) == errno.EADDRINUSE


def test_an_address_of_another_machine_cannot_be_had() -> None:
    assert try_bind("tcp", "192.0.2.1", 0, dual=False) == errno.EADDRNOTAVAIL


def test_a_port_in_time_wait_can_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # who closes first keeps TIME_WAIT
            assert client.recv(1) == b""
    assert try_bind("tcp", "127.0.0.1", port, dual=False) == 0


def test_a_free_port_is_found_beside_a_held_one() -> None:
    with held("tcp") as port:
        found = find_free_port("tcp", "127.0.0.1", port, dual=False)
        assert found > port
        assert try_bind("tcp", "127.0.0.1", found, dual=False) == 0


def test_for_a_low_port_a_like_one_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def refuse_first(_transport: Transport, _address: str, port: int, *, dual: bool) -> int:
        assert not dual
        tried.append(port)
        return errno.EADDRINUSE if len(tried) < 2 else 0

    monkeypatch.setattr(host_ports, "try_bind", refuse_first)
    assert find_free_port("tcp", "0.0.0.0", 80, dual=False) == 10080
    assert tried == [8080, 10080]


def test_when_none_is_free_none_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_ports, "try_bind", lambda *_args, **_named: errno.EACCES)
    assert find_free_port("tcp", "0.0.0.0", 65530, dual=False) == 0


def test_holders_are_told_as_far_as_they_can_be_seen() -> None:
    assert str(Holder(12, "nginx")) == "nginx (pid 12)"
    assert str(Holder(12, None)) == "a process (pid 12)"
    assert str(Holder(None, None)) == "a process of another user"


def test_the_first_port_without_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if setting.exists():
        assert first_unprivileged_port() == int(setting.read_text())

    def hidden(_path: Path) -> str:
        raise OSError(errno.ENOENT, "not here")

    monkeypatch.setattr(Path, "read_text", hidden)
    assert first_unprivileged_port() == 1024
