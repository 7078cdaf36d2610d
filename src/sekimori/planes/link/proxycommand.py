"""ProxyCommand of ssh_config(5): a program whose standard input and output are the wire to a server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from asyncio.subprocess import Process
from contextlib import suppress

__all__ = ["Proxy", "start_proxy"]


class Proxy:
    """One that runs. Made by `start_proxy`.

    Attributes:
        sock: our end of the wire: a socket, because `host.sshline` takes over no pipes.
    """

    def __init__(self, sock: socket.socket, process: Process) -> None:
        self.sock = sock
        self._process = process

    def end(self) -> None:
        """End it and all that it started, as ssh(1) does; again is harmless."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended this moment
                os.killpg(self._process.pid, signal.SIGHUP)


async def start_proxy(command: str) -> Proxy:
    """Start a command as ssh(1) does: by a shell that it takes the place of.

    Raises:
        OSError: there is no room for it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            ours.setblocking(False)
            wire = theirs.fileno()
            process = await asyncio.create_subprocess_exec(
                "/bin/sh", "-c", f"exec {command}", stdin=wire, stdout=wire, start_new_session=True
            )
        except BaseException:
            ours.close()
            raise
    return Proxy(ours, process)
