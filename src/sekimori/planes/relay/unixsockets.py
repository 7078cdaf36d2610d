"""Listening unix sockets: made by the daemon, which is also who removes their files."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Final

__all__ = ["discard_path", "look_at_path", "open_path"]

_MASK: Final = 0o117
"""Leaves 0660: who may connect is the owner and the group of the file, as for any file."""
_BACKLOG: Final = 4096


def open_path(path: str) -> socket.socket:
    """A listening socket at `path`. What a process that is no more has left there is removed first.

    Raises:
        OSError: the path cannot be had; EADDRINUSE where somebody listens, EEXIST where it is no socket.
    """
    code = look_at_path(path)
    if code:
        raise OSError(code, os.strerror(code), path)
    discard_path(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    before = os.umask(_MASK)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def look_at_path(path: str) -> int:
    """What keeps a socket from being made at `path` now: 0, or an errno (see `open_path`)."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return _look_at_directory(os.path.dirname(path))
    except OSError as error:
        return error.errno or errno.EIO
    if not stat.S_ISSOCK(mode):
        return errno.EEXIST
    return 0 if _is_stale(path) else errno.EADDRINUSE


def discard_path(path: str) -> None:
    """Remove the file of a socket that nobody listens at any more; anything else is left alone."""
    with suppress(OSError):  # there is nothing, or it is not ours to remove: binding tells
        if stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode) and _is_stale(path):
            os.unlink(path)


def _look_at_directory(directory: str) -> int:
    if not os.path.isdir(directory):
        return errno.ENOTDIR if os.path.exists(directory) else errno.ENOENT
    return 0 if os.access(directory, os.W_OK | os.X_OK) else errno.EACCES


def _is_stale(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
