"""One entry of the kernel's neighbour table, as of this moment."""

from __future__ import annotations

import socket
import struct
from typing import Final

from sekimori.model.address import IPAddress
from sekimori.model.device import read_mac

__all__ = ["find_mac"]

_RTM_NEWNEIGH: Final = 28
_RTM_GETNEIGH: Final = 30
_NLM_F_REQUEST: Final = 0x1
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
_HEADER: Final = struct.Struct("=LHHLL")  # struct nlmsghdr
_NEIGHBOUR: Final = struct.Struct("=BxHiHBB")  # struct ndmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr

# NUD_INCOMPLETE and NUD_FAILED have no address that anybody proved; NUD_NOARP has none at all.
_BELIEVED: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_PROVED: Final = 0x02 | 0x80  # reachable: it answered within the last half minute or so; permanent


def find_mac(address: IPAddress, interface: str, *, proved: bool = False) -> str | None:
    """The MAC address (lower case, colons) that the kernel believes an address of a link to have.

    Asked of the kernel itself (RTM_GETNEIGH of one entry, Linux 5.0 and later), for a device that has just
    sent its first packet is there already, where a table that is followed by events may not know it yet.

    Args:
        address: on the link of the interface.
        interface: its name.
        proved: only what has answered lately; the kernel goes on believing in a device that has left.

    Returns:
        None where the kernel knows none, and where the interface has gone.

    Raises:
        OSError: the kernel could not be asked.
    """
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _NEIGHBOUR.pack(family, 0, index, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _NDA_DST) + address.packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETNEIGH, _NLM_F_REQUEST, 1, 0) + body)
        reply = sock.recv(4096)
    length, kind, _, _, _ = _HEADER.unpack_from(reply)
    if kind != _RTM_NEWNEIGH:  # an error: there is no such entry
        return None
    _, _, _, state, _, _ = _NEIGHBOUR.unpack_from(reply, _HEADER.size)
    return (
        _link_address(reply[_HEADER.size + _NEIGHBOUR.size : length])
        if state & (_PROVED if proved else _BELIEVED)
        else None
    )


def _link_address(attributes: bytes) -> str | None:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == _NDA_LLADDR:
            return read_mac(attributes[_ATTRIBUTE.size : length].hex(":"))
        attributes = attributes[max(_ATTRIBUTE.size, (length + 3) & ~3) :]
    return None
