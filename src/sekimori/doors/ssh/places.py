"""The sockets that the door listens at: opened here, with the daemon's rights, and served by its process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from sekimori.host.ports import dual_stack
from sekimori.model.causes import os_cause
from sekimori.model.door import ListenAt
from sekimori.model.errors import Problem

__all__ = ["Places"]

_BACKLOG: Final = 1024
_log = structlog.get_logger("ssh")


class Places:
    """Where the door listens. A place that is not there yet is tried again at each `open`.

    Args:
        places: as texts of `ListenAt`.
        opened: told of each socket that was opened; it stays ours.
    """

    def __init__(self, places: Iterable[str], opened: Callable[[str, socket.socket], None]) -> None:
        self._places = {text: ListenAt.parse(text) for text in places}
        self._opened = opened
        self.sockets: dict[str, socket.socket] = {}
        self.problems: dict[str, Problem] = {}

    def open(self) -> None:
        """Listen wherever it can be."""
        for key, place in self._places.items():
            if key in self.sockets:
                continue
            try:
                sock = _listen(place)
            except OSError as error:
                problem = Problem("door-not-open", door="ssh", interface=key, why=os_cause(error))
                if key not in self.problems:
                    _log.warning("not_listening", place=key, why=problem.title())
                self.problems[key] = problem
                continue
            self.problems.pop(key, None)
            self.sockets[key] = sock
            _log.info("listening", place=key)
            self._opened(key, sock)

    def close(self) -> None:
        """Listen nowhere."""
        while self.sockets:
            self.sockets.popitem()[1].close()


def _listen(place: ListenAt) -> socket.socket:
    dual = place.address is None and dual_stack()
    version = place.address.version if place.address is not None else 6 if dual else 4
    sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind((str(place.address or ("::" if dual else "0.0.0.0")), place.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
