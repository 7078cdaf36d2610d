"""What somebody may do who comes by the SSH door, as flags; and public keys, typed or kept in files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from cyclopts import Parameter

from sekimori.cli.misuse import Misuse

__all__ = ["Granting", "read_key_lines"]

_LARGEST: Final = 1 << 20
"""Bytes of a file of keys."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Granting:
    """The words of a grant but for its addresses, unread: the daemon reads them."""

    ports: list[str] | None = None
    most: str | None = None
    from_: list[str] | None = None
    for_: str | None = None
    hold: str | None = None
    limit: str | None = None
    limit_total: str | None = None
    max_connections: str | None = None
    quota: str | None = None
    quota_every: str | None = None
    to: list[str] | None = None
    sessions: str | None = None
    accept_risk: list[str] | None = None

    def said(self, on: list[str] | None) -> dict[str, Any]:
        """The API's fields that were given, with the addresses."""
        named = {one.name.rstrip("_"): getattr(self, one.name) for one in fields(self)}
        return {key: value for key, value in {**named, "on": on}.items() if value is not None}


def read_key_lines(texts: Iterable[str], verb: str) -> list[str]:
    """The lines of keys: of each text that is one, and of each file (`-` is stdin) that is named.

    Raises:
        Misuse: a file cannot be read, holds no key, or holds a private one; or it is an option there is not.
    """
    said = list(texts)
    for text in said:
        if text.startswith("-") and text != "-":
            raise Misuse("unknown-option", verb=verb, text=text)
    return [line for text in said for line in _lines(text, verb)]


def _lines(text: str, verb: str) -> list[str]:
    # A line of a key always has a blank in it; so may the name of a file, if there is such a file.
    if text != "-" and any(sign.isspace() for sign in text.strip()) and not os.path.exists(text):
        return [text.strip()]
    content = _content(text, verb)
    if "PRIVATE KEY" in content:
        public = f"{text}.pub"
        fix = "hint.public-key" if os.path.exists(public) else "hint.make-public-key"
        raise Misuse("private-key", fix=fix, verb=verb, text=text, public=public)
    found = [line.strip() for line in content.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise Misuse("no-key", fix="hint.key-file", verb=verb, text=text)
    return found


def _content(text: str, verb: str) -> str:
    try:
        if text == "-":
            return sys.stdin.read(_LARGEST)
        with open(os.path.expanduser(text), encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError as error:
        why = error.strerror or str(error)
        raise Misuse("key-file", fix="hint.key-file", verb=verb, text=text, why=why) from None
