"""Who listens and who is connected, in the kernel's own tables."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from sekimori.host.listeners import Listener, read_connected, read_listeners


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_is_told_by_its_other_end(family: socket.AddressFamily) -> None:
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert read_connected(port) == frozenset()
        assert Listener("tcp", ipaddress.ip_address(address), port) in read_listeners()
        with socket.create_connection((address, port)) as caller:
            sport = caller.getsockname()[1]
            assert read_connected(port) == {(ipaddress.ip_address(address), sport)}
            assert (ipaddress.ip_address(address), port) in read_connected(sport)


def test_one_of_ipv4_at_a_listener_of_both_is_of_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as caller:
            expected = (ipaddress.ip_address("127.0.0.1"), caller.getsockname()[1])
            assert read_connected(port) == {expected}


def test_a_kernel_without_ipv6_has_no_table_of_it(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        "head\n 0: 0100007F:0016 0100007F:C350 01 0\n 1: 0100007F:1600 0A00000A:0016 01 0\n"
    )
    assert len(read_connected(22, tmp_path)) == 1
    assert read_connected(23, tmp_path) == frozenset()
