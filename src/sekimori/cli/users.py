"""The verbs of the SSH door's users and their keys: user add, edit, ls, show, rm; key add, ls, rm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from cyclopts import Parameter

from sekimori.cli.grammar import Writing
from sekimori.cli.granting import Granting, read_key_lines
from sekimori.cli.misuse import Misuse
from sekimori.cli.session import Session
from sekimori.cli.text import all_sources, clean, key_comment, laid, one_line, size
from sekimori.cli.writing import tell

__all__ = ["add", "add_key", "edit", "keys", "ls", "remove", "remove_key", "show"]

View = Mapping[str, Any]
Word = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""A file that may be `-` for stdin."""


def ls(*, session: Session) -> int:
    """Who may come in by the SSH door, for what, and who is connected."""
    users = session.client.users()

    def human() -> str:
        if not users:
            return session.word("user.none")
        from sekimori.cli.tables_links import draw_sessions, draw_users

        sessions = [one for user in users for one in user["sessions"]]
        parts = [draw_users(session, users)]
        parts += ["", draw_sessions(session, sessions)] if sessions else []
        return "\n".join(parts)

    return session.answer({"users": users}, human)


def show(name: str | None = None, /, *, session: Session) -> int:
    """Everything about one user."""
    user = session.client.user(_needed(name, "user show", "NAME"))

    def human() -> str:
        rows = [(session.word(f"field.{key}"), clean(text)) for key, text in _rows(session, user) if text]
        parts = [laid(rows)]
        if user["sessions"]:
            from sekimori.cli.tables_links import draw_sessions

            parts += ["", draw_sessions(session, user["sessions"])]
        return "\n".join(parts)

    return session.answer(user, human)


def add(
    name: str | None = None,
    /,
    *key: Word,
    on: list[str] | None = None,
    until: str | None = None,
    granting: Granting = Granting(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Let somebody in by the SSH door, and for what."""
    called = _needed(name, "user add", "NAME")
    if not key:
        raise Misuse("needs-argument", verb="user add", text="KEY")
    fields: dict[str, object] = {"keys": read_key_lines(key, "user add"), "grant": granting.said(on)}
    if until is not None:
        fields["until"] = until
    return tell(session, session.client.add_user(called, fields, plan=writing.plan, why=writing.why))


def edit(
    name: str | None = None,
    /,
    *,
    on: list[str] | None = None,
    until: str | None = None,
    granting: Granting = Granting(),  # noqa: B008 - frozen
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Change what a user may do; what is not said stays."""
    called = _needed(name, "user edit", "NAME")
    grant = granting.said(on)
    fields = {
        key: value for key, value in {"grant": grant or None, "until": until}.items() if value is not None
    }
    if not fields:
        raise Misuse("nothing-to-change", verb="user edit", text=called)
    return tell(session, session.client.edit_user(called, fields, plan=writing.plan, why=writing.why))


def remove(name: str | None = None, /, *, writing: Writing = Writing(), session: Session) -> int:  # noqa: B008 - frozen
    """Let a user in no more; sessions end, and their ports close."""
    called = _needed(name, "user rm", "NAME")
    return tell(session, session.client.remove_user(called, plan=writing.plan, why=writing.why))


def keys(name: str | None = None, /, *, session: Session) -> int:
    """The keys of a user, or of all."""
    users = [session.client.user(name)] if name else session.client.users()
    found = [{"user": user["name"], **key} for user in users for key in user["keys"]]

    def human() -> str:
        if not found:
            return session.word("user.none")
        from sekimori.cli.tables_links import draw_keys

        return draw_keys(session, found)

    return session.answer({"keys": found}, human)


def add_key(
    name: str | None = None,
    /,
    *key: Word,
    options: str | None = None,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Let a user in by one more key; a key that is there already gets these options."""
    called = _needed(name, "key add", "USER")
    if len(key) != 1:
        wrong = ("needs-argument", "KEY") if not key else ("too-many", key[1])
        raise Misuse(wrong[0], verb="key add", text=wrong[1])
    lines = read_key_lines(key, "key add")
    if len(lines) > 1:
        raise Misuse("several-keys", verb="key add", text=key[0])
    line = lines[0] if options is None else f"{options} {lines[0]}"
    return tell(session, session.client.add_key(called, line, plan=writing.plan, why=writing.why))


def remove_key(
    name: str | None = None,
    fingerprint: str | None = None,
    /,
    *,
    writing: Writing = Writing(),  # noqa: B008 - frozen
    session: Session,
) -> int:
    """Take a key from a user; sessions that it opened end."""
    called = _needed(name, "key rm", "USER")
    which = _needed(fingerprint, "key rm", "FINGERPRINT")
    return tell(session, session.client.forget_key(called, which, plan=writing.plan, why=writing.why))


def _rows(session: Session, user: View) -> Iterator[tuple[str, str]]:
    clock, grant = session.clock, user["grant"]
    yield "name", user["name"]
    yield "until", clock.when(user["expires_at"]) if user["expires_at"] else session.word("until.permanent")
    for key in user["keys"]:
        yield "key", " ".join(filter(None, (key["fingerprint"], key_comment(key))))
        yield "options", one_line(key["options"])
    yield "mappings", ", ".join(user["mappings"])
    yield "grant_ports", grant["ports"] or session.word("grant.no-ports")
    if grant["ports"]:
        yield "on", ", ".join(grant["on"] or ()) or session.word("open.everywhere")
        yield "most", str(grant["most"])
        yield "from", all_sources(grant["from"] or "lan", session.options.language)
        yield "for", grant["for"]
        yield "hold", grant["hold"]
        for key in ("limit", "limit_total", "max_connections"):
            yield key, "" if grant[key] is None else str(grant[key])
        yield "accept_risk", ", ".join(grant["accept_risk"])
    if grant["quota"]:
        quota = {"bytes": size(grant["quota"]), "every": grant["quota_every"]}
        yield "quota", session.word("grant.quota", **quota)
    yield "destinations", grant["to"] if grant["to"] != "none" else session.word("grant.nowhere")
    yield "sessions", str(grant["sessions"])
    yield "owner", str(user["owner"]).partition(":")[2]
    yield "managed_by", user["managed_by"] or ""
    yield "created", clock.when(user["created_at"])


def _needed(text: str | None, verb: str, what: str) -> str:
    if not text:
        raise Misuse("needs-argument", verb=verb, text=what)
    return text
