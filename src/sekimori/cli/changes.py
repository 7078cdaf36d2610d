"""Outcomes in words: what was done, and what would be done, before against after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sekimori.cli.session import Session
from sekimori.cli.text import all_sources, clean, led_to, owner_label, wide

__all__ = ["describe_done", "describe_plan", "merge"]

_SHOWN: Final = (
    "name",
    "ports",
    "to",
    "from",
    "until",
    "hours",
    "on",
    "via",
    "at",
    "limit",
    "limit_total",
    "max_connections",
    "proxy_protocol",
    "idle",
    "trigger",
    "hold",
    "except",
    "socks",
    "log",
    "accept_risk",
    "preset",
    "paused",
    "prefixes",
    "masquerade",
    "firewall",
    "reason",
    "interfaces",
    "version",
    "nonce",
    "listen",
    "place",
    "jump",
    "identity",
    "config",
    "host_keys",
    "connections",
    "keys",
    "authorized_keys",
    "grant",
)
"""The fields of a document that a person is shown, in this order."""

_USUAL: Final = {
    "via": "auto",
    "proxy_protocol": 0,
    "log": False,
    "paused": False,
    "accept_risk": [],
    "version": 1,
    "nonce": "same-source",
    "config": "",
    "connections": 1,
    "authorized_keys": "",
}
"""Values that go without saying where something is new."""

_MARKS: Final = {"open": "+", "define": "+", "close": "-", "expire": "-"}

Change = Mapping[str, Any]
Document = Mapping[str, Any]


def merge(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several outcomes as one: what they share is the same, their lists follow each other."""
    whole: dict[str, Any] = {"planned": False, "revision": None, "changes": [], "mappings": [], "notices": []}
    whole["confirm"] = None
    for one in outcomes:
        whole["confirm"] = one.get("confirm") or whole["confirm"]
        whole["planned"] = bool(one.get("planned"))
        whole["revision"] = one.get("revision") if one.get("revision") is not None else whole["revision"]
        for key in ("changes", "mappings", "notices"):
            whole[key] += one.get(key) or []
    return whole


def describe_done(session: Session, outcome: Mapping[str, Any], verb: str | None = None) -> str:
    """One sentence a change, in the past; `verb` where the command says more than the changes do."""
    lines = [
        _sentence(session, change, outcome, verb or str(change["verb"])) for change in outcome["changes"]
    ]
    return "\n".join(lines) if lines else session.word("done.nothing")


def describe_plan(session: Session, changes: Sequence[Change], head: str = "plan.head") -> str:
    """What would change: a line for each mapping, and each field's before and after."""
    if not changes:
        return session.word("plan.nothing")
    return "\n".join(
        [session.word(head), *(line for change in changes for line in _planned(session, change))]
    )


def _sentence(session: Session, change: Change, outcome: Mapping[str, Any], verb: str) -> str:
    name = clean(str(change["name"]))
    after = change.get("after") or {}
    views = outcome.get("mappings") or ()
    view: Mapping[str, Any] = next((one for one in views if one["name"] == change["name"]), {})
    if change.get("subject") == "list":
        if not after:
            return session.word("done.drop", name=name)
        return session.word("done.define", name=name, fields=", ".join(after.get("prefixes") or ()))
    if change.get("subject") in ("gateway", "ban"):
        return _sentence_of_setting(session, change, outcome)
    if change.get("subject") in ("door", "permissions"):
        return _sentence_of_door(session, change)
    if change.get("subject") in ("link", "user"):
        return _sentence_of_far(session, change)
    if verb == "undo":
        verb = _undone(change)
    match verb:
        case "open" | "extend" | "resume":
            shown = view or after
            language = session.options.language
            facts = {"ports": shown["ports"], "target": clean(led_to(shown, language))}
            return session.word(f"done.{verb}", name=name, until=_until_phrase(session, view, after), **facts)
        case "close":
            number = outcome.get("revision")
            return session.word("done.close", name=name, revision=f" {number}" if number else "")
        case "adopt":
            return session.word("done.adopt", name=name, until=_until_phrase(session, view, after))
        case "pause" | "expire":
            return session.word(f"done.{verb}", name=name)
    fields = [f"{label} {old} → {new}" for label, old, new in _differences(session, change)]
    return session.word("done.change", name=name, fields=", ".join(fields) or "-")


def _sentence_of_setting(session: Session, change: Change, outcome: Mapping[str, Any]) -> str:
    after, number = change.get("after"), outcome.get("revision")
    name = clean(str(change["name"]))
    if change["subject"] == "ban":
        if after:
            return session.word("done.ban", name=name, until=_until_of_ban(session, after))
        return session.word("done.ban-ended" if change["verb"] == "expire" else "done.unban", name=name)
    if not after:
        return session.word("done.gateway-off", revision=f" {number}" if number else "")
    terms = {key: session.word("say.yes" if after[key] else "say.no") for key in ("masquerade", "firewall")}
    return session.word("done.gateway-on", **terms)


def _sentence_of_door(session: Session, change: Change) -> str:
    before, after = change.get("before") or {}, change.get("after")
    if change["subject"] == "door":
        name = clean(str(change["name"]))
        if not after:
            return session.word("done.door-off", name=name)
        if after.get("listen"):
            return session.word("done.door-ssh", places=clean(", ".join(after["listen"])))
        interfaces = clean(", ".join(after["interfaces"]))
        return session.word("done.door-on", name=name, interfaces=interfaces)
    if not after:
        return session.word("done.permit-usual")
    changed = [line for line in _rule_lines(before, after) if not line.startswith("   ")]
    return "\n".join([session.word("done.permit"), *changed])


def _sentence_of_far(session: Session, change: Change) -> str:
    """Of a link, or of somebody who comes by the SSH door."""
    name, after, subject = clean(str(change["name"])), change.get("after"), change["subject"]
    if not after:
        return session.word(f"done.{subject}-off", name=name)
    if subject == "link":
        if not change.get("before"):
            return session.word("done.link-on", name=name, place=clean(after["place"]))
        fields = [f"{label} {old} → {new}" for label, old, new in _differences(session, change)]
        return session.word("done.change", name=name, fields=", ".join(fields) or "-")
    fields = [f"{label} {new}" for label, _, new in _differences(session, {**change, "before": None})]
    return session.word("done.user-on", name=name, fields="; ".join(fields))


def _rule_lines(before: Document, after: Document) -> Iterator[str]:
    """Every rule: marked `+` where it is new, `-` where it is gone."""
    import difflib  # here, for most commands show no rules

    old, new = ([clean(str(rule)) for rule in each.get("rules") or ()] for each in (before, after))
    for code, first, last, start, end in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        yield from (f"  - {rule}" for rule in (old[first:last] if code != "equal" else ()))
        yield from (f"  {' ' if code == 'equal' else '+'} {rule}" for rule in new[start:end])


def _until_of_ban(session: Session, ban: Document) -> str:
    ends = ban.get("expires_at")
    return session.word("until.at", when=session.clock.when(ends)) if ends else session.word("until.lifted")


def _undone(change: Change) -> str:
    """The verb that an undo amounts to."""
    if not change.get("before"):
        return "open"
    return "change" if change.get("after") else "close"


def _until_phrase(session: Session, view: Mapping[str, Any], after: Document) -> str:
    if view:
        return session.clock.until_phrase(view)
    return session.clock.until_phrase(
        {"expires_at": after.get("expires_at"), "permanent": after.get("asked_value")}
    )


def _planned(session: Session, change: Change) -> Iterator[str]:
    verb = str(change["verb"])
    kind = _undone(change) if verb == "undo" else verb
    mark = _mark(change, kind)
    head = f"{mark} {session.word(f'verb.{verb}')} {clean(str(change['name']))}"
    if change.get("subject") == "permissions":
        yield head
        yield from _rule_lines(change.get("before") or {}, change.get("after") or {})
        return
    if not change.get("after"):
        gone_from = change.get("before") or {}
        yield f"{head}  {gone_from['ports']} → {gone_from['to']}" if "ports" in gone_from else head
        return
    yield head
    rows = list(_differences(session, change))
    column = max((wide(label) for label, _, _ in rows), default=0)
    for label, old, new in rows:
        pad = " " * (column - wide(label) + 2)
        yield f"    {label}{pad}{new}" if not change.get("before") else f"    {label}{pad}{old} → {new}"


def _mark(change: Change, kind: str) -> str:
    """What a diff would put before the line: new, gone, or changed."""
    if change.get("subject") == "mapping":
        return _MARKS.get(kind, "~")
    if not change.get("after"):
        return "-"
    return _MARKS.get(kind, "~") if change.get("before") else "+"


def _differences(session: Session, change: Change) -> Iterator[tuple[str, str, str]]:
    """The label, the value before and the value after of each field that differs."""
    before, after = change.get("before") or {}, change.get("after") or {}
    if before and after and before.get("owner") != after.get("owner") and change["verb"] == "adopt":
        old, new = (owner_label(str(each["owner"]), session.options.language) for each in (before, after))
        yield session.word("field.owner"), old, new
    for field in _SHOWN:
        if field != "until" and field not in before and field not in after:
            continue
        old, new = _value(session, field, before), _value(session, field, after)
        if old == new or (not before and (field, after.get(field)) in _USUAL.items()):
            continue
        if not before and (field == "name" or after.get(field, "") in (None, [])):
            continue
        yield session.word(f"field.{field}"), old, new


def _value(session: Session, field: str, document: Document) -> str:
    if not document:
        return ""
    if field == "until":
        return _until(session, document)
    value = document.get(field)
    if value is None or value == [] or (field == "proxy_protocol" and value == 0):
        return session.word("plan.nothing-set")
    if isinstance(value, bool):
        return session.word("say.yes" if value else "say.no")
    if field == "socks":
        return clean(f"{', '.join(value['users']) or session.word('show.socks-anybody')}; {value['reach']}")
    if field == "from":
        return all_sources(str(value), session.options.language)
    if field in ("keys", "host_keys"):
        return clean("; ".join(_shortened(line) for line in value))
    if field == "grant":
        return clean(_granted(value)) or session.word("plan.nothing-set")
    return clean(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _shortened(line: str) -> str:
    """A line of a key with the end of the key alone, which is what people compare by eye."""
    return " ".join(
        f"…{word[-8:]}" if len(word) > 40 and "=" not in word[:-2] else word for word in line.split()
    )


def _granted(document: Document) -> str:
    """The words of a grant that are not the least."""
    from sekimori.model.grantwords import words_of_grant  # here, for most commands show no grant
    from sekimori.model.user import Grant

    words = words_of_grant(Grant.from_document(document)).items()
    return ", ".join(f"{key} {','.join(value) if isinstance(value, list) else value}" for key, value in words)


def _until(session: Session, document: Document) -> str:
    if "expires_at" not in document and "asked" not in document:
        return ""
    ends = document.get("expires_at")
    if ends is None and "grant" in document:
        return ""
    if ends is None and "asked" not in document:
        return session.word("until.lifted")
    if ends is None:
        return session.word("until.permanent-why", reason=clean(str(document.get("asked_value") or "-")))
    return session.clock.when(str(ends))
