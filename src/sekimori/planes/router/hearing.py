"""Hears what the router announces on the link: that its state was lost, that it restarts or goes away.

An announcement is believed in nothing: it has the router be asked, sooner than it would be. So whoever can
forge one gains a question.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog

from sekimori.host.lansockets import Datagram, open_lan_socket, serving
from sekimori.planes.router.notice import read_notice_untrusted
from sekimori.planes.router.terms import Line
from sekimori.wire import natpmp, pcp, ssdp
from sekimori.wire.errors import BadPacket

__all__ = ["Ears"]

_LEAST: Final = 1.0
"""Seconds between two announcements that are heeded."""

_log = structlog.get_logger("router")


class Ears:
    """Sockets that hear a router's announcements, until `close`. In a running loop.

    Args:
        line: where the router is; others' announcements are passed over.
        restarted: called for one that speaks of lost state.
        doubtful: called for one after which entries may be gone.
        steady: seconds that only go forward.
    """

    def __init__(
        self,
        line: Line,
        restarted: Callable[[], None],
        doubtful: Callable[[], None],
        steady: Callable[[], float],
    ) -> None:
        self._line = line
        self._restarted = restarted
        self._doubtful = doubtful
        self._steady = steady
        self._boot: int | None = None
        self._heeded: dict[bool, float] = {}
        self._sockets = ExitStack()
        for port, group, take in (
            (pcp.ANNOUNCE_PORT, pcp.ANNOUNCE_GROUP4, self._hear_portmap),
            (ssdp.PORT, ssdp.GROUP4, self._hear_ssdp),
        ):
            self._open(port, group, take)

    def close(self) -> None:
        """Hear no more."""
        self._sockets.close()

    def _open(self, port: int, group: str, take: Callable[[bytes], None]) -> None:
        def hear(datagram: Datagram) -> None:
            if datagram.source == self._line.gateway:
                take(datagram.data)

        def lose(error: OSError) -> None:
            _log.info("not_heard_any_more", interface=self._line.interface, port=port, why=str(error))

        try:
            sock = open_lan_socket(self._line.interface, 4, port, groups=(group,), shared=True)
        except OSError as error:  # it is found out later then, by asking
            _log.info("not_heard", interface=self._line.interface, port=port, why=str(error))
            return
        self._sockets.callback(sock.close)
        self._sockets.enter_context(serving(sock, hear, lose))

    def _hear_portmap(self, data: bytes) -> None:
        try:
            if pcp.dialect_untrusted(data) is pcp.Dialect.PCP:
                pcp.decode_response_untrusted(data)
            else:
                natpmp.decode_response_untrusted(data)
        except BadPacket as error:
            _log.debug("bad_announcement", gateway=str(self._line.gateway), why=str(error))
            return
        self._heed(self._restarted, lost=True)

    def _hear_ssdp(self, data: bytes) -> None:
        try:
            notice = read_notice_untrusted(data)
        except BadPacket:  # searches of others come here too
            return
        if notice is None:
            return
        before, self._boot = self._boot, notice.boot_id
        if notice.leaves or (before is not None and notice.boot_id != before):
            self._heed(self._doubtful, lost=False)

    def _heed(self, tell: Callable[[], None], *, lost: bool) -> None:
        now = self._steady()
        if now - self._heeded.get(lost, -_LEAST) >= _LEAST:
            self._heeded[lost] = now
            tell()
