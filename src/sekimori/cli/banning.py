"""The verbs of who is kept out, and of ending live connections: ban, unban, kill."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from sekimori.cli.grammar import Writing
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.writing import tell
from sekimori.model.causes import Unreadable
from sekimori.model.errors import Problem
from sekimori.model.source import parse_prefix

__all__ = ["ban", "kill", "unban"]


def ban(
    address: str | None = None,
    /,
    *,
    for_: str | None = None,
    until: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Keep an address or a prefix out of everything; live connections from there end now."""
    if not address:
        raise Problem("missing", key="ADDRESS", example="sekimori ban 198.51.100.7 --for 1d")
    said = {"for": for_, "until": until}
    fields = {name: value for name, value in said.items() if value is not None}
    return tell(session, session.client.ban(address, fields, plan=writing.plan, why=writing.why))


def unban(
    address: str | None = None,
    /,
    *,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Let a banned address or prefix in again."""
    prefix = _needed(address, "unban", "ADDRESS")
    return tell(session, session.client.unban(prefix, plan=writing.plan, why=writing.why))


def kill(
    what: str | None = None,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    session: Session,
) -> int:
    """End the live connections of a mapping, or those from an address; who was cut off may come again."""
    meant = _needed(what, "kill", "NAME|SOURCE")
    mapping, source = (None, meant) if _is_source(meant) else (meant, from_)
    if mapping is None and from_ is not None:
        raise Misuse("together", verb="kill", text=meant, value="--from")
    _confirm(session, mapping, source)
    ended = session.client.kill(mapping, source)
    return session.answer({"ended": ended}, lambda: session.word("kill.done", count=ended))


def _confirm(session: Session, mapping: str | None, source: str | None) -> None:
    """Ask before live connections are cut, where somebody is there to ask.

    Raises:
        Problem: `interrupted`, when the answer is no.
    """
    if not session.asks:
        return
    if mapping is None or source is not None:
        question = session.word("ask.kill-source", source=source, name=mapping or session.word("kill.all"))
    else:
        view = session.client.get(mapping)
        count = view["counters"]["flows_active"]
        if not count:
            return
        question = session.word("ask.cut", count=count, name=view["name"])
    if not session.agrees(question):
        raise Problem("interrupted")


def _is_source(text: str) -> bool:
    """Whether it is an address or a prefix; every other word is meant for a mapping."""
    try:
        parse_prefix(text)
    except Unreadable:
        return False
    return True


def _needed(text: str | None, verb: str, what: str) -> str:
    if not text:
        raise Misuse("needs-argument", verb=verb, text=what)
    return text
