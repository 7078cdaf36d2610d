"""HTTP's way to name a destination: CONNECT (RFC 9110 §9.3.6), with Basic passwords (RFC 7617)."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Final

from sekimori.wire.asked import (
    Asked,
    Failure,
    LogIn,
    Refused,
    Wants,
    read_host_untrusted,
    read_port_untrusted,
)
from sekimori.wire.errors import BadPacket
from sekimori.wire.httpmessage import read_head_untrusted, write_head

__all__ = ["LONGEST_HEAD", "HttpConnect"]

LONGEST_HEAD: Final = 8192
"""Bytes: what RFC 9112 §3 recommends for a request line alone, and far more than clients send."""

_REQUEST: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]")
_STATUS: Final[dict[Failure, tuple[str, str]]] = {
    "refused": ("502 Bad Gateway", "connection_refused"),
    "timed_out": ("504 Gateway Timeout", "connection_timeout"),
    "unreachable": ("502 Bad Gateway", "destination_ip_unroutable"),
    "prohibited": ("403 Forbidden", "destination_ip_prohibited"),
    "down": ("503 Service Unavailable", "destination_unavailable"),
    "descriptors": ("503 Service Unavailable", "connection_limit_reached"),
    "other": ("502 Bad Gateway", "proxy_internal_error"),
    "unsupported": ("501 Not Implemented", "proxy_internal_error"),
}
"""The status, and the error of Proxy-Status (RFC 9209 §2.3), of each failure."""


class HttpConnect:
    """One CONNECT request. No other method is served: this proxy carries bytes and reads no pages."""

    def __init__(self, must_log_in: bool) -> None:
        self.out = bytearray()
        self._must_log_in = must_log_in
        self._wants: Wants | None = None

    def read_untrusted(self, data: bytearray) -> Asked | None:
        """Read the head, which ends with an empty line.

        Raises:
            BadPacket: it does not begin with the line of a request.
        """
        if self._wants is not None:
            return self._wants
        end = _head_end(data)
        if end is None and len(data) < LONGEST_HEAD:
            return None
        request = _REQUEST.fullmatch(data.partition(b"\n")[0].removesuffix(b"\r").decode("latin-1"))
        if request is None:
            raise BadPacket("no HTTP/1 request")
        if end is None:  # RFC 9110 §5.4: fields that are too large must be answered
            self._answer("431 Request Header Fields Too Large")
            return Refused("a head that does not end")
        try:
            _line, fields = read_head_untrusted(bytes(data[:end]), LONGEST_HEAD)
        except BadPacket as bad:
            self._answer("400 Bad Request")
            return Refused(str(bad))
        del data[:end]
        if request[1] != "CONNECT":
            self._answer("405 Method Not Allowed", ("Allow", "CONNECT"))
            return Refused("a method other than CONNECT")
        host, _, port = request[2].rpartition(":")
        try:
            self._wants = Wants(
                "connect", read_host_untrusted(host.encode()), read_port_untrusted(port.encode())
            )
        except BadPacket as bad:
            self._answer("400 Bad Request")
            return Refused(str(bad))
        return self._log_in(fields.get("proxy-authorization", "")) if self._must_log_in else self._wants

    def logged_in(self, ok: bool) -> None:
        """Go on to the destination, or answer that the password is wrong."""
        if not ok:
            self._ask_for_password()

    def succeeded(self, host: str, port: int) -> None:
        """Answer that what follows is the tunnel."""
        self.out += write_head("HTTP/1.1 200 Connection established", ())

    def failed(self, cause: Failure) -> None:
        """Answer why the destination is not reached."""
        status, error = _STATUS[cause]
        self._answer(status, ("Proxy-Status", f"sekimori; error={error}"))

    def _log_in(self, credentials: str) -> Asked:
        scheme, _, token = credentials.partition(" ")
        try:
            name, colon, password = b64decode(token.strip(), validate=True).partition(b":")
        except ValueError:  # no base64, or not even ASCII
            colon = b""
        if scheme.lower() != "basic" or not colon:
            self._ask_for_password()
            return Refused("no password")
        return LogIn(name.decode(errors="replace"), password)

    def _ask_for_password(self) -> None:
        challenge = ("Proxy-Authenticate", 'Basic realm="sekimori", charset="UTF-8"')
        self._answer("407 Proxy Authentication Required", challenge)

    def _answer(self, status: str, *fields: tuple[str, str]) -> None:
        self.out += write_head(
            f"HTTP/1.1 {status}", (*fields, ("Content-Length", "0"), ("Connection", "close"))
        )


def _head_end(data: bytearray) -> int | None:
    """Where the empty line ends that ends a head; lines may end without a carriage return."""
    # Searched for by find(): a client that sends single bytes has this done for each of them.
    ends = [
        found + len(mark) for mark in (b"\n\r\n", b"\n\n") if (found := data.find(mark, 0, LONGEST_HEAD)) >= 0
    ]
    return min(ends, default=None)
