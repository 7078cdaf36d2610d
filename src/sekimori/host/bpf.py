"""Filters in the kernel on what a socket receives: programs of classic BPF (linux/filter.h)."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["TAKE_ALL", "Instruction", "attach", "drop_from"]

Instruction = tuple[int, int, int, int]
"""Code, jump where true, jump where false, operand."""

TAKE_ALL: Final[Instruction] = (0x06, 0, 0, 0xFFFFFFFF)

_SO_ATTACH_FILTER: Final = 26
_LINK: Final = 0xFFE00000  # SKF_LL_OFF: from the link's header on, which IP's sockets can still see
_MAC: Final = 6
"""Bytes of a MAC address; in Ethernet's header the source stands after one, the destination."""


def drop_from(macs: Iterable[str]) -> list[Instruction]:
    """The beginning of a program that drops what was sent from these MAC addresses. What has no Ethernet
    header is dropped too.
    """
    program: list[Instruction] = []
    for mac in macs:
        high, low = struct.unpack("!IH", bytes.fromhex(mac.replace(":", "")))
        program += [
            (0x20, 0, 0, _LINK + _MAC),  # ld its first four bytes
            (0x15, 0, 3, high),  # jeq, else the next address
            (0x28, 0, 0, _LINK + _MAC + 4),  # ldh its last two
            (0x15, 0, 1, low),  # jeq, else the next address
            (0x06, 0, 0, 0),  # drop
        ]
    return program


def attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Have a socket receive only what a program takes, from now on.

    Raises:
        OSError: the kernel refused it.
    """
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBL", *line) for line in program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code))
    )
