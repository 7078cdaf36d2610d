"""The first words of a client that names its destination: SOCKS 4, 4a, 5 or HTTP CONNECT on one port.

The first byte tells them apart: 4 and 5 are SOCKS versions, and a letter begins an HTTP method.
"""

from __future__ import annotations

from typing import Final

from sekimori.wire.asked import Asked, Dialect, Failure, LogIn, Refused, Wants
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpconnect import LONGEST_HEAD, HttpConnect
from sekimori.wire.socks import Socks4, Socks5

__all__ = ["MOST", "Negotiation"]

MOST: Final = 2 * LONGEST_HEAD
"""Bytes held of a client that has not said all yet, or has said more than it was asked for."""


class Negotiation:
    """One client's first words, sans io.

    Give it what comes with `receive_untrusted` until that returns something:

    - `LogIn`: judge it, and call `logged_in`. When it was refused, send `take_out` and hang up.
    - `Wants`: reach the destination, and call `succeeded` (of `bind` twice) or `failed`. After that what
      `take_rest` has belongs to the destination, as does everything that comes later.
    - `Refused`: send `take_out` and hang up.

    Something may be there to be sent after every call.
    """

    def __init__(self, must_log_in: bool) -> None:
        self._must_log_in = must_log_in
        self._data = bytearray()
        self._dialect: Dialect | None = None
        self._asked: Asked | None = None

    @property
    def speaks(self) -> str:
        """`socks4`, `socks5` or `http`; empty before the first byte."""
        return {Socks4: "socks4", Socks5: "socks5", HttpConnect: "http"}.get(type(self._dialect), "")

    def receive_untrusted(self, data: bytes) -> Asked | None:
        """Take what came; what is asked for, as soon as it is whole.

        Raises:
            BadPacket: it is none of the protocols, or too much: hang up without an answer.
        """
        if len(self._data) + len(data) > MOST:
            raise BadPacket("more than a client may say before it is answered")
        self._data += data
        return self._read()

    def logged_in(self, ok: bool) -> Asked | None:
        """How the judging of a `LogIn` ended; what the client asks for, when it has said so already.

        Raises:
            BadPacket: what it has said already is no request.
        """
        assert self._dialect is not None
        assert isinstance(self._asked, LogIn)
        self._dialect.logged_in(ok)
        self._asked = None if ok else Refused("a wrong password")
        return self._read() if ok else self._asked

    def succeeded(self, host: str, port: int) -> None:
        """The destination is reached, from this numeric address and port of ours."""
        assert self._dialect is not None
        self._dialect.succeeded(host, port)

    def failed(self, cause: Failure) -> None:
        """The destination is not reached."""
        assert self._dialect is not None
        self._dialect.failed(cause)

    def take_out(self) -> bytes:
        """What is to be sent to the client now."""
        if self._dialect is None:
            return b""
        out = bytes(self._dialect.out)
        self._dialect.out.clear()
        return out

    def take_rest(self) -> bytes:
        """What the client has said after its request."""
        assert isinstance(self._asked, Wants)
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def _read(self) -> Asked | None:
        if self._asked is not None:
            return None
        if self._dialect is None:
            if not self._data:
                return None
            self._dialect = _dialect(self._data[0], self._must_log_in)
        self._asked = self._dialect.read_untrusted(self._data)
        return self._asked


def _dialect(first: int, must_log_in: bool) -> Dialect:
    if first == 4:
        return Socks4(must_log_in)
    if first == 5:
        return Socks5(must_log_in)
    if chr(first).isascii() and chr(first).isalpha():
        return HttpConnect(must_log_in)
    raise BadPacket("neither SOCKS nor HTTP")
