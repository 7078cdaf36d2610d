"""recvmmsg(2) and sendmmsg(2), which the standard library does not have.

Layout of `struct mmsghdr` on 64-bit little-endian Linux, `HEADER` bytes:

    0 name*  8 namelen(u32)  16 iov*  24 iovlen  32 control*  40 controllen
    48 flags(u32)  56 msg_len(u32)
"""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["DONTWAIT", "HEADER", "Calls", "open_calls"]

HEADER: Final = 64
"""Bytes of one mmsghdr."""
DONTWAIT: Final = 0x40
"""MSG_DONTWAIT of recv(2) and send(2)."""

Call = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Calls:
    """`receive(fd, headers, count, flags, None)` and `send(fd, headers, count, flags)`.

    Both give a count, or -1 with the cause in `ctypes.get_errno()`.
    """

    receive: Call
    send: Call


def open_calls(many: bool = True) -> Calls:
    """The C library's calls; one message at a time where it has no many-message call.

    Args:
        many: False takes the one-message calls even if the others exist.

    Raises:
        OSError: on this platform the header layout would be wrong (see above; lengths
            are written as the lower half of a size_t).
    """
    if sys.maxsize < 1 << 32 or sys.byteorder != "little":
        raise OSError(errno.ENOSYS, "cannot relay datagrams: needs a 64-bit little-endian platform")
    # PyDLL keeps the interpreter lock: these calls never block, and handing the lock
    # over and back is a sixth of a short call's price.
    libc = ctypes.PyDLL(None, use_errno=True)
    numbers = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
    receive = _symbol(libc, "recvmmsg", ctypes.c_int, [*numbers, ctypes.c_void_p]) if many else None
    send = _symbol(libc, "sendmmsg", ctypes.c_int, numbers) if many else None
    one = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    return Calls(
        receive or _one_by_one(_symbol(libc, "recvmsg", ctypes.c_ssize_t, one)),
        send or _one_by_one(_symbol(libc, "sendmsg", ctypes.c_ssize_t, one)),
    )


def _symbol(libc: ctypes.PyDLL, name: str, result: Any, arguments: list[Any]) -> Call | None:
    function = getattr(libc, name, None)
    if function is not None:
        function.restype = result
        function.argtypes = arguments
    return function


def _one_by_one(call: Call | None) -> Call:
    if call is None:
        raise OSError(errno.ENOSYS, "cannot relay datagrams: the C library has neither recvmsg nor sendmsg")

    def many(fd: int, headers: int, count: int, flags: int, _timeout: None = None) -> int:
        for done in range(count):
            header = headers + done * HEADER
            size = call(fd, header, flags)
            if size < 0:
                return done or -1
            ctypes.c_uint32.from_address(header + 56).value = size
        return count

    return many
