"""The spellings of ssh(1) for forwarding, `-L -R -D` and its destination, as words of mappings and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekimori.cli.misuse import Misuse

__all__ = ["Forwarding", "Place", "read_destination", "read_dynamic", "read_local", "read_remote"]

_VERB: Final = "tunnel"
_HIGHEST: Final = 65535
_LOOPBACK: Final = (None, "localhost", "127.0.0.1", "::1")
"""Addresses to bind that nobody comes to from elsewhere; None is that none was said."""


@dataclass(frozen=True, slots=True)
class Forwarding:
    """One of `-L`, `-R`, `-D`, read.

    Attributes:
        text: as it was typed.
        ports: the words of `open` for where it listens: `tcp/8080:80`, `unix:/run/a.sock`.
        to: for where it leads; "" where the client names that (`-D`).
        on: the address to listen on, as `--on` takes it; "" is every one that there is.
        remote: whether it listens at the far end.
        wide: whether others than the machine it listens on were meant to come in.
    """

    text: str
    ports: str
    to: str
    on: str
    remote: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect: a name that may be a link's, or a place as ssh takes it.

    Attributes:
        text: the `ssh://…` of it.
        plain: the word itself, where it could be a link's name; else "".
    """

    text: str
    plain: str


def read_local(text: str) -> Forwarding:
    """Read `[bind:]port:host:hostport`, `[bind:]port:socket`, `socket:host:hostport`, `socket:socket`.

    Raises:
        Misuse: it is none of them.
    """
    return _read("-L", text, remote=False)


def read_remote(text: str) -> Forwarding:
    """Read the same of `-R`. A port alone, which ssh takes for SOCKS at the far end, is refused.

    Raises:
        Misuse: it is none of them.
    """
    return _read("-R", text, remote=True)


def read_dynamic(text: str) -> Forwarding:
    """Read `[bind:]port` of `-D`.

    Raises:
        Misuse: it is no such thing.
    """
    bind, port = _bind_and_port("-D", text, _split(text))
    return Forwarding(text, f"tcp/{port}", "", _on(bind, remote=False), False, _is_wide(bind))


def read_destination(text: str, user: str = "", port: str = "") -> Place:
    """Read `[user@]host`, `ssh://[user@]host[:port]` or a link's name, with `-l` and `-p`.

    What the words say themselves goes before the options, as in ssh(1).

    Raises:
        Misuse: the port is none.
    """
    if port:
        _port("-p", port, port, lowest=1)
    if text.startswith("ssh://"):
        return Place(_fill(text, user, port), "")
    name, at, host = text.rpartition("@")
    # ssh(1) takes the whole word for the host: a port needs -p, and an IPv6 address no brackets.
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    who = name if at else user
    place = f"ssh://{who + '@' if who else ''}{host}{':' + port if port else ''}"
    return Place(place, "" if at or user or port else text)


def _fill(text: str, user: str, port: str) -> str:
    rest = text.removeprefix("ssh://").rstrip("/")
    if user and "@" not in rest:
        rest = f"{user}@{rest}"
    host = rest.rpartition("@")[2]
    has_port = ":" in (host.rpartition("]")[2] if host.startswith("[") else host)
    return f"ssh://{rest}" + (f":{port}" if port and not has_port else "")


def _read(flag: str, text: str, *, remote: bool) -> Forwarding:
    parts = _split(text)
    if remote and len(parts) in (1, 2) and not any(part.startswith("/") for part in parts):
        # `-R [bind:]port` is SOCKS at the far end (ssh(1)).
        _bind_and_port(flag, text, parts)
        raise Misuse("remote-dynamic", fix="hint.remote-dynamic", verb=_VERB, text=f"{flag} {text}")
    if parts[0].startswith("/"):
        bind: str | None = None
        head, rest, where = f"unix:{parts[0]}", parts[1:], ""
    else:
        count = 2 if len(parts) == 4 or (len(parts) == 3 and parts[2].startswith("/")) else 1
        bind, port = _bind_and_port(flag, text, parts[:count], lowest=0 if remote else 1)
        head, rest, where = f"tcp/{port}", parts[count:], _on(bind, remote=remote)
    ports, to = _aim(flag, text, head, rest)
    return Forwarding(text, ports, to, where, remote, _is_wide(bind))


def _aim(flag: str, text: str, head: str, rest: list[str]) -> tuple[str, str]:
    """The ports with the inside one, and the target."""
    if len(rest) == 1 and rest[0].startswith("/"):
        return head, f"unix:{rest[0]}"
    if len(rest) != 2 or not rest[0]:
        raise _bad(flag, text)
    host, port = rest[0], _port(flag, rest[1], text, lowest=1)
    return head, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_and_port(flag: str, text: str, parts: list[str], lowest: int = 1) -> tuple[str | None, int]:
    """The address to bind, None where none was said, and the port."""
    if len(parts) == 1:
        return None, _port(flag, parts[0], text, lowest)
    if len(parts) == 2:
        return parts[0], _port(flag, parts[1], text, lowest)
    raise _bad(flag, text)


def _on(bind: str | None, *, remote: bool) -> str:
    """What `--on` says for an address to bind; `*` and "" are every one.

    Without any, ssh(1) asks for loopback. At the far end none is named instead: a gateway of ours has one
    that it gives, and who is let in is judged at this end.
    """
    if bind is None:
        return "" if remote else "127.0.0.1"
    return {"": "", "*": "", "localhost": "127.0.0.1"}.get(bind, bind)


def _is_wide(bind: str | None) -> bool:
    return bind not in _LOOPBACK


def _port(flag: str, word: str, text: str, lowest: int = 1) -> int:
    if not (word.isascii() and word.isdecimal() and lowest <= int(word[:6]) <= _HIGHEST):
        raise _bad(flag, text)
    return int(word)


def _bad(flag: str, text: str) -> Misuse:
    return Misuse("forwarding", fix="hint.forwarding", verb=_VERB, text=flag, value=text)


def _split(text: str) -> list[str]:
    """The parts between colons; what stands in brackets is one, as ssh(1) has IPv6 addresses."""
    parts, word, inside = [], "", False
    for sign in text:
        if sign == "[" and not word and not inside:
            inside = True
        elif sign == "]" and inside:
            inside = False
        elif sign == ":" and not inside:
            parts.append(word)
            word = ""
        else:
            word += sign
    return [*parts, word]
