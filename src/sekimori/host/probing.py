"""Has the kernel find out who has an address on a LAN, by ARP (RFC 826) or neighbour discovery (RFC 4861)."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import Final

from sekimori.model.address import IPAddress

__all__ = ["probe"]

_DISCARD: Final = 9  # RFC 863: what comes to it, where anything does, is thrown away
_RTM_NEWNEIGH: Final = 28
_REQUEST_WITH_ACK: Final = 0x5
_ERROR: Final = 2
_NDA_DST: Final = 1
_NUD_PROBE: Final = 0x10
_HEADER: Final = struct.Struct("=LHHLL")  # struct nlmsghdr
_NEIGHBOUR: Final = struct.Struct("=BxHiHBB")  # struct ndmsg
_ATTRIBUTE: Final = struct.Struct("=HH")
_NOT_THAT_WAY: Final = frozenset(
    {errno.ENOENT, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENODEV, errno.EOPNOTSUPP}
)


def probe(address: IPAddress, interface: str | None) -> None:
    """Start asking, in the network of this thread; the answer comes into the neighbour table.

    An entry that has a MAC address is asked for at once and stays in use meanwhile, which needs
    CAP_NET_ADMIN; a silent one is `failed` after three seconds. Otherwise, and without that capability, an
    empty datagram is sent there, so that the kernel asks in order to deliver it; an entry it believes in
    stays believed then for five seconds longer (`delay_first_probe_time`).
    """
    if interface is None or not _ask_again(address, interface):
        _send_nothing(address, interface)


def _ask_again(address: IPAddress, interface: str) -> bool:
    """Put the entry into the state `probe`; False where there is none that could be.

    `ip neighbour change … nud probe` does the same.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        try:
            index = socket.if_nametoindex(interface)
        except OSError:  # the interface has gone, and its entries with it
            return False
        body = _NEIGHBOUR.pack(family, 0, index, _NUD_PROBE, 0, 0)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _NDA_DST) + address.packed
        sock.send(_HEADER.pack(_HEADER.size + len(body), _RTM_NEWNEIGH, _REQUEST_WITH_ACK, 1, 0) + body)
        reply = sock.recv(4096)
    _, kind, _, _, _, code = struct.unpack_from("=LHHLLi", reply)
    if kind == _ERROR and -code in _NOT_THAT_WAY:
        return False
    if code != 0:
        raise OSError(-code, f"neighbour entry of {address} on {interface}")
    return True


def _send_nothing(address: IPAddress, interface: str | None) -> None:
    where = f"{address}%{interface}" if address.is_link_local and address.version == 6 else str(address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # No route, nobody at home, or a firewall of ours: then the table says so, or nothing.
    with (
        contextlib.suppress(OSError),
        socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock,
    ):
        sock.sendto(b"", (where, _DISCARD))
