"""The process of the SSH door: `python -m sekimori.doors.ssh --control FD [--user UID:GID]`."""

from __future__ import annotations

import argparse
import encodings.idna  # noqa: F401 - what is loaded late may lie where nobody can read: a virtual environment
import os
import socket

import uvloop

from sekimori.doors.ssh.process import serve
from sekimori.host.descriptors import raise_descriptors
from sekimori.host.log import configure_log
from sekimori.host.memory import collect_seldom
from sekimori.host.privileges import become, hide_memory, name_process, parse_user


def main() -> None:
    """Serve until the control channel ends."""
    options = _read_options()
    configure_log()
    raise_descriptors()
    name_process("sekimori-ssh")
    if options.user is not None:
        become(*options.user)
    hide_memory()  # it holds the host's private key
    os.chdir("/")
    collect_seldom()
    uvloop.run(serve(socket.socket(fileno=options.control)))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sekimori.doors.ssh", description="The SSH door's process.")
    parser.add_argument("--control", type=int, required=True, metavar="FD", help="the channel to the daemon")
    parser.add_argument("--user", type=parse_user, metavar="UID:GID", help="drop privileges to these numbers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
