"""One thing on a page: a mapping with everything about it, the daemon as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sekimori.cli.farend import is_shut_off
from sekimori.cli.line import draw_line
from sekimori.cli.session import Session
from sekimori.cli.standing import draw_open_doors, draw_standing_links
from sekimori.cli.text import (
    all_sources,
    clean,
    laid,
    one_line,
    owner_label,
    path_phrase,
    protocol_name,
    size,
    state_of,
    who_may,
)
from sekimori.cli.words import has_word

__all__ = ["hop_state", "page_mapping", "page_preset", "page_status"]

Row = tuple[str, str]
View = Mapping[str, Any]

_PLAIN: Final = ("via", "limit", "limit_total", "max_connections", "idle", "preset")
"""Fields shown as they are, where they are set."""


def page_mapping(session: Session, view: View) -> str:
    """Everything about one mapping, a line each; what is not set is left out."""
    rows = [*_rows_state(session, view), *_rows_terms(session, view), *_rows_traffic(session, view)]
    return laid((session.word(f"field.{field}"), clean(text)) for field, text in rows if text)


def page_preset(session: Session, preset: View) -> str:
    """One known service: what it takes unless told otherwise, and what to know of it."""
    language = session.options.language
    rows = {
        "name": preset["name"],
        "title": _translated(preset["title"], language),
        "aliases": ", ".join(preset["aliases"]),
        "ports": ", ".join(preset["ports"]),
        "from": all_sources(preset["from"], language),
        "for": preset["for"],
        "limit": preset["limit"],
        "risk": session.word(f"risk.{preset['risk']}"),
        "danger": preset["danger"],
        "note": _translated(preset["note"], language),
    }
    ending = session.word("presets.to-open", name=preset["name"])
    lines = laid((session.word(f"field.{field}"), clean(text)) for field, text in rows.items() if text)
    return "\n".join([lines, "", ending])


def _translated(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or texts.get("en", "")


def page_status(session: Session, about: View, *, why: bool = False) -> str:
    """How the daemon is: what it said of itself, a line each; and the line to the internet."""
    apart = ("config_exists", "config_taken_back_at", "line", "links", "doors")
    shown = {key: value for key, value in about.items() if key not in apart}
    if about.get("config") and not about.get("config_exists", True):
        shown["config"] = session.word("status.not-there", path=about["config"])
    elif taken_back := about.get("config_taken_back_at"):
        when = session.clock.when(taken_back)
        shown["config"] = session.word("status.taken-back", path=about["config"], when=when)
    rows = [(_status_word(session, key), clean(_flat(session, key, value))) for key, value in shown.items()]
    parts = [session.word("status.running", socket=session.socket), laid(rows)]
    if about.get("links"):
        parts.append(draw_standing_links(session, about["links"]))
    if about.get("doors"):
        parts.append(draw_open_doors(session, about["doors"]))
    if about.get("line"):
        parts.append(draw_line(session, about["line"], why=why))
    return "\n\n".join(parts)


def _rows_state(session: Session, view: View) -> Iterator[Row]:
    status, clock = view["status"], session.clock
    yield "name", view["name"]
    kind = view.get("kind", "forward")
    yield "kind", "" if kind == "forward" else _word_of(session, "kind", kind)
    state = session.word(f"state.{state_of(view)}")
    if status.get("since"):
        state = session.word("show.since", state=state, when=clock.when(status["since"]))
    edge = "opens_at" if status["state"] == "outside-hours" else "closes_at"
    if status["state"] in ("open", "outside-hours") and view.get(edge):
        state += ", " + session.word(f"show.{edge}", when=clock.when(view[edge]))
    yield "state", state
    if problem := status.get("problem"):
        yield "problem", str(problem.get("title", ""))
        yield "fix", str(problem.get("detail", ""))
    told = problem.get("title") if problem else None
    for hop in status.get("hops") or ():
        yield "hop", hop_state(session, hop, told)


def hop_state(session: Session, hop: View, told: str | None = None) -> str:
    """One hop of a path: that it works, or why it does not, unless that was `told` already."""
    if hop["problem"] is None:
        return session.word("hop.works", plane=hop["plane"])
    if told is not None and hop["problem"].get("title") == told:
        return session.word("hop.fails", plane=hop["plane"])
    return f"{hop['plane']}: {one_line(str(hop['problem'].get('title', '')))}"


def _rows_terms(session: Session, view: View) -> Iterator[Row]:
    clock = session.clock
    yield "ports", view["ports"]
    named = {"client": "lead.client", "socks": "lead.socks"}.get(view["to"])
    yield "to", session.word(named) if named else view["to"]
    reached = view["status"].get("targets") or ()
    targets = [each for each in reached if each not in view["to"] and each != "*"]  # what only a client knows
    yield "targets", ", ".join(targets)
    if view.get("trigger"):
        yield "trigger", session.word("show.trigger", ports=view["trigger"], hold=view["hold"])
    yield "except", view.get("except") or ""
    yield "from", who_may(view, session.options.language)
    if ends := view.get("expires_at"):
        yield "until", f"{clock.when(ends)} ({clock.left(ends)}; {clock.stamp(ends)})"
    else:
        yield "until", clock.until_phrase(view)
    yield "hours", f"{view['hours']} ({view['zone']})" if view.get("hours") else ""
    unix = str(view["ports"]).startswith("unix:/")
    yield "on", view.get("on") or ("" if unix or view.get("at") else session.word("open.everywhere"))
    yield "at", view.get("at") or ""
    yield "outside", session.word("show.loopback-only") if is_shut_off(session, view) else ""
    users = view.get("socks_users")
    yield "socks_users", "" if users is None else ", ".join(users) or session.word("show.socks-anybody")
    yield "reach", session.word("show.reach-all") if view.get("reach") == "*" else view.get("reach") or ""
    for field in _PLAIN:
        yield field, "" if view.get(field) is None else str(view[field])
    yield "owner", owner_label(str(view["owner"]), session.options.language)
    yield "managed_by", view.get("managed_by") or ""
    yield "lease", _asked_by(session, view["lease"]) if view.get("lease") else ""
    yield "path", path_phrase(view.get("path") or (), session.options.language)
    yield "proxy_protocol", f"v{view['proxy_protocol']}" if view.get("proxy_protocol") else ""
    yield "log", session.word("say.yes") if view.get("log") else ""
    yield "risk", session.word(f"risk.{view['risk']}") if view.get("risk") else ""
    yield "accept_risk", ", ".join(view.get("accept_risk") or ())
    yield "created", clock.when(view["created_at"]) if view.get("created_at") else ""
    yield "revision", str(view["revision"])
    yield "id", view["id"]


def _asked_by(session: Session, lease: View) -> str:
    """How a device asked for it, and what it said it was for, in its own words."""
    text = protocol_name(lease["protocol"])
    if lease["description"]:
        said = one_line(lease["description"])
        text = session.word("show.asked-by", protocol=text, description=said)
    for key in ("lasting", "outbound"):
        text = session.word(f"show.{key}", asked=text) if lease[key] else text
    return text


def _rows_traffic(session: Session, view: View) -> Iterator[Row]:
    counters = view["counters"]
    yield "now", str(counters["flows_active"])
    yield "total", str(counters["flows_total"])
    for side in ("in", "out"):
        text, packets = size(counters[f"bytes_{side}"]), counters[f"packets_{side}"]
        # A stream has no packets to count: only its bytes reach user space.
        yield side, session.word("value.traffic", bytes=text, packets=packets) if packets else text
    yield "refused", _counts(session, counters.get("refused"))
    yield "failed", _counts(session, counters.get("failed"))
    yield "dropped", _counts(session, counters.get("dropped"))
    yield "last_flow", session.clock.ago(counters["last_flow_at"]) if counters.get("last_flow_at") else ""


def _counts(session: Session, causes: Mapping[str, int] | None) -> str:
    counts = ((_word_of(session, "cause", cause), count) for cause, count in (causes or {}).items())
    return ", ".join(f"{cause} {count}" for cause, count in counts if count)


def _word_of(session: Session, group: str, name: str) -> str:
    """The word for a cause or a kind; a newer daemon may have more of them."""
    return session.word(f"{group}.{name}") if has_word(f"{group}.{name}") else name


def _status_word(session: Session, key: str) -> str:
    """The word for what the daemon says of itself; a newer daemon may say more than there are words for."""
    return session.word(f"status.{key}") if has_word(f"status.{key}") else key.replace("_", " ")


def _flat(session: Session, key: str, value: object) -> str:
    if isinstance(value, Mapping) and "name" in value:
        rest = {name: one for name, one in value.items() if name != "name"}
        return f"{value['name']} ({_flat(session, key, rest)})" if rest else str(value["name"])
    if isinstance(value, Mapping):
        return ", ".join(
            f"{_status_word(session, name)} {_flat(session, name, one)}" for name, one in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(_flat(session, key, one) for one in value)
    if key.endswith("_at") and isinstance(value, str):
        return f"{session.clock.when(value)} ({session.clock.ago(value)})"
    return "-" if value is None else str(value)
