"""The verbs that only look at what guards the machine: gateway status, bans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sekimori.cli.session import Session
from sekimori.cli.text import aligned, clean, owner_label

__all__ = ["bans", "status"]

View = Mapping[str, Any]


def status(*, session: Session) -> int:
    """Whether this machine is a gateway, and what it stands between."""
    view = session.client.gateway()
    return session.answer(view, lambda: _page(session, view))


def bans(*, session: Session) -> int:
    """Who is kept out, until when, and why."""
    found = session.client.bans()

    def human() -> str:
        if not found:
            return session.word("bans.empty")
        from sekimori.cli.tables import draw_bans

        return draw_bans(session, found)

    return session.answer({"bans": found}, human)


def _page(session: Session, view: View) -> str:
    rows = [(session.word(f"gateway.{key}"), clean(text)) for key, text in _rows(session, view) if text]
    head = session.word("gateway.on" if view["enabled"] else "gateway.off")
    return "\n".join([head, "", aligned(rows)])


def _rows(session: Session, view: View) -> Iterator[tuple[str, str]]:
    def switch(on: object) -> str:
        return session.word("say.yes" if on else "say.no")

    if view["enabled"]:
        yield "masquerade", switch(view["masquerade"])
        yield "firewall", switch(view["firewall"])
        yield "owner", owner_label(str(view["owner"]), session.options.language)
        yield "managed_by", view.get("managed_by") or ""
        yield "since", session.clock.when(view["created_at"]) if view.get("created_at") else ""
        yield "found", ", ".join(f"{name}={old}" for name, old in view["found"].items())
    yield "forwarding4", switch(view["forwarding4"])
    yield "forwarding6", switch(view["forwarding6"])
    yield "wans", _sides(view["wans"], "addresses") or session.word("gateway.nothing-found")
    yield "lans", _sides(view["lans"], "prefixes") or session.word("gateway.nothing-found")
    for key in ("obstacle", "problem"):
        if problem := view.get(key):
            yield key, str(problem["title"])
            yield "fix", str(problem["detail"])


def _sides(sides: Iterable[View], key: str) -> str:
    named = ((side["interface"], ", ".join(side[key])) for side in sides)
    return "; ".join(f"{name} ({listed})" if listed else name for name, listed in named)
