"""HTTP/1.0 over a unix socket, as far as the client of the API needs it.

One connection a call: a 1.0 answer ends where the connection ends (RFC 9112 §6.3), which frames a plain
answer and an event stream alike. `http.client` would cost every command 33 ms more to import (measured
on two cores, Python 3.11), most of it for mail parsing that nothing here needs.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from sekimori.model.causes import Text, cause, os_cause
from sekimori.model.errors import Problem

__all__ = ["Connection", "Json"]

Json = dict[str, Any]

_LONGEST_HEAD: Final = 64 * 1024
_SILENCE: Final = 45.0
"""Seconds without a byte after which a stream is dead; the daemon sends one every 15 s."""


class Connection:
    """One daemon's socket, and how to ask there. It holds nothing open between calls.

    Args:
        socket_path: where the daemon listens.
        language: of the sentences in answers, `en` or `ja`.
        timeout: seconds without a byte after which a call gives up.
        caller: the connection that whoever asks came to this machine by, as SSH_CONNECTION has it
            (ssh(1)); a change that would cut it off is then not left standing unconfirmed.
    """

    def __init__(
        self,
        socket_path: str | os.PathLike[str],
        language: str = "en",
        timeout: float = 30,
        caller: str | None = None,
    ) -> None:
        self.socket_path = os.fspath(socket_path)
        self.language = language
        self.timeout = timeout
        # What is no header's value (RFC 9110 §5.5) did not come from sshd.
        self.caller = caller if caller and caller.isascii() and caller.isprintable() else None

    def _events(self, path: str) -> Iterator[tuple[str, Json]]:
        with self._call("GET", path, None, max(self.timeout, _SILENCE)) as answer:
            if answer.status >= 400:
                raise self._problem(answer, answer.stream.read())
            yield from _read_events(self._lines(answer))

    def _json(self, method: str, path: str, body: Json | None = None, within: float = 0) -> Json:
        text = self._text(method, path, body, within)
        try:
            value = json.loads(text)
        except ValueError:
            raise self._stranger() from None
        if not isinstance(value, dict):
            raise self._stranger()
        return value

    def _text(self, method: str, path: str, body: Json | None = None, within: float = 0) -> str:
        timeout = max(self.timeout, within)
        with self._call(method, path, body, timeout) as answer:
            content = self._body(answer, method, path, timeout)
            if answer.status >= 400:
                raise self._problem(answer, content)
            return content.decode("utf-8", "replace")

    def _call(self, method: str, path: str, body: Json | None, timeout: float) -> _Answer:
        """Send one request and read the head of its answer."""
        content = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {path} HTTP/1.0",
            "Host: sekimori",
            "Accept: application/json, application/problem+json, text/event-stream;q=0.9, */*;q=0.1",
            f"Accept-Language: {self.language}",
        ]
        if self.caller is not None:
            head.append(f"Sekimori-Caller: {self.caller}")
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        stream = self._send("\r\n".join([*head, "", ""]).encode() + content, timeout)
        try:
            return _read_head(stream)
        except BaseException as error:
            stream.close()
            if isinstance(error, TimeoutError):
                raise self._late(method, path, timeout) from None
            if isinstance(error, OSError):
                raise self._unreachable(_loss_cause(error)) from None
            if isinstance(error, ValueError | EOFError):
                raise self._stranger() from None
            raise

    def _send(self, request: bytes, timeout: float) -> BinaryIO:
        """Send a request; the stream its answer comes on, which alone keeps the socket open."""
        with self._connect(timeout) as sock:
            try:
                # A daemon that refuses a body may answer and close before it has read all of it.
                with suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(request)
            except TimeoutError:
                raise self._unreachable(cause("does-not-read")) from None
            return sock.makefile("rb")

    def _connect(self, timeout: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(self.socket_path)
        except PermissionError:
            sock.close()
            raise Problem(
                "not-permitted", what=cause("do-socket", path=self.socket_path), who=_user_name()
            ) from None
        except OSError as error:
            sock.close()
            raise self._unreachable(_connect_cause(error)) from None
        return sock

    def _body(self, answer: _Answer, method: str, path: str, timeout: float) -> bytes:
        said = answer.headers.get("content-length", "")
        length = int(said) if said.isdecimal() else -1
        try:
            # No more than was said: after it may come a reset, which would take all of it away.
            content = answer.stream.read(length)
        except TimeoutError:
            raise self._late(method, path, timeout) from None
        except OSError:
            content = b""
        if length not in (-1, len(content)):
            raise self._unreachable(cause("half-answer"))
        return content

    def _lines(self, answer: _Answer) -> Iterator[str]:
        try:
            for line in answer.stream:
                yield line.decode("utf-8", "replace").rstrip("\r\n")
        except OSError:  # a time-out here is silence where a keep-alive was due
            raise self._unreachable(cause("events-stopped")) from None

    def _problem(self, answer: _Answer, content: bytes) -> Problem:
        try:
            body = json.loads(content)
        except ValueError:
            return self._stranger()
        return Problem.from_body(body) if isinstance(body, dict) else self._stranger()

    def _late(self, method: str, path: str, timeout: float) -> Problem:
        what = cause("unanswered", call=f"{method} {path.partition('?')[0]}")
        return Problem("timeout", seconds=f"{timeout:g}", what=what)

    def _unreachable(self, why: Text) -> Problem:
        return Problem("unreachable", socket=self.socket_path, why=why)

    def _stranger(self) -> Problem:
        return self._unreachable(cause("stranger"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """The head of an answer, and the stream its body comes from."""

    status: int
    headers: Mapping[str, str]
    stream: BinaryIO

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def _read_head(stream: BinaryIO) -> _Answer:
    """Status line and headers (RFC 9112 §4, §5).

    Raises:
        ValueError, EOFError: it is not HTTP, or ends too soon.
        OSError: the connection failed.
    """
    line = stream.readline(_LONGEST_HEAD)
    if not line:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    version, _, rest = line.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    status = int(rest[:3])
    headers: dict[str, str] = {}
    left = _LONGEST_HEAD
    while (line := stream.readline(left)) not in (b"\r\n", b"\n"):
        left -= len(line)
        if not line or left <= 0:
            raise EOFError
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return _Answer(status, headers, stream)


def _read_events(lines: Iterator[str]) -> Iterator[tuple[str, Json]]:
    """The events of a stream (HTML Living Standard §9.2.6); comments are passed over."""
    name, data = "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _connect_cause(error: OSError) -> Text:
    if isinstance(error, FileNotFoundError):
        return cause("socket-missing")
    if isinstance(error, ConnectionRefusedError):
        return cause("socket-silent")
    return os_cause(error)


def _loss_cause(error: OSError) -> Text:
    return cause("no-answer-came") if isinstance(error, ConnectionResetError) else os_cause(error)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # an account without an entry, as in many containers
        return str(os.geteuid())
