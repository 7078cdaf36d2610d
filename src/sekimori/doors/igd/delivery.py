"""Sending an event to a subscriber."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import structlog

from sekimori.host.lanlisteners import lan_connection
from sekimori.wire.httpmessage import HttpUrl

__all__ = ["deliver"]

_WITHIN: Final = 5.0
_LONGEST_ANSWER: Final = 1024
_TAKEN: Final = re.compile(rb"HTTP/1\.[01] 2[0-9][0-9]\b")
_log = structlog.get_logger("igd")


async def deliver(interface: str, callback: HttpUrl, message: bytes) -> bool:
    """Send a NOTIFY by an interface, and see whether it was taken.

    What is answered is looked at for its status only. A redirection is not followed: it would lead where the
    subscriber says, and nothing goes there but to the subscriber itself (CVE-2020-12695).
    """
    loop = asyncio.get_running_loop()
    try:
        sock, where = lan_connection(interface, callback.address, callback.port)
    except OSError as error:
        _log.debug("event_not_sent", to=callback.host, why=str(error))
        return False
    with sock:
        try:
            async with asyncio.timeout(_WITHIN):
                await loop.sock_connect(sock, where)
                await loop.sock_sendall(sock, message)
                answer = b""
                while b"\n" not in answer and len(answer) < _LONGEST_ANSWER:
                    data = await loop.sock_recv(sock, _LONGEST_ANSWER)
                    if not data:
                        break
                    answer += data
        except (TimeoutError, OSError) as error:
            _log.debug("event_not_sent", to=callback.host, why=str(error) or "it took too long")
            return False
    return _TAKEN.match(answer) is not None
