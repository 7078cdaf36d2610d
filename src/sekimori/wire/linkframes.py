"""What two Sekimori ends say on a session channel of the subsystem `sekimori`: datagrams, and who has them.

SSH has no datagrams (RFC 4254 carries streams only), so they are framed. Everything on such a channel, in
both directions, is a record: a big-endian u16 length and that many bytes. The client opens one channel for
each flow. Its first record, JSON, says what the channel is for; the first record of the answer whether it is:

    client                                                    server
    {"v":1,"udp":{"host":"db","port":53,
     "source":["192.0.2.1",5555],"id":"m12"}}                 {"ok":true} or {"failed":"prohibited"}
        datagrams, one to a record, both ways
    {"v":1,"listen-udp":{"host":"0.0.0.0","port":53,
     "id":"m12"}}                                             {"ok":true,"port":53} or {"failed":"port-taken"}
                                                              {"peer":7,"source":["192.0.2.1",5555]} ...
    {"v":1,"peer":7}      on a channel of its own             {"ok":true} or {"failed":"refused"}
        datagrams of that peer, one to a record, both ways

A channel of `listen-udp` says nothing more from the client; the server listens until it closes. The datagrams
of a peer that was announced wait, few of them, until its channel is opened. A server that does not know `v`
or the member beside it answers {"failed":"other"}. Members that are not known are ignored.

A datagram that cannot be sent soon is dropped by who sends it: late is worse than lost for what uses UDP.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sekimori.wire.errors import BadPacket

__all__ = [
    "LONGEST",
    "SUBSYSTEM",
    "Announced",
    "Answer",
    "DialUdp",
    "ListenUdp",
    "Opening",
    "Records",
    "TakePeer",
    "pack_record",
    "read_announced_untrusted",
    "read_answer_untrusted",
    "read_opening_untrusted",
]

SUBSYSTEM: Final = "sekimori"
LONGEST: Final = 0xFFFF
"""Bytes in a record; a UDP datagram has at most 65,527."""

_VERSION: Final = 1
_LENGTH: Final = struct.Struct("!H")
_HIGHEST_PORT: Final = 0xFFFF

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class DialUdp:
    """Carry datagrams to a place that the server reaches.

    Attributes:
        host: a name or an address, as the server knows it.
        source: who they come from at the client's end.
        id: the mapping's there; for records only.
    """

    host: str
    port: int
    source: Endpoint | None = None
    id: str = ""

    def to_bytes(self) -> bytes:
        """Its record's content."""
        source = list(self.source) if self.source is not None else None
        return _json(
            {"v": _VERSION, "udp": {"host": self.host, "port": self.port, "source": source, "id": self.id}}
        )


@dataclass(frozen=True, slots=True)
class ListenUdp:
    """Listen for datagrams at the server's end, with "" on every address. Port 0 lets the server choose."""

    host: str
    port: int
    id: str = ""

    def to_bytes(self) -> bytes:
        """Its record's content."""
        return _json({"v": _VERSION, "listen-udp": {"host": self.host, "port": self.port, "id": self.id}})


@dataclass(frozen=True, slots=True)
class TakePeer:
    """Carry the datagrams of a peer that was announced."""

    peer: int

    def to_bytes(self) -> bytes:
        """Its record's content."""
        return _json({"v": _VERSION, "peer": self.peer})


Opening = DialUdp | ListenUdp | TakePeer


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a channel is what was asked.

    Attributes:
        failed: why not, "" where it is: `refused timed_out unreachable prohibited port-taken other`.
        port: which one is listened on.
    """

    failed: str = ""
    port: int = 0

    def to_bytes(self) -> bytes:
        """Its record's content."""
        if self.failed:
            return _json({"failed": self.failed})
        return _json({"ok": True, "port": self.port} if self.port else {"ok": True})


@dataclass(frozen=True, slots=True)
class Announced:
    """Somebody sent to a port that is listened on."""

    peer: int
    source: Endpoint

    def to_bytes(self) -> bytes:
        """Its record's content."""
        return _json({"peer": self.peer, "source": list(self.source)})


class Records:
    """Cuts a stream into records."""

    __slots__ = ("_data", "_place")

    def __init__(self) -> None:
        self._data = bytearray()
        self._place = 0

    def feed_untrusted(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Add what came, and give every record that is whole now.

        Who stops taking them in between may go on with the next call, or with `rest`. No bytes are wrong: a
        length says how many follow, whatever they are. At most one record is kept once all were taken.
        """
        del self._data[: self._place]
        self._place = 0
        self._data += data
        while len(self._data) - self._place >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data, self._place)
            start = self._place + _LENGTH.size
            if start + length > len(self._data):
                break
            self._place = start + length
            yield bytes(self._data[start : start + length])

    def rest(self) -> bytes:
        """Take what has come and was not given as a record, for another reader to go on with."""
        data = bytes(self._data[self._place :])
        self._data.clear()
        self._place = 0
        return data


def pack_record(content: bytes) -> bytes:
    """A record with this content.

    Raises:
        ValueError: it is longer than `LONGEST`.
    """
    if len(content) > LONGEST:
        raise ValueError(f"a record of {len(content)} bytes")
    return _LENGTH.pack(len(content)) + content


def read_opening_untrusted(content: bytes) -> Opening:
    """What a channel is to be for.

    Raises:
        BadPacket: it is nothing that is known here.
    """
    message = _object(content)
    if message.get("v") != _VERSION:
        raise BadPacket("another version of the subsystem")
    if isinstance(asked := message.get("udp"), dict):
        source = asked.get("source")
        return DialUdp(
            _text(asked, "host"),
            _number(asked, "port", 1),
            _endpoint(source) if source is not None else None,
            _text(asked, "id", ""),
        )
    if isinstance(asked := message.get("listen-udp"), dict):
        return ListenUdp(_text(asked, "host", ""), _number(asked, "port", 0), _text(asked, "id", ""))
    if "peer" in message:
        return TakePeer(_number(message, "peer", 0, 1 << 53))
    raise BadPacket("nothing that is known")


def read_answer_untrusted(content: bytes) -> Answer:
    """The first answer on a channel.

    Raises:
        BadPacket: it is none.
    """
    message = _object(content)
    failed = message.get("failed")
    if isinstance(failed, str) and failed:
        return Answer(failed=failed)
    if message.get("ok") is not True:
        raise BadPacket("neither yes nor no")
    return Answer(port=_number(message, "port", 0) if "port" in message else 0)


def read_announced_untrusted(content: bytes) -> Announced:
    """A peer, on a channel of `listen-udp`.

    Raises:
        BadPacket: it is none.
    """
    message = _object(content)
    return Announced(_number(message, "peer", 0, 1 << 53), _endpoint(message.get("source")))


def _json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        message = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadPacket("not JSON") from error
    if not isinstance(message, dict):
        raise BadPacket("not an object")
    return message


def _text(message: dict[str, Any], name: str, default: str | None = None) -> str:
    value = message.get(name, default)
    if not isinstance(value, str) or len(value) > 1024 or (default is None and not value):
        raise BadPacket(f"{name} is not a text")
    return value


def _number(message: dict[str, Any], name: str, lowest: int, highest: int = _HIGHEST_PORT) -> int:
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise BadPacket(f"{name} is not a number from {lowest} to {highest}")
    return value


def _endpoint(value: Any) -> Endpoint:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str):
        raise BadPacket("not an address and a port")
    return value[0], _number({"port": value[1]}, "port", 0)
