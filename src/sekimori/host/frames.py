"""The control channel's frames: length, JSON, and descriptors beside them.

A frame is a big-endian u32 length and that many bytes of a JSON object. Its member
`fds` is how many descriptors belong to it; they ride on the frame's bytes (SCM_RIGHTS,
unix(7)), at most `MOST_FDS` to a message. Both ends ignore members that they do not know.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from typing import Any, Final

__all__ = ["LONGEST", "MOST_FDS", "PROTOCOL", "BadFrameError", "FrameReader", "Outbox"]

PROTOCOL: Final = 1
"""The channel's version; both ends say theirs in `hello`."""

MOST_FDS: Final = 200
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""

LONGEST: Final = 16 << 20
"""Bytes in a frame: far more than any sender makes."""

_LENGTH: Final = struct.Struct("!I")
_CHUNK: Final = 1 << 18
_ANCILLARY: Final = socket.CMSG_SPACE(253 * 4)
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_decode: Final = json.JSONDecoder().decode


class BadFrameError(Exception):
    """The other end does not speak this protocol, or descriptors were lost: drop the connection."""


class FrameReader:
    """Cuts what a unix socket delivers into frames with their descriptors."""

    __slots__ = ("_data", "_fds", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = bytearray()
        self._fds: deque[int] = deque()

    def read(self) -> bool:
        """Read once; False at the end of the stream. The socket must be non-blocking.

        Raises:
            BlockingIOError: nothing there.
            BadFrameError: this process had no room for the descriptors.
            OSError: the connection broke.
        """
        data, control, flags, _address = self._sock.recvmsg(_CHUNK, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        for level, kind, raw in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
                self._fds.extend(fds)
        if flags & socket.MSG_CTRUNC:
            raise BadFrameError("descriptors were lost: too many open files")
        self._data += data
        return bool(data)

    def next(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next whole frame and its descriptors (the caller's to close), or None.

        Raises:
            BadFrameError: not a frame.
        """
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if length > LONGEST:
            raise BadFrameError(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._data) < end:
            return None
        message = _parse(self._data[_LENGTH.size : end])
        del self._data[:end]
        count = message.get("fds", 0)
        if not isinstance(count, int) or not 0 <= count <= len(self._fds):
            raise BadFrameError("descriptors are missing")
        return message, [self._fds.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close descriptors that no frame has claimed."""
        while self._fds:
            os.close(self._fds.popleft())


class Outbox:
    """Frames waiting to be sent on a non-blocking unix socket. It owns the descriptors put into it."""

    __slots__ = ("_queue", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._queue: deque[tuple[memoryview, list[int]]] = deque()

    def __bool__(self) -> bool:
        """Whether something is waiting."""
        return bool(self._queue)

    def put(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        """Queue a frame. Its descriptors are closed here once they are sent, or dropped."""
        owned = fds or []
        if owned:
            message = {**message, "fds": len(owned)}
        body = _encode(message).encode()
        self._queue.append((memoryview(_LENGTH.pack(len(body)) + body), owned))

    def send(self) -> bool:
        """Send what the socket takes; True when all has gone.

        Raises:
            OSError: the connection broke.
        """
        while self._queue:
            data, fds = self._queue[0]
            now, later = fds[:MOST_FDS], fds[MOST_FDS:]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", now))] if now else []
            try:
                # One byte carries as many descriptors as a message can; the last go with the rest.
                sent = self._sock.sendmsg([data[:1] if later else data], rights)
            except BlockingIOError:
                return False
            self._queue[0] = (data[sent:], later)
            _close_all(now)
            if sent == len(data):
                self._queue.popleft()
        return True

    def close(self) -> None:
        """Drop what was not sent."""
        while self._queue:
            _close_all(self._queue.popleft()[1])


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _parse(body: bytearray) -> dict[str, Any]:
    try:
        message = _decode(body.decode())
    except ValueError as error:
        raise BadFrameError("a frame that is not JSON") from error
    if not isinstance(message, dict):
        raise BadFrameError("a frame that is not an object")
    return message
