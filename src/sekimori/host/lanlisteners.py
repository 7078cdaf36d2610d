"""TCP sockets that listen on one LAN interface, and connections that are made by one."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any, Final

from sekimori.model.address import IPAddress

__all__ = ["lan_connection", "open_lan_listener", "read_endpoint"]

_BACKLOG: Final = 64


def open_lan_listener(interface: str, port: int) -> socket.socket:
    """A listening socket on a port of an interface, in the network of this thread, that does not block.

    It is bound to the device (SO_BINDTODEVICE) and to no address, so that it serves every address that the
    interface has or gets, in both families. What was sent to an address of another interface gets there too
    when it came in by this one: who accepts must look at the address (`read_endpoint` of `getsockname`).
    Other interfaces may have a listener on the same port.

    Args:
        interface: its name.
        port: 0 lets the kernel choose.

    Raises:
        OSError: there is no such interface, or another program has the port.
    """
    sock = _new(socket.AF_INET6)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::" if sock.family == socket.AF_INET6 else "0.0.0.0", port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def lan_connection(interface: str, to: IPAddress, port: int) -> tuple[socket.socket, tuple[Any, ...]]:
    """A socket whose connection can only go out by an interface, and what to connect it to.

    Raises:
        OSError: there is no such interface.
    """
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        index = socket.if_nametoindex(interface)
    except BaseException:
        sock.close()
        raise
    return sock, (str(to), port) if to.version == 4 else (str(to), port, 0, index)


def read_endpoint(endpoint: tuple[Any, ...]) -> IPAddress:
    """The address in what `getsockname`, `getpeername` or `accept` gives; a v4-mapped one becomes IPv4."""
    address = ipaddress.ip_address(str(endpoint[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _new(family: socket.AddressFamily) -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        return socket.socket(family, kind)
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT:  # a kernel without IPv6 has the other family only
            raise
        return socket.socket(socket.AF_INET, kind)
