"""Passwords of SOCKS users: typed at the terminal or read from a file, never taken from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from getpass import getpass
from pathlib import Path

from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.text import one_line
from sekimori.model.causes import os_cause

__all__ = ["with_passwords"]

_HINT = "hint.socks-user"
_MADE = "scrypt$"
"""What the text begins with that `export` writes in the place of a password: no secret to hide."""


def with_passwords(session: Session, fields: Mapping[str, object], verb: str) -> Mapping[str, object]:
    """The fields with the password of each SOCKS user, `NAME:PASSWORD`; asked for, or from a file.

    Raises:
        Misuse: a password stands on the command line, nobody can be asked, or a file cannot be read.
    """
    said = fields.get("socks_user")
    if not isinstance(said, list) or said == ["none"]:
        return fields
    return {**fields, "socks_user": [one for text in said for one in _read(session, str(text), verb)]}


def _read(session: Session, text: str, verb: str) -> Iterator[str]:
    name, colon, password = text.partition(":")
    if text.startswith("@"):
        yield from _lines(session, text[1:], verb)
    elif not colon:
        yield f"{name}:{_ask(session, name, verb)}"
    elif password.startswith(_MADE):
        yield text
    else:
        raise Misuse("password-shown", fix=_HINT, verb=verb, text=one_line(name))


def _lines(session: Session, file: str, verb: str) -> Sequence[str]:
    """The users of a file, one a line; it is read with the rights of the person who asks."""
    try:
        content = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        why = os_cause(error)[session.options.language]
        raise Misuse("bad-password-file", fix=_HINT, verb=verb, text=one_line(file), why=why) from None
    except UnicodeDecodeError as error:
        raise Misuse("bad-password-file", fix=_HINT, verb=verb, text=one_line(file), why=str(error)) from None
    return [line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#")]


def _ask(session: Session, name: str, verb: str) -> str:
    shown = one_line(name)
    if not session.asks:
        raise Misuse("no-password-asked", fix=_HINT, verb=verb, text=shown)
    password = getpass(session.word("ask.password", name=shown))
    if getpass(session.word("ask.password-again")) != password:
        raise Misuse("passwords-differ", fix=_HINT, verb=verb, text=shown)
    return password
