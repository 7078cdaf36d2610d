"""The verbs that only look: ls, show, who, history, status, presets, export."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sekimori.cli.farend import tell_shut_off
from sekimori.cli.misuse import Misuse
from sekimori.cli.pages import page_mapping, page_preset, page_status
from sekimori.cli.session import Session

__all__ = ["export", "history", "ls", "presets", "show", "status", "who"]


def ls(*, session: Session) -> int:
    """What is open, to whom, until when."""
    views = session.client.mappings()

    def human() -> str:
        if not views:
            return session.word("ls.empty")
        from sekimori.cli.tables import draw_mappings

        return "\n".join([draw_mappings(session, views), *tell_shut_off(session, views)])

    return session.answer({"mappings": views}, human)


def show(name: str | None = None, /, *, session: Session) -> int:
    """Everything about one mapping."""
    view = session.client.get(_needed(name, "show"))
    return session.answer(view, lambda: page_mapping(session, view))


def who(name: str | None = None, /, *, session: Session) -> int:
    """Who uses a mapping."""
    use = session.client.who(_needed(name, "who"))
    return session.answer(use, lambda: _page_use(session, use))


def history(
    name: str | None = None,
    /,
    *,
    limit: str = "50",
    before: str | None = None,
    session: Session,
) -> int:
    """Who changed what, newest first."""
    most = _number(limit, "--limit", 1000)
    revisions = session.client.history(most, None if before is None else _number(before, "--before"), name)

    def human() -> str:
        if not revisions:
            return session.word("history.none-of", name=name) if name else session.word("history.empty")
        from sekimori.cli.tables import draw_history

        return draw_history(session, revisions)

    code = session.answer({"revisions": revisions}, human)
    if len(revisions) == most and (last := revisions[-1]["number"]) > 1 and session.talks:
        session.talk(session.word("history.more", revision=last, subject=f" {name}" if name else ""))
    return code


def status(*, why: bool = False, session: Session) -> int:
    """How the daemon and the line to the internet are; with `why`, what is known of the line from where."""
    about = session.client.status()
    if "line" in about:  # in short; and an older daemon says nothing of it
        about["line"] = session.client.line()
    return session.answer(about, lambda: page_status(session, about, why=why))


def presets(search: str | None = None, /, *, session: Session) -> int:
    """The known services, or those a word finds."""
    found = session.client.presets(search)

    def human() -> str:
        if not found:
            return session.word("presets.none", text=search or "")
        if (meant := _meant(found, search or "")) is not None:
            return _page_preset(session, meant, found)
        from sekimori.cli.tables import draw_presets

        return draw_presets(session, found)

    return session.answer({"presets": found}, human)


def _meant(found: Sequence[Mapping[str, Any]], search: str) -> Mapping[str, Any] | None:
    """The preset whose name or alias was said."""
    word = search.strip().lower()
    return next((one for one in found if word in (one["name"], *one["aliases"])), None)


def _page_preset(session: Session, preset: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> str:
    others = ", ".join(one["name"] for one in found if one is not preset)
    page = page_preset(session, preset)
    return page + "\n" + session.word("presets.also", names=others) if others else page


def export(*, session: Session) -> int:
    """The whole state as TOML on stdout; under `--json` as one text."""
    toml = session.client.export()
    if session.options.json:
        return session.answer({"toml": toml}, str)
    session.print(toml.rstrip("\n"))
    return 0


def _page_use(session: Session, use: Mapping[str, Any]) -> str:
    from sekimori.cli.tables import draw_flows, draw_sources

    name = use["mapping"]["name"]
    if not use["sources"]:
        return session.word("who.no-sources", name=name)
    parts = [session.word("who.sources", name=name), draw_sources(session, use["sources"]), ""]
    if use["flows"]:
        parts += [session.word("who.flows"), draw_flows(session, use["flows"])]
    else:
        parts.append(session.word("who.no-flows"))
    return "\n".join(parts)


def _needed(name: str | None, verb: str) -> str:
    if not name:
        raise Misuse("needs-argument", verb=verb, text="NAME")
    return name


def _number(text: str, flag: str, most: int = sys.maxsize) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= most:
        raise Misuse("bad-value", verb="history", text=flag, value=text)
    return int(text)
