"""`python -m sekimori.planes.link --control FD`: the process of one link; `--scan` and `--test` try one."""

from __future__ import annotations

import argparse
import socket
import sys

import uvloop

from sekimori.host.descriptors import raise_descriptors
from sekimori.host.log import configure_log
from sekimori.host.memory import collect_seldom
from sekimori.host.privileges import name_process
from sekimori.planes.link.process import serve
from sekimori.planes.link.trying import run_once

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run it; its exit code."""
    parser = argparse.ArgumentParser(prog="sekimori-link", description="carries flows over SSH")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--control", type=int, metavar="FD", help="the channel to the daemon")
    how.add_argument(
        "--scan", action="store_true", help="print the host keys of a link read from standard input"
    )
    how.add_argument(
        "--test", action="store_true", help="print whether a link read from standard input works"
    )
    options = parser.parse_args(arguments)
    # Standard output is for what a trial says.
    configure_log()
    name_process("sekimori-link")
    raise_descriptors()
    if options.control is None:
        return uvloop.run(run_once(sys.stdin.readline(), test=options.test))
    collect_seldom()
    try:
        uvloop.run(serve(socket.socket(fileno=options.control)))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
