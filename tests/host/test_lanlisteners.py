"""Listeners of one interface, on the loopback and in a small network."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from functools import partial

import pytest

from sekimori.host.lanlisteners import lan_connection, open_lan_listener, read_endpoint
from sekimori.testing.netlab import Lab, why_not

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="binding to a device needs root")


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::1"),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1"),
    ],
)
def test_reads_the_address_of_an_endpoint(endpoint: tuple[object, ...], address: str) -> None:
    assert read_endpoint(endpoint) == ipaddress.ip_address(address)


@needs_root
def test_listens_in_both_families() -> None:
    with open_lan_listener("lo", 0) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port), 5) as sock:
                accepted, peer = listener.accept()
                with accepted:
                    assert read_endpoint(peer) == ipaddress.ip_address(address)
                    assert read_endpoint(peer) == read_endpoint(sock.getsockname())


@needs_root
def test_one_port_is_one_listeners() -> None:
    with open_lan_listener("lo", 0) as listener, pytest.raises(OSError):
        open_lan_listener("lo", listener.getsockname()[1])


@needs_root
def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(OSError):
        open_lan_listener("nowhere0", 0)
    with pytest.raises(OSError):
        lan_connection("nowhere0", ipaddress.ip_address("192.0.2.1"), 80)


@pytest.mark.netns
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_hears_and_speaks_by_its_interface_only() -> None:
    with Lab() as lab:
        gateway, inside, outside = map(lab.host, ("gateway", "inside", "outside"))
        for number, host in enumerate((inside, outside)):
            here, there = lab.cable(gateway, host)
            gateway.address(here, f"10.0.{number}.1/24")
            host.address(there, f"10.0.{number}.2/24")
            host.route(f"10.0.{number}.1")
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(gateway.call(lambda: open_lan_listener("inside", 0)))
            port = listener.getsockname()[1]
            # The same port of the other interface is free.
            stack.enter_context(gateway.call(lambda: open_lan_listener("outside", port))).close()
            for address in ("10.0.0.1", "10.0.1.1"):
                inside.call(partial(socket.create_connection, (address, port), 5)).close()
                with pytest.raises(ConnectionRefusedError):
                    outside.call(partial(socket.create_connection, (address, port), 5))
            server = stack.enter_context(outside.call(lambda: socket.create_server(("10.0.1.2", 0))))
            target = ipaddress.ip_address("10.0.1.2"), server.getsockname()[1]
            for interface, reaches in (("outside", True), ("inside", False)):
                sock, where = gateway.call(partial(lan_connection, interface, *target))
                with sock:
                    sock.settimeout(0.5)
                    if reaches:
                        sock.connect(where)
                    else:
                        with pytest.raises(OSError):
                            sock.connect(where)
