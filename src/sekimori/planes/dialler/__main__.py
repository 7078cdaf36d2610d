"""The direct dialler's process: `python -m sekimori.planes.dialler --control FD [--user UID:GID]`.

Its control channel tells it of relay workers, with a descriptor each: `{"op": "worker", "index": 0}`, and
asks whether it goes on: `{"op": "ping"}` is answered by the same. It ends when that channel does. What it has
connected belongs to the workers, and goes on without it.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures.thread
import encodings.idna
import signal
import socket
import sys
from typing import Any, Final

import dns._asyncio_backend
import dns.asyncresolver
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.DNAME
import dns.rdtypes.ANY.OPT
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import psutil
import structlog

from sekimori.host.carrier import Carriage
from sekimori.host.descriptors import raise_descriptors
from sekimori.host.frames import BadFrameError, FrameReader, Outbox
from sekimori.host.log import configure_log
from sekimori.host.ownnetworks import own_networks
from sekimori.host.privileges import become, name_process, parse_user
from sekimori.host.resolver import SystemResolver
from sekimori.planes.dialler.reaching import Reacher

__all__ = ["main"]

_NEEDED_LATER: Final = (
    concurrent.futures.thread,
    encodings.idna,
    dns._asyncio_backend,
    dns.rdtypes.ANY.CNAME,
    dns.rdtypes.ANY.DNAME,
    dns.rdtypes.ANY.OPT,
    dns.rdtypes.ANY.SOA,
    dns.rdtypes.IN.A,
    dns.rdtypes.IN.AAAA,
    psutil,
)
"""What is otherwise imported at its first use, when the files may not be readable any more: nobody has no
business in a home directory, where the program may lie."""

_log = structlog.get_logger("dialler")


def main(arguments: list[str] | None = None) -> int:
    """Dial for workers until the control channel ends; the exit code."""
    options = _parser().parse_args(arguments)
    configure_log()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the daemon says when to end
    raise_descriptors()
    name_process("sekimori-dial")
    with socket.socket(fileno=options.control) as control:
        control.setblocking(False)
        if options.user is not None:
            become(*options.user)
        asyncio.run(_serve(control))
    return 0


async def _serve(control: socket.socket) -> None:
    reacher = Reacher(SystemResolver().resolve, lambda dial, local: carriage.bound(dial, local), own_networks)
    carriage = Carriage(reacher.serve)
    async with carriage:
        await _Control(control, carriage).until_end()


class _Control:
    """What the daemon says."""

    def __init__(self, sock: socket.socket, carriage: Carriage) -> None:
        self._sock = sock
        self._carriage = carriage
        self._reader = FrameReader(sock)
        self._outbox = Outbox(sock)
        self._ended = asyncio.Event()

    async def until_end(self) -> None:
        """Do as told until the channel ends."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock.fileno(), self._readable)
        try:
            await self._ended.wait()
        finally:
            loop.remove_reader(self._sock.fileno())
            self._reader.close()
            self._outbox.close()

    def _readable(self) -> None:
        try:
            more = self._reader.read()
            while (frame := self._reader.next()) is not None:
                self._take(*frame)
        except BlockingIOError:
            return
        except (BadFrameError, OSError) as error:
            _log.warning("control_broke", why=str(error))
            more = False
        if not more:
            self._ended.set()

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        sockets = [socket.socket(fileno=fd) for fd in fds]
        if message.get("op") == "worker" and isinstance(message.get("index"), int) and len(sockets) == 1:
            self._carriage.add_worker(message["index"], sockets.pop())
        if message.get("op") == "ping":
            self._outbox.put(message)
            self._outbox.send()  # one word at a time is asked for: there is room
        for sock in sockets:  # a newer daemon may know more words
            sock.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sekimori-dialler", description="Connects for relay workers.")
    parser.add_argument("--control", type=int, required=True, help="descriptor to be told on")
    parser.add_argument("--user", type=parse_user, metavar="UID:GID", help="drop privileges to these numbers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
